"""The counts of one stream over the last hours, per tick, packed. It keeps and judges nothing.

A tick is one row: how many events, and how many of them were bad by each bound. A stream that is
not a histogram has one bound. Closed stretches keep six bounds at most, those nearest to 5 %.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from rollbackd.core.bounds import WANTED_EXCEEDANCE
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rows import Row, Ticks

ROWS: Final = 180  # of a stretch
BOUNDS_KEPT: Final = 6
EMPTY_ROWS: Final = 30  # in a row end a stretch: silence needs no room
FRACTION: Final = 16  # counts that are no whole numbers are kept to a sixteenth
LARGEST: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows without a long silence. `columns`: packed, the totals first, then per bound kept."""

    start_at: float
    end_at: float
    rows: int
    covered_seconds: float
    bounds: tuple[float, ...]
    sums: tuple[float, ...]  # exact: total, then per bound
    kept: tuple[int, ...]
    scale: float
    columns: tuple[bytes, ...]

    def ticks(self, bound: int) -> Ticks:
        """Bad by this bound, and total, per tick. A bound not kept is spread evenly."""
        total = _unpack(self.columns[0], self.rows, self.scale)
        if bound in self.kept:
            place = self.kept.index(bound)
            return _unpack(self.columns[1 + place], self.rows, self.scale), total
        share = self.sums[1 + bound] / self.sums[0] if self.sums[0] > 0 else 0.0
        return [share * n for n in total], total

    @property
    def size(self) -> int:
        """Bytes of the packed counts."""
        return sum(len(column) for column in self.columns)


class History:
    """Stretches of ticks, oldest first, and the one being written."""

    __slots__ = ("_empty", "_end_at", "_flat", "_newest", "_nothing", "_rows", "_start_at",
                 "at_most_seconds", "bounds", "covered_seconds", "stretches")  # fmt: skip

    def __init__(self, at_most_seconds: float, bounds: tuple[float, ...]) -> None:
        self.at_most_seconds = at_most_seconds
        self.bounds = bounds
        self.stretches: list[Stretch] = []
        self.covered_seconds = 0.0  # of the open stretch
        self._flat, self._rows, self._empty = array("d"), 0, 0
        self._newest: list[Row] = []  # of the open stretch: a tick only puts its row here
        self._start_at = self._end_at = 0.0
        self._nothing = (0.0,) * (1 + len(bounds))

    def add(self, start_at: float, end_at: float, row: Row | None) -> None:
        """One tick. None: nothing was seen in it."""
        if row is not None:
            self._empty = 0
            if not self._rows:
                self._start_at = start_at
        elif self._rows:
            self._empty += 1
            row = self._nothing
        else:
            return
        self._newest.append(row)
        self._rows += 1
        self._end_at = end_at
        if self._rows >= ROWS or self._empty >= EMPTY_ROWS:
            self.cut()

    @property
    def _open(self) -> array[float]:
        """The open stretch."""
        if self._newest:
            self._flat.extend(chain.from_iterable(self._newest))
            self._newest.clear()
        return self._flat

    def cut(self) -> None:
        """End the open stretch here, and forget what is too old."""
        if not self._rows:
            return
        self.stretches.append(
            _pack(self._start_at, self._end_at, self._open, self.bounds, self.covered_seconds)
        )
        self._flat, self._rows, self._empty, self.covered_seconds = array("d"), 0, 0, 0.0
        oldest = self._end_at - self.at_most_seconds
        while self.stretches[0].end_at <= oldest:
            del self.stretches[0]

    def use_bounds(self, bounds: tuple[float, ...]) -> None:
        """Count by these bounds from here on."""
        if bounds != self.bounds:
            self.cut()
            self.bounds, self._nothing = bounds, (0.0,) * (1 + len(bounds))

    def strike(self, since: float) -> None:
        """Forget what began at `since` or later; a stretch must have been cut there."""
        self.cut()
        self.covered_seconds = 0.0
        self.stretches = [s for s in self.stretches if s.start_at < since]

    def recall(self, ticks: Iterable[tuple[float, float, Row]], covered_seconds: float) -> None:
        """Put an older stretch in front: (start, end, row), rising, within the bounds of now."""
        found = list(ticks)
        if not found:
            return
        older: list[Stretch] = []
        for at in range(0, len(found), ROWS):
            part = found[at : at + ROWS]
            flat = array("d", [value for _, _, row in part for value in row])
            share = covered_seconds * len(part) / len(found)
            older.append(_pack(part[0][0], part[-1][1], flat, self.bounds, share))
        self.stretches[:0] = older

    @property
    def oldest_at(self) -> float:
        """Where it begins; inf while it is empty."""
        if self.stretches:
            return self.stretches[0].start_at
        return self._start_at if self._rows else math.inf

    def covered(self, until: float = math.inf) -> float:
        """Seconds seen without a gap, in stretches that began before `until`."""
        closed = math.fsum(s.covered_seconds for s in self.stretches if s.start_at < until)
        return closed + (self.covered_seconds if until == math.inf else 0.0)

    def sums(self, until: float = math.inf) -> list[float]:
        """Total, then bad per bound, over all that was counted by the bounds of now."""
        found = [s.sums for s in self.stretches if s.bounds == self.bounds and s.start_at < until]
        if until == math.inf:
            width, opened = 1 + len(self.bounds), self._open
            found.append(tuple(math.fsum(opened[i::width]) for i in range(width)))
        return [math.fsum(column) for column in zip(*found, strict=True)] if found else [0.0]

    def ticks(self, bound: int, until: float = math.inf) -> Ticks:
        """Bad by this bound, and total, per tick, oldest first."""
        bad: list[float] = []
        total: list[float] = []
        for stretch in self.stretches:
            if stretch.bounds == self.bounds and stretch.start_at < until:
                some_bad, some_total = stretch.ticks(bound)
                bad += some_bad
                total += some_total
        if until == math.inf:
            width = 1 + len(self.bounds)
            bad += self._open[1 + bound :: width]
            total += self._open[::width]
        return bad, total

    def tail(self, bound: int, rows: int) -> Ticks:
        """The newest rows only."""
        width, opened = 1 + len(self.bounds), self._open
        bad, total = opened[1 + bound :: width].tolist(), opened[::width].tolist()
        for stretch in reversed(self.stretches):
            if len(total) >= rows:
                break
            if stretch.bounds == self.bounds:
                some_bad, some_total = stretch.ticks(bound)
                bad, total = some_bad + bad, some_total + total
        return bad[-rows:], total[-rows:]

    @property
    def size(self) -> int:
        """Bytes of all counts."""
        opened = self._open
        return sum(s.size for s in self.stretches) + opened.itemsize * len(opened)

    def as_json(self) -> JsonObject:
        return {
            "bounds": [*map(float, self.bounds)],
            "stretches": [_stretch_json(s) for s in self.stretches],
            "open": [*self._open],
            "covered": self.covered_seconds,
            "start": self._start_at,
            "end": self._end_at,
            "empty": self._empty,
        }

    def restore(self, kept: JsonObject) -> None:
        self.bounds = _floats(kept["bounds"])
        self._nothing = (0.0,) * (1 + len(self.bounds))
        stretches = kept["stretches"]
        assert isinstance(stretches, list), "written by as_json"
        self.stretches = [_stretch_of(s) for s in stretches if isinstance(s, dict)]
        self._flat, self._newest = array("d", _floats(kept["open"])), []
        self._rows = len(self._flat) // len(self._nothing)
        self.covered_seconds, self._start_at, self._end_at, empty = _floats(
            [kept["covered"], kept["start"], kept["end"], kept["empty"]]
        )
        self._empty = int(empty)


