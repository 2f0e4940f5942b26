"""Ticks made of what a probe's source still knows of the past. It asks nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rollbackd.core.facts import Measure
from rollbackd.core.history import EMPTY_ROWS
from rollbackd.core.rows import Row, added, counted


class Recalled(NamedTuple):
    """A stretch of the past: (start, end, row) per tick, and how many seconds samples cover."""

    ticks: list[tuple[float, float, Row]]
    covered_seconds: float


def bounds_of(samples: Sequence[tuple[float, Measure]], *, slow: bool) -> tuple[float, ...] | None:
    """By which bounds the newest of them counts."""
    found = (counted(measure, slow=slow) for _, measure in reversed(samples))
    return next((each.bounds for each in found if each is not None), None)


def recalled(
    samples: Sequence[tuple[float, Measure]],
    *,
    slow: bool,
    bounds: tuple[float, ...],
    after: float,
    before: float,
    tick_seconds: float,
    max_age_seconds: float,
) -> Recalled:
    """Those samples with after < at <= before that count by `bounds`."""
    slots: dict[int, Row] = {}
    covered, newest = 0.0, -math.inf
    for at, measure in samples:
        found = counted(measure, slow=slow)
        if found is None or found.bounds != bounds or not max(after, newest) < at <= before:
            continue
        gap, newest = at - newest, at
        covered += gap if gap <= max_age_seconds else 0.0
        slot = math.ceil(at / tick_seconds)
        slots[slot] = added(slots.get(slot), found.row)
    if before - newest <= max_age_seconds:
        covered += before - newest
    return Recalled(list(_filled(slots, tick_seconds, after)), covered)


def _filled(
    slots: dict[int, Row], tick_seconds: float, after: float
) -> list[tuple[float, float, Row]]:
    """Ticks without holes, but for long ones, in which nothing was known."""
    found: list[tuple[float, float, Row]] = []
    last = None
    for slot in sorted(slots):
        row = slots[slot]
        hole = 0 if last is None else slot - last - 1
        first = slot - hole if hole <= EMPTY_ROWS else slot
        found += [
            (
                max((tick - 1) * tick_seconds, after),
                tick * tick_seconds,
                row if tick == slot else [0.0] * len(row),
            )
            for tick in range(first, slot + 1)
        ]
        last = slot
    return found
