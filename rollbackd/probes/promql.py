"""Asks a Prometheus for numbers at the beat of a probe, in the past, and never twice for the same.

Two looks never share a second of data: evaluation times stand on a grid of the probe's interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollbackd.core.facts import Measure, MissReason
from rollbackd.core.ports import ByMachine, Clock, Missed, Reading
from rollbackd.plugins import ProbeContext, PrometheusAccess
from rollbackd.probes.access import question
from rollbackd.probes.http_exchange import HttpExchange
from rollbackd.probes.past import past_of
from rollbackd.probes.promql_answer import Point, points
from rollbackd.probes.queries import Query, measure_of, parts_of, texts_of
from rollbackd.probes.side_by_side import SideBySide

INTERVAL_SECONDS = 30.0
OFF_SECONDS = 15.0  # a server may round the moment it was asked about to its own step


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How to tell machines apart: `label` carries their ids.

    Without `query` the whole's own queries keep that label; with it, it is asked about the
    machines it is given, and only while there are two releases to compare.
    """

    label: str
    query: Callable[[Sequence[str]], Query] | None = None


class Beat:
    """Evaluation times one interval apart, counted from the first; jitter is rounded away."""

    def __init__(self, interval_seconds: float, delay_seconds: float) -> None:
        self._interval = interval_seconds
        self._delay = delay_seconds
        self._first: float | None = None
        self._last = -1

    def next(self, now: float) -> float | None:
        """The time to ask about, or None where the last look had asked about it already."""
        wanted = now - self._delay
        if self._first is None:
            self._first = wanted
        beat = round((wanted - self._first) / self._interval)
        if beat <= self._last:
            return None
        self._last = beat
        return self._first + beat * self._interval


class PromQl:
    """One probe's questions to one Prometheus."""

    def __init__(
        self,
        query: Query,
        access: PrometheusAccess,
        context: ProbeContext,
        delay_seconds: float,
        shares: Shares | None = None,
    ) -> None:
        self._query = query
        self._access = access
        self._clock: Clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        self._interval_seconds = context.interval_seconds
        self._delay_seconds = delay_seconds
        self._shares = shares
        self._by = shares.label if shares is not None and shares.query is None else ""
        self._machines = SideBySide(context.platform, context.clock)
        self._beat = Beat(context.interval_seconds, delay_seconds)
        # Kept open: the handshake costs more than the query, and this is not the target.
        self._exchange = exchange_for(context, reuse=True)
        self._for_the_past = exchange_for(context)  # seldom, and beside a look: nothing is kept

    async def take(self) -> Reading:
        at = self._beat.next(self._clock.now())
        if at is None:
            return Missed(reason=MissReason.OVERLOADED, detail="two looks within one interval")
        until = self._clock.monotonic() + self._timeout_seconds
        answers = await self._ask(self._query, at, until)
        if isinstance(answers, Missed):
            return answers
        whole = measure_of(self._query, answers, self._by)
        parts = await self._parts(answers, at, until)
        return ByMachine(whole=whole, parts=parts) if parts else whole

    async def past(
        self, since: float, until: float, step_seconds: float
    ) -> Sequence[tuple[float, Measure]]:
        """As `core.ports.KnowsPast`: what it would have read then. The newest is not there yet."""
        return await past_of(
            self._query,
            self._access,
            self._for_the_past,
            since=since,
            until=min(until, self._clock.now() - self._delay_seconds),
            step_seconds=step_seconds,
            by=self._by,
        )

    async def close(self) -> None:
        await self._exchange.close()
        await self._for_the_past.close()

    async def _parts(
        self, answers: Sequence[list[Point]], at: float, until: float
    ) -> tuple[tuple[str, Measure], ...]:
        """The shares of machines that ran the same all the time that was asked about."""
        if self._shares is None:
            return ()
        ids = [m.id for m in await self._machines.since(at - self._interval_seconds)]
        if not ids:
            return ()
        query = self._query
        if self._shares.query is not None:
            query = self._shares.query(ids)
            asked = await self._ask(query, at, until)
            if isinstance(asked, Missed):
                return ()
            answers = asked
        parts = parts_of(query, answers, self._shares.label)
        return tuple((machine, parts[machine]) for machine in ids if machine in parts)

    async def _ask(self, query: Query, at: float, until: float) -> list[list[Point]] | Missed:
        """An answer each to the query's texts, at one moment, one after the other."""
        answers: list[list[Point]] = []
        for text in texts_of(query, self._interval_seconds):
            left = until - self._clock.monotonic()
            if left <= 0:
                return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="time-out")
            form = {"query": text, "time": f"{at:.3f}"}
            seen = await self._exchange.look(question(self._access, "query", form, seconds=left))
            read = points(seen, (at, max(OFF_SECONDS, self._interval_seconds)))
            if isinstance(read, Missed):
                return read
            answers.append(read)
        return answers


def exchange_for(context: ProbeContext, *, reuse: bool = False) -> HttpExchange:
    return HttpExchange(
        ssl_context=context.ssl_context,
        clock=context.clock,
        user_agent=context.user_agent,
        reuse=reuse,
    )
