"""Reads a Prometheus query's answer. Anything but exactly what was asked for is a miss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeGuard

from rollbackd.core.facts import MissReason
from rollbackd.core.model import Json
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed
from rollbackd.probes.http_exchange import Answer
from rollbackd.probes.json_path import Absent, parse_json
from rollbackd.probes.source import readable

Labels: TypeAlias = Mapping[str, Json]
Point: TypeAlias = tuple[Labels, float]  # labels, value
Series: TypeAlias = tuple[Labels, list[tuple[float, float]]]  # labels, (at, value) rising

MOST_VALUES = 50_000  # commas of an answer that is read on the event loop: some 10 ms
TOO_MANY = "too many values; aggregate them in the query"
_SAYS_WHY = {400, 422, 503}  # Prometheus puts its own error JSON under these


def points(
    seen: Answer | Failed | Missed, asked: tuple[float, float] | None = None
) -> list[Point] | Missed:
    """Every series of the answer to an instant query, at least one.

    `asked`: about which moment, and how far off the answer may be, both in seconds. A server says
    the moment back; another one is a cache's word on what was, and no sample of now.
    """
    document = _document(seen, MOST_VALUES)
    if isinstance(document, Missed):
        return document
    result = _vector(document)
    if result is None:
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="not an answer to a query")
    if not result:
        return Missed(reason=MissReason.EMPTY, detail="an empty vector is not zero")
    read = [_point(each) for each in result]
    if not _all_read(read):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="a series that cannot be read")
    if asked is not None and not all(_about(each, *asked) for each in result):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="an answer about another time")
    return read


def series(seen: Answer | Failed | Missed, most_values: int) -> list[Series] | Missed:
    """Every series of the answer to a range query; none where nothing is known of that time."""
    document = _document(seen, most_values)
    if isinstance(document, Missed):
        return document
    match document:
        case {"status": "success", "data": {"resultType": "matrix", "result": [*result]}}:
            read = [_series(each) for each in result]
        case _:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="not an answer to a query")
    if not _all_series(read):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="a series that cannot be read")
    return read


def number_of(read: Sequence[Point]) -> float | Missed:
    """The one finite number among them."""
    if not read:
        return Missed(reason=MissReason.EMPTY, detail="an empty vector is not zero")
    if len(read) > 1:
        detail = f"{len(read)} series; aggregate them in the query"
        return Missed(reason=MissReason.SEVERAL_SERIES, detail=detail)
    value = read[0][1]
    if not math.isfinite(value):
        return Missed(reason=MissReason.NOT_A_NUMBER, detail="NaN or infinite")
    return value


def buckets_of(read: Sequence[Point]) -> list[tuple[float, float]] | Missed:
    """(bound, cumulative count) of series told apart by `le` alone."""
    found: dict[float, float] = {}
    for labels, value in read:
        bound = _number(labels.get("le"))
        if bound is None:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="a series without le")
        if bound in found:
            return Missed(reason=MissReason.SEVERAL_SERIES, detail="write sum by (le) (...)")
        found[bound] = value
    return list(found.items())


def _document(seen: Answer | Failed | Missed, most_values: int) -> Json | Absent | Missed:
    """The JSON of the answer, or the miss that an error makes.

    Every value of it costs a hundred times its bytes in memory, and time that no other thread
    gets; so they are counted before they are made, each but the first of its list after a comma.
    """
    if isinstance(seen, Answer) and seen.body.count(b",") > most_values:
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail=TOO_MANY)
    if isinstance(seen, Answer) and seen.status in _SAYS_WHY:
        return _error_of(parse_json(seen.body), seen.status)
    answer = readable(seen)
    if isinstance(answer, Missed):
        return answer
    document = parse_json(answer.body)
    if isinstance(document, dict) and document.get("status") == "error":
        return _error_of(document, answer.status)
    return document


def _vector(document: object) -> list[Json] | None:
    match document:
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            return series
        case {"status": "success", "data": {"resultType": "scalar", "result": [_, _] as pair}}:
            return [{"metric": {}, "value": pair}]
        case _:
            return None


def _point(one: Json) -> Point | None:
    match one:
        case {"metric": dict() as labels, "value": [_, str() as text]}:
            value = _number(text)
            return None if value is None else (labels, value)
        case _:
            return None


def _about(one: Json, at: float, within: float) -> bool:
    match one:
        case {"value": [int() | float() as said, str()]} if not isinstance(said, bool):
            return abs(said - at) <= within
        case _:
            return False


def _series(one: Json) -> Series | None:
    match one:
        case {"metric": dict() as labels, "values": [*values]}:
            read = [_at_value(each) for each in values]
        case _:
            return None
    rising = [each for each in read if each is not None]
    return (labels, rising) if len(rising) == len(read) else None


def _at_value(pair: Json) -> tuple[float, float] | None:
    match pair:
        case [int() | float() as at, str() as text] if not isinstance(at, bool):
            value = _number(text)
            try:
                moment = float(at)
            except OverflowError:  # a whole number of hundreds of digits
                return None
            return None if value is None or not math.isfinite(moment) else (moment, value)
        case _:
            return None


def _all_read(read: list[Point | None]) -> TypeGuard[list[Point]]:
    return None not in read


def _all_series(read: list[Series | None]) -> TypeGuard[list[Series]]:
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
