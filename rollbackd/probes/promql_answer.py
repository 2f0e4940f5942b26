"""Reads a Prometheus query's answer. Anything but exactly what was asked for is a miss."""

from __future__ import annotations

import math
from typing import TypeAlias, TypeGuard

from rollbackd.core.facts import MissReason
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed
from rollbackd.probes.http_exchange import Answer
from rollbackd.probes.json_path import parse_json
from rollbackd.probes.source import readable

Point: TypeAlias = tuple[JsonObject, float]  # labels, value

_SAYS_WHY = {400, 422, 503}  # Prometheus puts its own error JSON under these


def points(seen: Answer | Failed | Missed) -> list[Point] | Missed:
    """Every series of the answer, at least one."""
    if isinstance(seen, Answer) and seen.status in _SAYS_WHY:
        return _error_of(parse_json(seen.body), seen.status)
    answer = readable(seen)
    if isinstance(answer, Missed):
        return answer
    document = parse_json(answer.body)
    if isinstance(document, dict) and document.get("status") == "error":
        return _error_of(document, answer.status)
    result = _result(document)
    if result is None:
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="not an answer to a query")
    if not result:
        return Missed(reason=MissReason.EMPTY, detail="an empty vector is not zero")
    read = [_point(each) for each in result]
    if not _all_read(read):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="a series that cannot be read")
    return read


def single(seen: Answer | Failed | Missed) -> float | Missed:
    """The one finite number of the answer."""
    read = points(seen)
    if isinstance(read, Missed):
        return read
    if len(read) > 1:
        detail = f"{len(read)} series; aggregate them in the query"
        return Missed(reason=MissReason.SEVERAL_SERIES, detail=detail)
    value = read[0][1]
    if not math.isfinite(value):
        return Missed(reason=MissReason.NOT_A_NUMBER)
    return value


def buckets(seen: Answer | Failed | Missed) -> list[tuple[float, float]] | Missed:
    """(bound, cumulative count) of an answer aggregated by `le` alone."""
    read = points(seen)
    if isinstance(read, Missed):
        return read
    found: dict[float, float] = {}
    for labels, value in read:
        bound = _number(labels.get("le"))
        if bound is None:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="a series without le")
        if bound in found:
            return Missed(reason=MissReason.SEVERAL_SERIES, detail="write sum by (le) (...)")
        found[bound] = value
    return list(found.items())


def _result(document: object) -> list[Json] | None:
    if not isinstance(document, dict) or document.get("status") != "success":
        return None
    match document.get("data"):
        case {"resultType": "vector", "result": [*series]}:
            return series
        case {"resultType": "scalar", "result": [_, _] as pair}:
            return [{"metric": {}, "value": pair}]
        case _:
            return None


def _point(series: Json) -> Point | None:
    match series:
        case {"metric": dict() as labels, "value": [_, str() as text]}:
            value = _number(text)
            return None if value is None else (labels, value)
        case _:
            return None


def _all_read(read: list[Point | None]) -> TypeGuard[list[Point]]:
    return None not in read


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _error_of(document: object, status: int) -> Missed:
    kind = document.get("errorType") if isinstance(document, dict) else None
    # Only the error's type: its text may quote the query, which may hold a secret label.
    known = kind if isinstance(kind, str) and kind.isidentifier() else f"status {status}"
    return Missed(reason=MissReason.SOURCE_ERROR, detail=known[:40])
