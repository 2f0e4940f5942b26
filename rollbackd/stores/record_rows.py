"""Facts as short rows of JSON and back, for the record. Knows shapes, not tables.

What a decision never looks at (the phases of a request) is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from rollbackd.core import readers
from rollbackd.core.facts import (
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Fact,
    Histogram,
    MachinesSeen,
    Measure,
    Miss,
    PastSeen,
    Ratio,
    ReleasesSeen,
    Sample,
    Tick,
    Value,
)
from rollbackd.core.model import Json, Machine, ProbeName, Release, TargetName
from rollbackd.stores import codec

Row = list[Json]
Keep = Callable[[str], int]  # a text that comes again and again: its number
Find = Callable[[int], str]  # and back


def row_of(fact: Fact, keep: Keep) -> Row:
    """One fact; `keep` takes in what rarely changes."""
    match fact:
        case Sample():
            row: Row = ["s", fact.target, fact.probe, fact.at, *_measure(fact.measure)]
            parts: Row = [fact.machine, fact.version]
            return row if parts == [None, None] else [*row, *parts]
        case Miss():
            return ["m", fact.target, fact.probe, fact.at, fact.reason, fact.detail]
        case Asleep():
            return ["a", fact.target, fact.probe, fact.at]
        case ControlSeen():
            return ["c", fact.target, fact.at, fact.ok, fact.detail]
        case MachinesSeen():
            shape = keep(_text([readers.flat(each) for each in fact.machines]))
            return ["M", fact.target, fact.at, shape, fact.foreign_leases]
        case ReleasesSeen():
            shape = keep(_text([readers.flat(each) for each in fact.releases]))
            return ["R", fact.target, fact.at, shape]
        case PastSeen():
            samples: Row = [[at, *_measure(measure)] for at, measure in fact.samples]
            return ["p", fact.target, fact.probe, fact.at, samples]
        case Tick():
            return ["t", fact.at]
        case _:
            return ["k", codec.fact_kind(fact), codec.text(fact)]


def fact_of(row: Sequence[Any], find: Find) -> Fact:
    """Raises KeyError, TypeError, ValueError or IndexError where `row_of` did not write it."""
    return _FACTS[row[0]](row[1:], find)


def _text(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


def _measure(measure: Measure) -> Row:
    match measure:
        case Check(outcome=outcome, seconds=seconds, why=why, failing_machines=failing):
            return ["c", [outcome.value, seconds, why, failing]]
        case Ratio(bad=bad, total=total):
            return ["r", [bad, total]]
        case Histogram(buckets=buckets):
            return ["h", [list(bucket) for bucket in buckets]]
        case Value(value=value):
            return ["v", value]


def _measure_of(kind: str, raw: Any) -> Measure:
    match kind:
        case "c":
            outcome, seconds, why, failing = raw
            return Check(
                outcome=CheckOutcome(outcome), seconds=seconds, why=why, failing_machines=failing
            )
        case "r":
            return Ratio(bad=raw[0], total=raw[1])
        case "h":
            return Histogram(buckets=tuple((bound, count) for bound, count in raw))
        case "v":
            return Value(value=raw)
        case _:
            raise ValueError(kind)


def _sample(row: Sequence[Any], _find: Find) -> Fact:
    target, probe, at, kind, raw, *parts = row
    machine, version = parts or (None, None)
    return Sample(
        target=target,
        probe=probe,
        at=at,
        measure=_measure_of(kind, raw),
        machine=machine,
        version=version,
    )


def _miss(row: Sequence[Any], _find: Find) -> Fact:
    target, probe, at, reason, detail = row
    return Miss(target=target, probe=probe, at=at, reason=reason, detail=detail)


def _asleep(row: Sequence[Any], _find: Find) -> Fact:
    target, probe, at = row
    return Asleep(target=target, probe=probe, at=at)


def _control(row: Sequence[Any], _find: Find) -> Fact:
    target, at, ok, detail = row
    return ControlSeen(target=target, at=at, ok=ok, detail=detail)


def _machines(row: Sequence[Any], find: Find) -> Fact:
    target, at, shape, foreign = row
    return MachinesSeen(
        target=TargetName(target), at=at, machines=_fleet(find(shape)), foreign_leases=foreign
    )


def _releases(row: Sequence[Any], find: Find) -> Fact:
    target, at, shape = row
    return ReleasesSeen(target=TargetName(target), at=at, releases=_listed(find(shape)))


@lru_cache(maxsize=64)
def _fleet(text: str) -> tuple[Machine, ...]:
    return tuple(readers.made(Machine, each) for each in json.loads(text))


@lru_cache(maxsize=64)
def _listed(text: str) -> tuple[Release, ...]:
    return tuple(readers.made(Release, each) for each in json.loads(text))


def _past(row: Sequence[Any], _find: Find) -> Fact:
    target, probe, at, samples = row
    return PastSeen(
        target=TargetName(target),
        probe=ProbeName(probe),
        at=at,
        samples=tuple((then, _measure_of(kind, raw)) for then, kind, raw in samples),
    )


def _kept(row: Sequence[Any], _find: Find) -> Fact:
    kind, body = row
    return codec.fact_from(kind, body)


_FACTS: Final[Mapping[str, Callable[[Sequence[Any], Find], Fact]]] = {
    "s": _sample,
    "m": _miss,
    "a": _asleep,
    "c": _control,
    "M": _machines,
    "R": _releases,
    "p": _past,
    "t": lambda row, _find: Tick(at=row[0]),
    "k": _kept,
}


def packed(rows: Sequence[tuple[float, Row]]) -> str:
    return json.dumps([[heard_at, *row] for heard_at, row in rows], separators=(",", ":"))


def unpacked(text: str) -> list[tuple[float, Row]]:
    return [(row[0], row[1:]) for row in cast("list[Any]", json.loads(text))]
