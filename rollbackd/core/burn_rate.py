"""How fast an error budget burns, over a long and a short window. It judges nothing.

Burn rate = (bad / total) / (1 - slo): at 1 the budget of the objective's period is just used up.
Source: Google, The Site Reliability Workbook, chapter 5, "multiwindow, multi-burn-rate alerts".

Two things are ours. A window is kept in sixty cells, so days fit into a few kilobytes; it forgets
a cell at a time, so up to a sixtieth of its length at the old end is left out. And time without
samples inside a window counts as clean, at the busiest pace the window saw: what was lost might
have thinned the bad out, and a gap must never accuse anybody.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rules import BurnRateBound

CELLS: Final = 60
ENOUGH_COVERED: Final = 0.5  # of a window; below it nothing is said
RESIDUE_SECONDS: Final = 0.001  # of adding times up; less than this is not lost
LATE: Final = 1.5  # intervals a sample may come after the previous one and still cover the time


class Cell(NamedTuple):
    """Sums of one sixtieth of a window; `covered` are the seconds that samples told of, `busiest`
    the most events a second that one of them did.
    """

    nth: int
    bad: float
    total: float
    covered: float
    busiest: float


class BurnWindow:
    """Sums over the newest sixty cells. A sample costs O(1) amortised."""

    __slots__ = (
        "_cells", "_dropped", "_from", "_until", "bad", "covered", "seconds", "total",
    )  # fmt: skip

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.clear()

    def clear(self) -> None:
        self._cells: deque[Cell] = deque()
        self._from = self._until = -math.inf  # between them samples could have come
        self._sum()

    def add(self, at: float, bad: float, total: float, covered: float) -> None:
        """Take a sample in that tells of the `covered` seconds before `at`. Late ones are left."""
        index = math.floor(at / self.seconds * CELLS)
        cell = Cell(index, bad, total, covered, total / covered if covered > 0 else 0.0)
        if not self._cells:
            self._from = at - covered
        elif index < self._cells[-1].nth:
            return
        elif index == self._cells[-1].nth:
            cell = _joined(self._cells.pop(), cell)
        self._until = at
        self._cells.append(cell)
        self.bad += bad
        self.total += total
        self.covered += covered
        while self._cells[0].nth <= index - CELLS:
            old = self._cells.popleft()
            self.bad -= old.bad
            self.total -= old.total
            self.covered -= old.covered
            self._dropped += 1
        if self._dropped >= CELLS:
            self._sum()

    def _sum(self) -> None:
        # Fractions added and taken away leave a residue; once a window's length it is wiped off.
        self.bad = math.fsum(cell.bad for cell in self._cells)
        self.total = math.fsum(cell.total for cell in self._cells)
        self.covered = math.fsum(cell.covered for cell in self._cells)
        self._dropped = 0

    @property
    def lost(self) -> float:
        """Seconds of the window, since its first sample, that no sample told of."""
        if not self._cells:
            return 0.0
        oldest = (self._cells[-1].nth - CELLS + 1) * self.seconds / CELLS
        lost = self._until - max(self._from, oldest) - self.covered
        return lost if lost > RESIDUE_SECONDS else 0.0

    @property
    def share(self) -> float:
        """How much of the window samples told of, 0..1."""
        return min(1.0, self.covered / self.seconds)

    @property
    def ratio(self) -> float | None:
        """Share of bad ones, with lost time as clean; None before anything was counted."""
        if self.total <= 0:
            return None
        lost = self.lost
        busiest = max(cell.busiest for cell in self._cells) if lost else 0.0
        return self.bad / (self.total + lost * busiest)

    def as_json(self) -> JsonObject:
        cells: list[Json] = [list(cell) for cell in self._cells]
        return {"from": self._from, "until": self._until, "cells": cells} if cells else {}

    def restore(self, kept: Json) -> None:
        """Go on with what `as_json` gave; anything else leaves the window empty."""
        self.clear()
        match kept:
            case {
                "from": int() | float() as began,
                "until": int() | float() as until,
                "cells": [*rows],
            } if math.isfinite(began) and math.isfinite(until) and (cells := _cells(rows)):
                self._from, self._until, self._cells = float(began), float(until), cells
                self._sum()
            case _:
                pass


class BurnRate:
    """One signal's two windows. Neither a release nor a gap empties them; a rollback does."""

    def __init__(self, bound: BurnRateBound, interval_seconds: float) -> None:
        self.long = BurnWindow(bound.long_seconds)
        self.short = BurnWindow(bound.short_seconds)
        self._budget = 1 - bound.slo
        self._interval_seconds = interval_seconds
        self._seen_at: float | None = None

    def clear(self) -> None:
        self.long.clear()
        self.short.clear()
        self._seen_at = None

    def add(self, at: float, bad: float, total: float) -> None:
        """Take in what happened since the previous sample."""
        covered = self._interval_seconds
        if self._seen_at is not None and at - self._seen_at <= LATE * covered:
            covered = at - self._seen_at
        self._seen_at = at
        self.long.add(at, bad, total, covered)
        self.short.add(at, bad, total, covered)

    @property
    def rates(self) -> tuple[float, float] | None:
        """How many times its rate the budget burns: (over the long window, over the short one)."""
        long, short = self.long.ratio, self.short.ratio
        if long is None or short is None:
            return None
        return long / self._budget, short / self._budget

    @property
    def covered(self) -> bool:
        """Whether both windows saw enough of their time to say anything."""
        return min(self.long.share, self.short.share) >= ENOUGH_COVERED

    def as_json(self) -> JsonObject:
        return {
            "seen_at": self._seen_at,
            "long": self.long.as_json(),
            "short": self.short.as_json(),
        }

    def restore(self, kept: JsonObject) -> None:
        """Go on where an earlier process stopped; the time between is lost time."""
        self.clear()
        seen_at = kept.get("seen_at")
        if isinstance(seen_at, int | float) and math.isfinite(seen_at):
            self._seen_at = float(seen_at)
            self.long.restore(kept.get("long"))
            self.short.restore(kept.get("short"))


def _joined(one: Cell, other: Cell) -> Cell:
    return Cell(
        one.nth,
        one.bad + other.bad,
        one.total + other.total,
        one.covered + other.covered,
        max(one.busiest, other.busiest),
    )


def _cells(rows: list[Json]) -> deque[Cell]:
    """The kept cells; none where one of them cannot be: a wrong sum is worse than none."""
    cells: deque[Cell] = deque(maxlen=CELLS)
    for row in rows:
        cell = _cell(row)
        if cell is None or (cells and cell.nth <= cells[-1].nth):
            return deque()
        cells.append(cell)
    return cells


def _cell(row: Json) -> Cell | None:
    match row:
        case [int() as nth, *numbers] if len(numbers) == len(Cell._fields) - 1:
            counts = [float(n) for n in numbers if isinstance(n, int | float)]
        case _:
            return None
    if len(counts) < len(numbers) or not all(math.isfinite(n) and n >= 0 for n in counts):
        return None
    return Cell(nth, *counts) if counts[0] <= counts[1] else None
