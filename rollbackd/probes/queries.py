"""What is asked of a Prometheus, and the measure its answers make. It asks nothing itself.

`by` names a label that carries the machine's id: then the queries keep that label, the whole is
the sum over it, and each of its values is one machine's part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from rollbackd.config.types import format_duration
from rollbackd.core.facts import Histogram, Measure, MeasureKind, MissReason, Ratio, Value
from rollbackd.core.ports import Missed
from rollbackd.probes.counters import histogram, ratio
from rollbackd.probes.promql_answer import Point, buckets_of, number_of

WINDOW = "$window"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadOfTotalQuery:
    bad: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramQuery:
    histogram: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueQuery:
    value: str


Query: TypeAlias = BadOfTotalQuery | HistogramQuery | ValueQuery
Answers: TypeAlias = Sequence[Sequence[Point]]  # of `texts_of`, in its order


def kind_of(query: Query) -> MeasureKind:
    match query:
        case BadOfTotalQuery():
            return MeasureKind.RATIO
        case HistogramQuery():
            return MeasureKind.HISTOGRAM
        case ValueQuery():
            return MeasureKind.VALUE


def texts_of(query: Query, window_seconds: float) -> tuple[str, ...]:
    """The PromQL to ask, `$window` filled in with whole seconds at least.

    VictoriaMetrics and Prometheus read those the same. The total comes before the bad.
    """
    window = format_duration(max(1.0, window_seconds))
    return tuple(text.replace(WINDOW, window) for text in _texts(query))


def _texts(query: Query) -> tuple[str, ...]:
    match query:
        case BadOfTotalQuery(bad=bad, total=total):
            return total, bad
        case HistogramQuery(histogram=text) | ValueQuery(value=text):
            return (text,)


def measure_of(query: Query, answers: Answers, by: str = "") -> Measure | Missed:
    """What all the series of the answers say together."""
    if by:
        return _sum(query, list(_groups(answers, by).values()))
    return _measure(query, answers)


def parts_of(query: Query, answers: Answers, by: str) -> dict[str, Measure]:
    """What each machine had of it. Where that cannot be told, the machine is left out."""
    found = {name: _measure(query, group) for name, group in _groups(answers, by).items()}
    return {name: part for name, part in found.items() if not isinstance(part, Missed)}


def _measure(query: Query, answers: Answers) -> Measure | Missed:
    match query:
        case BadOfTotalQuery():
            total, bad = (number_of(points) for points in answers)
            if isinstance(total, Missed):
                return total
            return bad if isinstance(bad, Missed) else ratio(bad, total)
        case HistogramQuery():
            buckets = buckets_of(answers[0])
            return buckets if isinstance(buckets, Missed) else histogram(buckets)
        case ValueQuery():
            number = number_of(answers[0])
            return number if isinstance(number, Missed) else Value(value=number)


def _groups(answers: Answers, by: str) -> Mapping[str, Answers]:
    """The answers split by the label. What has no total, or no buckets, is no machine's."""
    groups: dict[str, list[list[Point]]] = {}
    for labels, value in answers[0]:
        group = groups.setdefault(str(labels.get(by, "")), [[] for _ in answers])
        group[0].append(({k: v for k, v in labels.items() if k != by}, value))
    for index, points in enumerate(answers[1:], start=1):
        for labels, value in points:
            if str(labels.get(by, "")) in groups:
                groups[str(labels.get(by, ""))][index].append(({}, value))
    for _, *others in groups.values():
        for each in others:
            if not each:  # of a machine without a single error there is no series of errors
                each.append(({}, 0.0))
    return groups


def _sum(query: Query, groups: Sequence[Answers]) -> Measure | Missed:
    if not groups:
        return Missed(reason=MissReason.EMPTY, detail="an empty vector is not zero")
    parts = [_measure(query, group) for group in groups]
    missed = next((part for part in parts if isinstance(part, Missed)), None)
    if missed is not None:
        return missed
    ratios = _only(Ratio, parts)
    if ratios:
        return Ratio(bad=math.fsum(r.bad for r in ratios), total=math.fsum(r.total for r in ratios))
    # Two releases may bucket differently; cumulative counts stay true at the bounds they share.
    tables = [dict(each.buckets) for each in _only(Histogram, parts)]
    shared = set.intersection(*(set(table) for table in tables)) if tables else set()
    return histogram((bound, math.fsum(table[bound] for table in tables)) for bound in shared)


def _only(kind: type[T], parts: Iterable[object]) -> list[T]:
    return [part for part in parts if isinstance(part, kind)]
