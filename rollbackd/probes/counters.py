"""Differences of counters, per address. What cannot be subtracted gives a baseline, not a guess."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from rollbackd.core.facts import Histogram, MissReason, Ratio
from rollbackd.core.ports import Missed
from rollbackd.probes.exposition import BadBody, Labels, Series

Key: TypeAlias = tuple[str, Labels]  # metric name, labels

_ROUNDING = 1e-6  # of the total: extrapolated increases are not whole numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one scrape of one address held. `born_at`: its process's start, where it says so."""

    at: float
    values: Mapping[Key, float]
    born_at: float | None = None


@dataclass(slots=True)
class Counters:
    """The previous scrape of every address."""

    forget_after_seconds: float
    _previous: dict[str, Page] = field(default_factory=dict)

    def difference(self, address: str, now: Page) -> Mapping[Key, float] | None:
        """What was counted there since the previous scrape; None for a baseline.

        A series that is new at a known address counts from zero: we watched it being born.
        """
        before = self._previous.get(address)
        self._previous[address] = now
        if before is None or now.at - before.at > self.forget_after_seconds:
            return None
        if before.born_at != now.born_at or _was_reset(before.values, now.values):
            return None
        return {key: value - before.values.get(key, 0.0) for key, value in now.values.items()}

    def keep_only(self, addresses: Iterable[str], now: float) -> None:
        """Forget what is gone for long; a machine missing from one answer may be back."""
        listed = set(addresses)
        for address, page in list(self._previous.items()):
            if address not in listed and now - page.at > self.forget_after_seconds:
                del self._previous[address]


def as_counters(series: Iterable[Series]) -> dict[Key, float]:
    """Raises BadBody where a value cannot be a counter's."""
    counters: dict[Key, float] = {}
    for each in series:
        if not math.isfinite(each.value) or each.value < 0:
            raise BadBody(f"{each.name} is not a counter: {each.value}")
        counters[each.name, each.labels] = each.value
    return counters


def ratio(bad: float, total: float) -> Ratio | Missed:
    """A ratio, or the miss that an impossible one makes."""
    if not (math.isfinite(bad) and math.isfinite(total)):
        return Missed(reason=MissReason.NOT_A_NUMBER)
    slack = total * _ROUNDING
    if bad < -slack or total < 0 or bad > total + slack:
        detail = f"bad {bad:g} of total {total:g} cannot be"
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail=detail)
    return Ratio(bad=min(max(bad, 0.0), total), total=total)


def histogram(buckets: Iterable[tuple[float, float]]) -> Histogram | Missed:
    """A histogram from (bound, cumulative count), or the miss that an impossible one makes."""
    ordered = sorted(buckets)
    if not ordered:
        return Missed(reason=MissReason.EMPTY, detail="no buckets")
    if any(math.isnan(bound) or not math.isfinite(count) for bound, count in ordered):
        return Missed(reason=MissReason.NOT_A_NUMBER, detail="a bucket without a finite count")
    if not math.isinf(ordered[-1][0]):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="no +Inf bucket")
    slack = abs(ordered[-1][1]) * _ROUNDING
    rising: list[tuple[float, float]] = []
    highest = 0.0
    for bound, count in ordered:
        if count < highest - slack:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="buckets are not cumulative")
        highest = max(highest, count)
        rising.append((bound, highest))
    return Histogram(buckets=tuple(rising))


def _was_reset(before: Mapping[Key, float], now: Mapping[Key, float]) -> bool:
    return any(now.get(key, -1.0) < value for key, value in before.items())
