"""What a Prometheus still knows of a time gone by. Needs no probe, no daemon and no state.

Every measure counts what happened in the `step_seconds` up to its time; what is not known is
left out, never a zero.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence

from rollbackd.core.errors import (
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
)
from rollbackd.core.facts import Measure, MissReason
from rollbackd.core.ports import Missed
from rollbackd.plugins import PrometheusAccess
from rollbackd.probes.access import question
from rollbackd.probes.http_exchange import HttpExchange
from rollbackd.probes.promql_answer import TOO_MANY, Point, Series, series
from rollbackd.probes.queries import HistogramQuery, Query, measure_of, texts_of

POINTS_A_CALL = 10_000  # a series; Prometheus refuses more than 11,000
NARROW_POINTS_A_CALL = 1_000  # where an answer has many series
MOST_POINTS = 100_000  # 14 days every 15 s, and some
FEWEST_POINTS_A_CALL = 50  # where even that is too much it is not what was asked for
BODY_LIMIT = 8 * 2**20
MOST_VALUES = 300_000  # of an answer: some 50 MB while it is read
ASK_SECONDS = 30.0  # a day of history costs a Prometheus more than a moment
_TOO_MUCH = {TOO_MANY, "body over the limit"}
_WILL_PASS = {
    "timeout", "internal", "unavailable", "canceled",
    "status 429", "status 500", "status 502", "status 503", "status 504",
}  # fmt: skip


async def past_of(
    query: Query,
    access: PrometheusAccess,
    exchange: HttpExchange,
    *,
    since: float,
    until: float,
    step_seconds: float,
    by: str = "",
) -> list[tuple[float, Measure]]:
    """(at, measure) every `step_seconds`, rising, each about a step within (since, until].

    `$window` in the query is the step, so that no two measures share a second. Times are whole
    multiples of the step: VictoriaMetrics would move them there. Raises `core.errors` only.
    """
    if not step_seconds >= 1.0:
        raise Rejected("a step under one second has nothing to tell", hint="take 10 s or more")
    first, last = math.ceil(since / step_seconds) + 1, math.floor(until / step_seconds)
    if last - first >= MOST_POINTS:
        hint = "take a longer step or a shorter time"
        raise Rejected(f"more than {MOST_POINTS:,} points of the past at once", hint=hint)
    many = bool(by) or isinstance(query, HistogramQuery)
    at_once = NARROW_POINTS_A_CALL if many else POINTS_A_CALL
    found: list[tuple[float, Measure]] = []
    waiting = [
        range(begin, min(begin + at_once, last + 1))
        for begin in reversed(range(first, last + 1, at_once))
    ]
    while waiting:
        beats = waiting.pop()
        try:
            answers = [
                await _ask(text, access, exchange, beats, step_seconds)
                for text in texts_of(query, step_seconds)
            ]
        except _TooMuchError:
            if len(beats) <= FEWEST_POINTS_A_CALL:
                raise
            half = len(beats) // 2
            waiting += [beats[half:], beats[:half]]
            continue
        found += await asyncio.to_thread(_measures, query, answers, beats, step_seconds, by)
    return found


class _TooMuchError(Rejected):
    """The answer is larger than what is read at once."""


async def _ask(
    text: str,
    access: PrometheusAccess,
    exchange: HttpExchange,
    beats: range,
    step_seconds: float,
) -> list[Series]:
    form = {
        "query": text,
        "start": f"{beats[0] * step_seconds:.3f}",
        "end": f"{beats[-1] * step_seconds:.3f}",
        "step": f"{step_seconds:.3f}",
        "nocache": "1",  # with its cache VictoriaMetrics moves start and end
    }
    seen = await exchange.look(
        question(access, "query_range", form, seconds=ASK_SECONDS, size_limit=BODY_LIMIT)
    )
    # A day of numbers takes a good part of a second to read, which the event loop does not have.
    read = await asyncio.to_thread(series, seen, MOST_VALUES)
    if isinstance(read, Missed):
        raise _error(read)
    return read


def _measures(
    query: Query, answers: Sequence[list[Series]], beats: range, step_seconds: float, by: str
) -> list[tuple[float, Measure]]:
    """One measure a beat, made as a live look makes it; where that would be a miss, none."""
    tables = [_by_beat(answer, step_seconds) for answer in answers]
    found: list[tuple[float, Measure]] = []
    for beat in beats:
        if beat not in tables[0]:
            continue
        measure = measure_of(query, [table.get(beat, ()) for table in tables], by)
        if not isinstance(measure, Missed):
            found.append((beat * step_seconds, measure))
        elif measure.reason == MissReason.SEVERAL_SERIES:
            raise _error(measure)  # a query that never gives one number must not look like a gap
    return found


def _by_beat(answer: list[Series], step_seconds: float) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = defaultdict(list)
    for labels, values in answer:
        for at, value in values:
            found[round(at / step_seconds)].append((labels, value))
    return found


def _error(missed: Missed) -> RollbackdError:
    message = f"the past cannot be read: {missed.reason}, {missed.detail}".rstrip(", ")
    match missed.reason:
        case MissReason.SOURCE_UNAUTHORIZED:
            return Unauthorized(message, hint="a read-only token of the organization is enough")
        case MissReason.SOURCE_BAD_BODY if missed.detail in _TOO_MUCH:
            return _TooMuchError(message)
        case MissReason.SOURCE_ERROR if missed.detail in _WILL_PASS:
            return TemporaryError(message)
        case MissReason.SOURCE_ERROR | MissReason.SOURCE_BAD_BODY | MissReason.SEVERAL_SERIES:
            return Rejected(message)
        case _:
            return Unreachable(message)
