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
    row: Row


ANSWERED: Final = Counted(PLAIN, (1.0, 0.0))
FAILED: Final = Counted(PLAIN, (1.0, 1.0))


def counted(measure: Measure, *, slow: bool) -> Counted | None:
    """`slow`: count the slow ones, not the failed ones. None: it counts nothing of the kind."""
    return slow_ones(measure) if slow else failed_ones(measure)


def failed_ones(measure: Measure) -> Counted | None:
    """Of requests or looks, how many failed. None: it counts neither."""
    if isinstance(measure, Ratio):
        return Counted(PLAIN, (measure.total, measure.bad)) if measure.total > 0 else None
    if not isinstance(measure, Check) or measure.outcome is CheckOutcome.REFUSED:
        return None
    return ANSWERED if measure.outcome is CheckOutcome.OK else FAILED


def slow_ones(measure: Measure) -> Counted | None:
    """Of the requests or looks that were answered, how many took longer than each bound."""
    if isinstance(measure, Histogram):
        bounds, counts = zip(*measure.buckets, strict=True)
        total = counts[-1]
        if total <= 0 or len(counts) <= 1:
            return None
        return Counted(bounds[:-1], [total, *[total - count for count in counts[:-1]]])
    if not isinstance(measure, Check) or measure.outcome is not CheckOutcome.OK:
        return None
    seconds = measure.seconds
    if seconds is None:
        return None
    return Counted(LOOK_BOUNDS, [1.0, *[float(seconds > bound) for bound in LOOK_BOUNDS]])


def added(one: Row | None, other: Row) -> Row:
    """Both together; rows by the same bounds only."""
    return other if one is None else [a + b for a, b in zip(one, other, strict=True)]
