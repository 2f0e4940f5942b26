"""The tables of docs/detection-benchmark.md, from the figures."""

from __future__ import annotations

from cells import Group
from figures import OURS, Figure, Figures

HIDDEN = ("Argo, 60 s delay", "Flagger, 60 s delay", "CloudWatch, 60 s delay")


def report(figures: Figures) -> str:
    return "\n".join([*_false(figures), *_delayed(figures), *_found(figures), *_side(figures)])


def _false(figures: Figures) -> list[str]:
    rules = [rule for rule in figures.rules(Group.FALSE) if rule not in HIDDEN]
    lines = [
        "### Rollbacks of a release that is not to blame, per 1,000",
        "",
        *_head(
            ["healthy, or somebody else's outage", "runs", "rollbackd (95 % interval)", *rules[1:]]
        ),
    ]
    for cell in figures.cells(Group.FALSE):
        mine = figures.at(cell, OURS)
        assert mine is not None, "every cell has ours"
        others = (figures.at(cell, rule) for rule in rules[1:])
        shown = [f"{o.per_1000:.1f}" if o else "" for o in others]
        lines.append(_row([cell, f"{mine.runs:,}", _interval(mine), *shown]))
    return [*lines, ""]


def _delayed(figures: Figures) -> list[str]:
    cells = (
        "typical, 100 requests/s",
        "typical, 1 request/s",
        "nasty, 1 h of history",
        "spiky, 1 h",
    )
    lines = ["The peers with an initial delay of 60 s:", "", *_head(["", *HIDDEN])]
    for cell in cells:
        found = [figures.at(cell, rule) for rule in HIDDEN]
        if all(found):
            lines.append(_row([cell, *(f"{f.per_1000:.1f}" for f in found if f)]))
    return [*lines, ""]


def _interval(figure: Figure) -> str:
    return f"**{figure.per_1000:.1f}** ({1000 * figure.low:.1f} – {1000 * figure.high:.1f})"


def _found(figures: Figures) -> list[str]:
    rules = [rule for rule in figures.rules(Group.FOUND) if rule not in HIDDEN]
    cells = figures.cells(Group.FOUND)
    lines = [
        "### Seconds from the deploy to the decision: median / 95 % of runs, share found",
        "",
        *_head(["regression", *rules]),
    ]
    for cell in cells:
        row = [figures.at(cell, rule) for rule in rules]
        fastest = min((f.median for f in row if f and f.median is not None), default=None)
        lines.append(_row([cell, *(_times(f, fastest) for f in row)]))
    return [
        *lines,
        "",
        "Bold: the smallest median of the row; –: not in half of the runs; empty: it needs counts.",
        "",
    ]


def _times(figure: Figure | None, fastest: float | None) -> str:
    if figure is None:
        return ""
    if not figure.found:
        return "never"
    share = f"{100 * figure.found / figure.runs:.0f} %"
    if figure.median is None:
        return f"– {share}"
    median = f"{figure.median:.0f}"
    median = f"**{median}**" if figure.median == fastest else median
    p95 = "–" if figure.p95 is None else f"{figure.p95:.0f}"
    return f"{median} / {p95}" + ("" if figure.found == figure.runs else f", {share}")


def _side(figures: Figures) -> list[str]:
    cells = figures.cells(Group.SIDE_BY_SIDE)
    if not cells:
        return []
    head = [
        "25 % canary, old against new",
        "runs",
        "acted (95 % interval)",
        "seconds: median / 95 %",
    ]
    lines = ["### Old machines against new ones", "", *_head(head)]
    for cell in cells:
        mine = figures.at(cell, OURS)
        if mine is not None:
            acted = f"{mine.found} ({100 * mine.low:.1f} – {100 * mine.high:.1f} %)"
            lines.append(_row([cell, f"{mine.runs}", acted, _times(mine, None)]))
    return [*lines, ""]


def _head(names: list[str]) -> list[str]:
    return [_row(names), _row(["---"] + ["---:"] * (len(names) - 1))]


def _row(fields: list[str]) -> str:
    return f"| {' | '.join(fields)} |"
