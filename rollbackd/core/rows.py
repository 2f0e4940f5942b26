"""What one sample counts: how many events, and how many of them were bad by each bound.

A row is (total, bad by the first bound, …). What is no histogram has one bound, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from rollbackd.core.facts import Check, CheckOutcome, Histogram, Measure, Ratio

Row: TypeAlias = Sequence[float]
Ticks: TypeAlias = tuple[list[float], list[float]]  # bad and total, per tick, oldest first
PLAIN: Final = (0.0,)
LOOK_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Counted(NamedTuple):
    """One sample. `bounds` are seconds where slow ones are counted."""

    bounds: tuple[float, ...]
    row: list[float]


def counted(measure: Measure, *, slow: bool) -> Counted | None:
    """`slow`: count the slow ones, not the failed ones. None: it counts nothing of the kind."""
    match measure:
        case Ratio(bad=bad, total=total) if total > 0 and not slow:
            return Counted(PLAIN, [total, bad])
        case Histogram(buckets=buckets) if buckets[-1][1] > 0 and len(buckets) > 1 and slow:
            total = buckets[-1][1]
            finite = buckets[:-1]
            bounds = tuple([bound for bound, _ in finite])
            return Counted(bounds, [total, *[total - count for _, count in finite]])
        case Check(outcome=CheckOutcome.OK, seconds=float(seconds)) if slow:
            return Counted(LOOK_BOUNDS, [1.0, *(float(seconds > b) for b in LOOK_BOUNDS)])
        case Check(outcome=CheckOutcome.OK) if not slow:
            return Counted(PLAIN, [1.0, 0.0])
        case Check(outcome=CheckOutcome.FAILED) if not slow:
            return Counted(PLAIN, [1.0, 1.0])
        case _:
            return None


def added(one: list[float] | None, other: list[float]) -> list[float]:
    """Both together; rows by the same bounds only."""
    return other if one is None else [a + b for a, b in zip(one, other, strict=True)]
