"""A small picture of a rate over time, in one line of characters. It draws and judges nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from rollbackd.core.wording import percent

Counted: TypeAlias = tuple[float, float, float]  # at, bad, total

BARS: Final = "▁▂▃▄▅▆▇█"
PLAIN_BARS: Final = "_.-:=+*#"
NOTHING: Final = " "  # nothing was counted there
NARROWEST: Final = 16


def chart(
    counted: Sequence[Counted],
    marks: Sequence[tuple[float, str]],
    *,
    width: int,
    plain: bool = False,
) -> list[str]:
    """The rate from the first count to the last in `width` columns, with the marks beneath it.

    Empty where there is too little to draw. `plain`: ASCII only.
    """
    if width < NARROWEST or not counted or counted[-1][0] <= counted[0][0]:
        return []
    begin, end = counted[0][0], counted[-1][0]

    def column(at: float) -> int:
        return min(width - 1, max(0, math.floor((at - begin) / (end - begin) * width)))

    sums = [[0.0, 0.0] for _ in range(width)]
    for at, bad, total in counted:
        cell = sums[column(at)]
        cell[0] += bad
        cell[1] += total
    rates = [bad / total if total > 0 else None for bad, total in sums]
    most = max((rate for rate in rates if rate is not None), default=0.0)
    bars = PLAIN_BARS if plain else BARS
    drawn = "".join(_bar(rate, most, bars) for rate in rates)
    return [f"{drawn}  up to {percent(most)}", *_marked(marks, column)]


def _bar(rate: float | None, most: float, bars: str) -> str:
    if rate is None:
        return NOTHING
    return bars[round(rate / most * (len(bars) - 1))] if most > 0 else bars[0]


def _marked(marks: Sequence[tuple[float, str]], column: object) -> list[str]:
    assert callable(column), "given by chart"
    lines: list[str] = []
    for at, words in sorted(marks):
        line = " " * column(at) + f"^ {words}"
        if lines and len(lines[-1]) < column(at):
            lines[-1] = lines[-1].ljust(column(at)) + f"^ {words}"
        else:
            lines.append(line)
    return lines
