"""What a tick of the regression trigger costs: three streams fed, the tick closed, the state asked.

Against adding up an hour of ticks anew, which is what a rule without a memory of its own does.
Ratios can be compared between machines, times cannot. CPU time, median of the rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

sys.path.insert(0, str(Path(__file__).parent))

from generate import Run, Seen, Setting, generate
from noise import TYPICAL
from ours import DEPLOY, measures, watch_of

from rollbackd.core.facts import CheckOutcome, Measure
from rollbackd.core.model import ProbeName
from rollbackd.core.regression import RegressionWatch

ROUNDS = 15
T = TypeVar("T")
Told: TypeAlias = "tuple[float, list[tuple[ProbeName, Measure]]]"


def detecting() -> list[str]:
    run = generate(Setting(noise=TYPICAL), 1)
    before, after = _told(run.before), _told(run.after)
    costs, ratios = [], []
    for _ in range(ROUNDS):
        watch = watch_of(run)
        _live(watch, before)
        watch.foresee(DEPLOY)
        watch.begin(DEPLOY, machines_seen=False)
        cost = _timed(lambda w: _live(w, after), watch) / len(after)
        costs.append(cost)
        ratios.append(_timed(_recount, run) / cost)
    once, times = statistics.median(costs), statistics.median(ratios)
    told = f"{once:.1f} us; adding up an hour of them costs {times:.2g} x that"
    return [f"regression, one tick of three streams | {told}"]


def _told(ticks: list[Seen]) -> list[Told]:
    return [(DEPLOY + seen.end, list(measures(seen))) for seen in ticks]


def _live(watch: RegressionWatch, ticks: list[Told]) -> None:
    for now, told in ticks:
        for probe, measure in told:
            watch.take(now, probe, measure, CheckOutcome.OK, counts=True)
        watch.close(now, excused=False)
        watch.state(now)


def _recount(run: Run) -> None:
    """Bad and total of three streams over an hour."""
    sum(seen.bad for seen in run.before), sum(seen.total for seen in run.before)
    sum(seen.up is False for seen in run.before), sum(seen.up is not None for seen in run.before)
    sum(seen.buckets[3] for seen in run.before), sum(seen.buckets[-1] for seen in run.before)


def _timed(work: Callable[[T], None], on: T) -> float:
    """CPU microseconds."""
    began = time.process_time_ns()
    work(on)
    return (time.process_time_ns() - began) / 1000.0


if __name__ == "__main__":
    print("\n".join(detecting()))