def _pack(
    start_at: float,
    end_at: float,
    flat: array[float],
    bounds: tuple[float, ...],
    covered_seconds: float,
) -> Stretch:
    width = 1 + len(bounds)
    sums = tuple(math.fsum(flat[i::width]) for i in range(width))
    kept = _nearest(sums)
    whole = all(map(float.is_integer, flat))
    scale = min(1.0 if whole else float(FRACTION), LARGEST / max(*flat[::width], 1.0))
    return Stretch(
        start_at=start_at,
        end_at=end_at,
        rows=len(flat) // width,
        covered_seconds=covered_seconds,
        bounds=bounds,
        sums=sums,
        kept=kept,
        scale=scale,
        columns=tuple(_squeeze(flat[i::width], scale) for i in (0, *(1 + k for k in kept))),
    )


def _nearest(sums: tuple[float, ...]) -> tuple[int, ...]:
    """The bounds exceeded by a share near to 5 %, in their order."""
    total, bounds = max(sums[0], 1e-9), range(len(sums) - 1)
    far = sorted(
        bounds, key=lambda i: abs(math.log(max(sums[1 + i] / total, 1e-9) / WANTED_EXCEEDANCE))
    )
    return tuple(sorted(far[:BOUNDS_KEPT]))


def _squeeze(column: array[float], scale: float) -> bytes:
    # Byte by byte: the high bytes of neighbours are alike, and shrink to nothing.
    numbers = map(int, column) if scale == 1 else (min(round(v * scale), LARGEST) for v in column)
    packed = struct.pack(f"<{len(column)}I", *numbers)
    return zlib.compress(b"".join(packed[i::4] for i in range(4)), 6)


def _unpack(column: bytes, rows: int, scale: float) -> list[float]:
    planes = zlib.decompress(column)
    packed = bytearray(4 * rows)
    for i in range(4):
        packed[i::4] = planes[i * rows : (i + 1) * rows]
    numbers = struct.unpack(f"<{rows}I", packed)
    return list(map(float, numbers)) if scale == 1 else [n / scale for n in numbers]


def _stretch_json(stretch: Stretch) -> JsonObject:
    return {
        "start": stretch.start_at,
        "end": stretch.end_at,
        "rows": stretch.rows,
        "covered": stretch.covered_seconds,
        "bounds": [*map(float, stretch.bounds)],
        "sums": [*stretch.sums],
        "kept": [*stretch.kept],
        "scale": stretch.scale,
        "columns": [base64.b64encode(column).decode() for column in stretch.columns],
    }


def _stretch_of(kept: JsonObject) -> Stretch:
    start_at, end_at, rows, covered, scale = _floats(
        [kept[key] for key in ("start", "end", "rows", "covered", "scale")]
    )
    columns = kept["columns"]
    assert isinstance(columns, list), "written by as_json"
    return Stretch(
        start_at=start_at,
        end_at=end_at,
        rows=int(rows),
        covered_seconds=covered,
        bounds=_floats(kept["bounds"]),
        sums=_floats(kept["sums"]),
        kept=tuple(int(k) for k in _floats(kept["kept"])),
        scale=scale,
        columns=tuple(base64.b64decode(str(column)) for column in columns),
    )


def _floats(kept: Json) -> tuple[float, ...]:
    assert isinstance(kept, list), "written by as_json"
    return tuple(float(value) for value in kept if isinstance(value, int | float))
