"""What a scrape is to read off a page, and the measure that the numbers of all machines make."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rollbackd.core.facts import Measure, MeasureKind, MissReason, Value
from rollbackd.core.ports import Missed
from rollbackd.probes.counters import Key, Page, as_counters, histogram, ratio
from rollbackd.probes.exposition import BadBody, Labels, Selector, Series

BORN = "process_start_time_seconds"

Numbers: TypeAlias = Sequence[Mapping[Key, float]]  # one mapping a machine


@dataclass(frozen=True, slots=True, kw_only=True)
class BadOfTotal:
    """Counters of what went wrong, among counters of all there was."""

    bad: Selector
    total: Selector
    kind = MeasureKind.RATIO

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return self.bad, self.total

    def measure(self, grown: Numbers) -> Measure | Missed:
        if not any(self.total.takes(*key) for machine in grown for key in machine):
            return Missed(reason=MissReason.EMPTY, detail=f"no series of {self.total.name}")
        return ratio(_sum_of(self.bad, grown), _sum_of(self.total, grown))


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """A histogram, summed over whatever labels it has besides `le`."""

    bucket: Selector
    kind = MeasureKind.HISTOGRAM

    @classmethod
    def of(cls, selector: Selector) -> Buckets:
        name = f"{selector.name.removesuffix('_bucket')}_bucket"
        return cls(bucket=Selector(name=name, matchers=selector.matchers))

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return (self.bucket,)

    def measure(self, grown: Numbers) -> Measure | Missed:
        parts: dict[object, dict[float, float]] = defaultdict(dict)
        for index, machine in enumerate(grown):
            for (_, labels), count in machine.items():
                rest = tuple(label for label in labels if label[0] != "le")
                parts[index, rest][_bound(labels)] = count
        if not parts:
            return Missed(reason=MissReason.EMPTY, detail=f"no series of {self.bucket.name}")
        # Two releases may bucket differently; cumulative counts stay true at the bounds they share.
        shared = set.intersection(*(set(part) for part in parts.values()))
        return histogram(
            (bound, math.fsum(part[bound] for part in parts.values())) for bound in shared
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One gauge a machine."""

    one: Selector
    kind = MeasureKind.VALUE

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return (self.one,)

    def measure(self, seen: Numbers) -> Measure | Missed:
        if any(len(machine) > 1 for machine in seen):
            return Missed(reason=MissReason.SEVERAL_SERIES, detail=self.one.name)
        values = [value for machine in seen for value in machine.values()]
        if not values:
            return Missed(reason=MissReason.EMPTY, detail=f"no series of {self.one.name}")
        if not all(map(math.isfinite, values)):
            return Missed(reason=MissReason.NOT_A_NUMBER, detail=self.one.name)
        return Value(value=math.fsum(values))


Wanted: TypeAlias = BadOfTotal | Buckets | Gauge


def names_of(wanted: Wanted) -> frozenset[str]:
    """The metric names a page is searched for."""
    return frozenset({BORN, *(selector.name for selector in wanted.selectors)})


def page_of(wanted: Wanted, series: Iterable[Series], at: float) -> Page:
    """The page's wanted numbers. Raises BadBody where a counter cannot be one."""
    series = tuple(series)
    taken = [each for each in series if _takes(wanted, each)]
    if isinstance(wanted, Gauge):
        values = {(each.name, each.labels): each.value for each in taken}
    else:
        values = as_counters(taken)
    if isinstance(wanted, Buckets):
        for each in taken:
            _bound(each.labels)  # a page with a bucket that has no bound is refused here
    born = [each.value for each in series if each.name == BORN and math.isfinite(each.value)]
    return Page(at=at, values=values, born_at=born[0] if born else None)


def _takes(wanted: Wanted, series: Series) -> bool:
    return any(selector.takes(series.name, series.labels) for selector in wanted.selectors)


def _sum_of(selector: Selector, grown: Numbers) -> float:
    return math.fsum(
        count for machine in grown for key, count in machine.items() if selector.takes(*key)
    )


def _bound(labels: Labels) -> float:
    try:
        return float(dict(labels)["le"])
    except (KeyError, ValueError) as error:
        raise BadBody("a bucket without a bound") from error
