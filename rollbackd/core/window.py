"""Rings with running counts: what a trigger looks back on. They hold numbers and judge nothing.

A sample costs O(1) amortised, and memory is bounded by what fits into the window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from rollbackd.core import readers
from rollbackd.core.model import Json

SPARE = 16  # room for looks that come a little faster than their interval


def capacity(window_seconds: float, interval_seconds: float) -> int:
    """How many samples a window can hold when looks come at twice their pace."""
    if interval_seconds <= 0:
        return SPARE
    return math.ceil(2 * window_seconds / interval_seconds) + SPARE


class Tally:
    """The last n yes-or-no judgements younger than `young_seconds`, with how many were bad."""

    __slots__ = ("_bad", "_looks", "_young_seconds")

    def __init__(self, of_last: int, young_seconds: float) -> None:
        self._looks: deque[tuple[float, bool]] = deque(maxlen=of_last)
        self._young_seconds = young_seconds
        self._bad = 0

    def __len__(self) -> int:
        return len(self._looks)

    @property
    def full(self) -> bool:
        return len(self._looks) == self._looks.maxlen

    @property
    def bad(self) -> int:
        return self._bad

    def add(self, at: float, bad: bool) -> None:
        while self._looks and (self.full or at - self._looks[0][0] >= self._young_seconds):
            self._bad -= self._looks.popleft()[1]
        self._looks.append((at, bad))
        self._bad += bad

    def bad_at(self, now: float) -> int:
        """How many bad ones are still young at `now`; nothing is dropped."""
        return sum(bad for at, bad in self._looks if now - at < self._young_seconds)

    def bad_until(self) -> Iterator[float]:
        """When each bad one grows too old to count."""
        return (at + self._young_seconds for at, bad in self._looks if bad)

    def oldest_bad(self) -> float | None:
        return next((at for at, bad in self._looks if bad), None)

    def clear(self) -> None:
        self._looks.clear()
        self._bad = 0

    def as_json(self) -> Json:
        return [[at, bad] for at, bad in self._looks]

    def restore(self, kept: Json) -> None:
        """Raises Odd where it does not look like what `as_json` gave."""
        looks = readers.rows(kept, readers.finite, readers.flag)
        _refuse_unordered([at for at, _ in looks], self._looks.maxlen or 0)
        self._looks.extend(looks)
        self._bad = sum(bad for _, bad in looks)


class RatioRing:
    """Sums of bad and total over the window (newest - window, newest]."""

    __slots__ = ("_capacity", "_dropped", "_samples", "_window_seconds", "bad", "total")

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()
        self._window_seconds = window_seconds
        self._capacity = capacity(window_seconds, interval_seconds)
        self._dropped = 0
        self.bad = 0.0
        self.total = 0.0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def ratio(self) -> float | None:
        return self.bad / self.total if self.total > 0 else None

    def add(self, at: float, bad: float, total: float) -> None:
        self._samples.append((at, bad, total))
        self.bad += bad
        self.total += total
        while (
            self._samples[0][0] <= at - self._window_seconds or len(self._samples) > self._capacity
        ):
            _, old_bad, old_total = self._samples.popleft()
            self.bad -= old_bad
            self.total -= old_total
            self._dropped += 1
        if self._dropped > self._capacity:
            self._sum_again()

    def clear(self) -> None:
        self._samples.clear()
        self._sum_again()

    def as_json(self) -> Json:
        # The sums as they are, residue and all: a restart must not tip a comparison.
        return {
            "samples": [list(sample) for sample in self._samples],
            "bad": self.bad,
            "total": self.total,
            "dropped": self._dropped,
        }

    def restore(self, kept: Json) -> None:
        """Raises Odd where it does not look like what `as_json` gave."""
        read = (readers.finite, readers.count, readers.count)
        samples = readers.rows(readers.member(kept, "samples"), *read)
        _refuse_unordered([at for at, _, _ in samples], self._capacity)
        if any(bad > total for _, bad, total in samples):
            raise readers.Odd
        self._samples.extend(samples)
        self._sum_again()
        self.bad = _near(readers.member(kept, "bad"), self.bad)
        self.total = _near(readers.member(kept, "total"), self.total)
        self._dropped = readers.whole(readers.member(kept, "dropped"))

    def _sum_again(self) -> None:
        # Fractions added and taken away leave a residue; once a ring's length it is wiped off.
        self.bad = math.fsum(bad for _, bad, _ in self._samples)
        self.total = math.fsum(total for _, _, total in self._samples)
        self._dropped = 0


class HistogramRing:
    """Cumulative buckets summed over the window. Other bounds than before restart the ring."""

    __slots__ = ("_capacity", "_dropped", "_samples", "_window_seconds", "bounds", "sums")

    def __init__(self, window_seconds: float, interval_seconds: float) -> None:
        self._samples: deque[tuple[float, tuple[float, ...]]] = deque()
        self._window_seconds = window_seconds
        self._capacity = capacity(window_seconds, interval_seconds)
        self._dropped = 0
        self.bounds: tuple[float, ...] = ()
        self.sums: list[float] = []

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def total(self) -> float:
        return self.sums[-1] if self.sums else 0.0

    def add(self, at: float, buckets: tuple[tuple[float, float], ...]) -> None:
        bounds = tuple(bound for bound, _ in buckets)
        counts = tuple(count for _, count in buckets)
        if bounds != self.bounds:
            self.clear()
            self.bounds = bounds
            self.sums = [0.0] * len(bounds)
        self._samples.append((at, counts))
        self._shift(counts, 1)
        while (
            self._samples[0][0] <= at - self._window_seconds or len(self._samples) > self._capacity
        ):
            self._shift(self._samples.popleft()[1], -1)
            self._dropped += 1
        if self._dropped > self._capacity:
            self._sum_again()

    def quantile(self, quantile: float) -> float | None:
        """Linear inside a bucket, as PromQL does; above all finite bounds, the highest of them."""
        if self.total <= 0 or len(self.bounds) < 2:  # noqa: PLR2004 — only the infinite bucket
            return None
        rank = quantile * self.total
        index = next(i for i, count in enumerate(self.sums) if count >= rank or i == _last(self))
        if index == _last(self):
            return self.bounds[-2]
        upper, lower, below = self.bounds[index], 0.0, 0.0
        if index > 0:
            lower, below = self.bounds[index - 1], self.sums[index - 1]
        elif upper <= 0:
            return upper
        inside = self.sums[index] - below
        return lower + (upper - lower) * (rank - below) / inside if inside > 0 else lower

    def clear(self) -> None:
        self._samples.clear()
        self.bounds = ()
        self.sums = []
        self._dropped = 0

    def as_json(self) -> Json:
        return {
            "bounds": list(self.bounds),
            "samples": [[at, list(counts)] for at, counts in self._samples],
            "sums": list(self.sums),
            "dropped": self._dropped,
        }

    def restore(self, kept: Json) -> None:
        """Raises Odd where it does not look like what `as_json` gave."""
        bounds = [readers.number(bound) for bound in readers.items(readers.member(kept, "bounds"))]
        samples = readers.rows(readers.member(kept, "samples"), readers.finite, _counts)
        _refuse_unordered([at for at, _ in samples], self._capacity)
        if any(len(counts) != len(bounds) for _, counts in samples) or bounds != sorted(bounds):
            raise readers.Odd
        self.bounds = tuple(bounds)
        self._samples.extend(samples)
        self._sum_again()
        sums = readers.items(readers.member(kept, "sums"))
        if len(sums) != len(self.sums):
            raise readers.Odd
        self.sums = [_near(each, sure) for each, sure in zip(sums, self.sums, strict=True)]
        self._dropped = readers.whole(readers.member(kept, "dropped"))

    def _shift(self, counts: tuple[float, ...], sign: int) -> None:
        for index, count in enumerate(counts):
            self.sums[index] += sign * count

    def _sum_again(self) -> None:
        columns = zip(*(counts for _, counts in self._samples), strict=True)
        self.sums = [math.fsum(column) for column in columns]
        self._dropped = 0


def _last(ring: HistogramRing) -> int:
    return len(ring.bounds) - 1


def _counts(raw: Json) -> tuple[float, ...]:
    counts = tuple(readers.count(each) for each in readers.items(raw))
    if list(counts) != sorted(counts):
        raise readers.Odd
    return counts


def _refuse_unordered(times: list[float], most: int) -> None:
    if len(times) > most or any(b <= a for a, b in pairwise(times)):
        raise readers.Odd


def _near(raw: Json, sure: float) -> float:
    found = readers.finite(raw)
    if not math.isclose(found, sure, rel_tol=1e-6, abs_tol=1e-6):
        raise readers.Odd
    return found
