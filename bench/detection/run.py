"""Runs the detection benchmark: `run.py [--long] [--only TEXT] [--write]`.

Without `--write` it prints the tables; with it, it renews docs/detection-benchmark.{md,json,svg}.
Two processes at most. The same seeds give the same figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cells import REPORTING_SEED, Cell, cells
from counting import clopper_pearson, quantile
from figures import Figure, Figures
from generate import generate
from ours import ours, whole
from peers import peers_of
from picture import picture
from report import report

PROCESSES, PORTION = 2, 20  # of each portion, one run goes through the whole decision as well
DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--long", action="store_true", help="thousands of runs: an hour")
    options.add_argument("--only", default="", help="cells with this in their name")
    options.add_argument(
        "--write", action="store_true", help="into docs/, beside what other cells gave"
    )
    options.add_argument("--seed", type=int, default=REPORTING_SEED)
    chosen = options.parse_args()
    os.nice(5)
    began = time.monotonic()
    wanted = chosen.only.split("|")
    picked = [cell for cell in cells() if any(text in cell.name for text in wanted)]
    with get_context("spawn").Pool(PROCESSES) as pool:
        figures: list[Figure] = []
        for cell in picked:
            seeds = range(chosen.seed, chosen.seed + cell.runs(long=chosen.long))
            portions = [(cell, seeds[i : i + PORTION]) for i in range(0, len(seeds), PORTION)]
            rows = [row for part in pool.imap(_portion, portions) for row in part]
            figures += _figures(cell, rows)
            mine = figures[-len(rows[0])]
            print(f"{time.monotonic() - began:6.0f} s  {cell.name:<36}{_shown(mine)}", flush=True)
    if chosen.write:
        _write(figures)
    else:
        print(report(Figures(figures)))


def _write(fresh: list[Figure]) -> None:
    """Put the fresh figures in the place of those of the same cells; the others stay."""
    data = DOCS / "detection-benchmark.json"
    kept = json.loads(data.read_text(encoding="utf-8")) if data.exists() else []
    anew = {figure.cell for figure in fresh}
    every = [*fresh, *(Figure(**row) for row in kept if row["cell"] not in anew)]
    order = [cell.name for cell in cells()]
    every = sorted((f for f in every if f.cell in order), key=lambda f: order.index(f.cell))
    figures = Figures(every)
    data.write_text(json.dumps([asdict(f) for f in every], indent=1) + "\n", encoding="utf-8")
    (DOCS / "detection-benchmark.svg").write_text(picture(figures), encoding="utf-8")
    _put(DOCS / "detection-benchmark.md", report(figures))


def _portion(task: tuple[Cell, Sequence[int]]) -> list[dict[str, float | None]]:
    """Every rule's answer for some seeds."""
    cell, seeds = task
    rows = []
    for n, seed in enumerate(seeds):
        run = generate(cell.setting, seed)
        answer = ours(run)
        if n == 0:
            assert whole(run) == answer, (cell.name, seed, whole(run), answer)
        row = {"rollbackd": answer}
        row |= {name: rule(run) for name, rule in peers_of(cell.setting).items()}
        rows.append(row)
    return rows


def _figures(cell: Cell, rows: list[dict[str, float | None]]) -> list[Figure]:
    found = []
    for rule in rows[0]:
        times = [row[rule] for row in rows]
        acted = [at for at in times if at is not None]
        low, high = clopper_pearson(len(acted), len(times))
        # Of all runs, not of those that acted: a rule that misses half has no median.
        late = [float("inf") if at is None else at for at in times]
        found.append(
            Figure(
                cell=cell.name,
                group=cell.group,
                rule=rule,
                runs=len(times),
                found=len(acted),
                median=_finite(quantile(late, 0.5)),
                p95=_finite(quantile(late, 0.95)),
                low=low,
                high=high,
            )
        )
    return found


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _shown(figure: Figure) -> str:
    return f"{figure.found} of {figure.runs}, median {figure.median}, p95 {figure.p95}"


def _put(path: Path, tables: str) -> None:
    """Replace what stands between the marks; the words around them are a person's."""
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition("<!-- tables -->\n")
    _, end, tail = rest.partition("<!-- end of tables -->")
    assert all((begin, end)), f"{path} has lost its marks"
    path.write_text(f"{head}{begin}{tables}{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
