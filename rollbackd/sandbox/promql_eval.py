"""Evaluates the PromQL subset over the kept points; it never extrapolates.

As in VictoriaMetrics, a series born inside a window counts from zero.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from rollbackd.sandbox.counters import Counters, Kept, Point, Series
from rollbackd.sandbox.errors import QueryError
from rollbackd.sandbox.promql_parser import (
    Aggregate,
    Binary,
    Call,
    Expression,
    Number,
    Select,
)

LOOKBACK_SECONDS = 300.0
Labels = dict[str, str]
Vector = list[tuple[Labels, float]]


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left)


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "count": lambda values: float(len(values)),
    "max": max,
    "min": min,
    "avg": lambda values: math.fsum(values) / len(values),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One moment: `at` is asked for, `visible_until` is what ingestion has reached."""

    counters: Counters | Kept
    at: float
    visible_until: float

    def value(self, one: Expression) -> Vector | float:
        match one:
            case Number(value=value):
                return value
            case Select():
                return self.instant(one)
            case Aggregate():
                return self.aggregate(one)
            case Call():
                return self.call(one)
            case Binary():
                return self.binary(one)

    def vector(self, one: Expression) -> Vector:
        found = self.value(one)
        if isinstance(found, float):
            raise QueryError("expected an instant vector, got a scalar")
        return found

    def scalar(self, one: Expression) -> float:
        found = self.value(one)
        if not isinstance(found, float):
            raise QueryError("expected a scalar, got an instant vector")
        return found

    def instant(self, one: Select) -> Vector:
        if one.range_seconds is not None:
            raise QueryError("a range vector needs a function like rate or increase around it")
        end = min(self.at - one.offset_seconds, self.visible_until)
        found: Vector = []
        for labels, points in self.selected(one):
            newest = _after(points, end) - 1
            if newest >= 0 and points[newest][0] > end - LOOKBACK_SECONDS:
                found.append(({"__name__": one.name} | labels, points[newest][1]))
        return found

    def selected(self, one: Select) -> list[Series]:
        return [
            (labels, points)
            for labels, points in self.counters.series(one.name)
            if all(matcher.fits(labels) for matcher in one.matchers)
        ]

    def over_range(self, one: Expression, fold: Callable[..., float]) -> Vector:
        if not isinstance(one, Select) or one.range_seconds is None:
            raise QueryError("expected a range vector like name[5m]")
        end = self.at - one.offset_seconds
        start, until = end - one.range_seconds, min(end, self.visible_until)
        found: Vector = []
        for labels, points in self.selected(one):
            first = _after(points, start)
            inside = points[first : _after(points, until)]
            if inside:
                before = points[first - 1 : first] if first else []
                found.append((labels, fold(inside, before, start, self.counters.started_at)))
        return found

    def call(self, one: Call) -> Vector:
        first = one.arguments[0]
        match one.name:
            case "increase":
                return self.over_range(first, _increase)
            case "rate":
                return self.over_range(first, _rate)
            case "max_over_time":
                return self.over_range(first, lambda inside, *_: max(v for _, v in inside))
            case "clamp_min":
                least = self.scalar(one.arguments[1])
                return [(_unnamed(ls), max(v, least)) for ls, v in self.vector(first)]
            case "vector":
                return [({}, self.scalar(first))]
            case _:
                return _quantiles(self.scalar(first), self.vector(one.arguments[1]))

    def aggregate(self, one: Aggregate) -> Vector:
        groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
        for labels, value in self.vector(one.inner):
            key = tuple((label, labels[label]) for label in one.by if label in labels)
            groups.setdefault(key, []).append(value)
        return [(dict(key), FOLDS[one.op](values)) for key, values in groups.items()]

    def binary(self, one: Binary) -> Vector | float:
        left, right = self.value(one.left), self.value(one.right)
        if one.op == "or":
            return _either(left, right)
        if isinstance(left, float) and isinstance(right, float):
            if one.op in COMPARE:
                raise QueryError("comparisons between scalars must use BOOL modifier")
            return ARITHMETIC[one.op](left, right)
        if one.op in COMPARE:
            return [(ls, a) for ls, a, b in _pairs(left, right) if COMPARE[one.op](a, b)]
        return [(_unnamed(ls), ARITHMETIC[one.op](a, b)) for ls, a, b in _pairs(left, right)]


def _after(points: list[Point], at: float) -> int:
    """The place of the first point later than that."""
    return bisect_right(points, at, key=itemgetter(0))


def _pairs(left: Vector | float, right: Vector | float) -> list[tuple[Labels, float, float]]:
    """Vectors match on equal label sets, a number matches everything."""
    if isinstance(left, float):
        assert not isinstance(right, float)
        return [(labels, left, value) for labels, value in right]
    if isinstance(right, float):
        return [(labels, value, right) for labels, value in left]
    others = {_key(labels): value for labels, value in right}
    return [(ls, v, others[_key(ls)]) for ls, v in left if _key(ls) in others]


def _either(left: Vector | float, right: Vector | float) -> Vector:
    if isinstance(left, float) or isinstance(right, float):
        raise QueryError('set operator "or" not allowed in binary scalar expression')
    known = {_key(labels) for labels, _ in left}
    return left + [(labels, value) for labels, value in right if _key(labels) not in known]


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(_unnamed(labels).items()))


def _unnamed(labels: Labels) -> Labels:
    return {name: text for name, text in labels.items() if name != "__name__"}


def _baseline(inside: list[Point], before: list[Point], start: float, born: float | None) -> Point:
    """The last point before the window; for a series that began inside it, zero."""
    if before:
        return before[-1]
    first_at, first = inside[0]
    began_later = born is not None and first_at > born
    return (start, 0.0) if began_later else (first_at, first)


def _increase(inside: list[Point], before: list[Point], start: float, born: float | None) -> float:
    previous = _baseline(inside, before, start, born)[1]
    total = 0.0
    for _, value in inside:
        total += value if value < previous else value - previous
        previous = value
    return total


def _rate(inside: list[Point], before: list[Point], start: float, born: float | None) -> float:
    seconds = inside[-1][0] - _baseline(inside, before, start, born)[0]
    return _increase(inside, before, start, born) / seconds if seconds > 0 else 0.0


def _quantiles(quantile: float, buckets: Vector) -> Vector:
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for labels, value in buckets:
        if "le" in labels:
            rest = {n: t for n, t in labels.items() if n not in {"le", "__name__"}}
            key = tuple(sorted(rest.items()))
            groups.setdefault(key, []).append((float(labels["le"]), value))
    return [(dict(key), _quantile(quantile, sorted(found))) for key, found in groups.items()]


def _quantile(quantile: float, buckets: list[tuple[float, float]]) -> float:
    """Linear within a bucket, as Prometheus does it; NaN without observations."""
    total = buckets[-1][1]
    if not total or buckets[-1][0] != math.inf:
        return math.nan
    rank = quantile * total
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == math.inf:
                return low
            width = count - below
            return low + (bound - low) * ((rank - below) / width) if width else bound
        low, below = bound, count
    return low
