"""Asks a Prometheus for numbers at the beat of a probe, in the past, and never twice for the same.

Two looks never share a second of data: evaluation times stand on a grid of the probe's interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlencode

from rollbackd.config.types import format_duration
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import MeasureKind, MissReason, Value
from rollbackd.core.ports import Clock, Missed, Reading
from rollbackd.plugins import ProbeContext, PrometheusAccess
from rollbackd.probes.blame import Failed
from rollbackd.probes.counters import histogram, ratio
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange
from rollbackd.probes.promql_answer import buckets, single

WINDOW = "$window"
INTERVAL_SECONDS = 30.0


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
        self, query: Query, access: PrometheusAccess, context: ProbeContext, delay_seconds: float
    ) -> None:
        self._query = query
        self._url = f"{access.url.rstrip('/')}/api/v1/query"
        self._authorization = authorization(access.token)
        self._clock: Clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        # Whole seconds at least: VictoriaMetrics and Prometheus both read them the same.
        self._window = format_duration(max(1.0, context.interval_seconds))
        self._beat = Beat(context.interval_seconds, delay_seconds)
        # Kept open: the handshake costs more than the query, and this is not the target.
        self._exchange = HttpExchange(
            ssl_context=context.ssl_context,
            clock=context.clock,
            user_agent=context.user_agent,
            reuse=True,
        )

    async def take(self) -> Reading:
        at = self._beat.next(self._clock.now())
        if at is None:
            return Missed(reason=MissReason.OVERLOADED, detail="two looks within one interval")
        until = self._clock.monotonic() + self._timeout_seconds
        match self._query:
            case BadOfTotalQuery(bad=bad, total=total):
                return await self._ratio(bad, total, at, until)
            case HistogramQuery(histogram=query):
                read = buckets(await self._ask(query, at, until))
                return read if isinstance(read, Missed) else histogram(read)
            case ValueQuery(value=query):
                number = single(await self._ask(query, at, until))
                return number if isinstance(number, Missed) else Value(value=number)

    async def close(self) -> None:
        await self._exchange.close()

    async def _ratio(self, bad: str, total: str, at: float, until: float) -> Reading:
        of = single(await self._ask(total, at, until))
        if isinstance(of, Missed):
            return of
        some = single(await self._ask(bad, at, until))
        return some if isinstance(some, Missed) else ratio(some, of)

    async def _ask(self, query: str, at: float, until: float) -> Answer | Failed | Missed:
        left = until - self._clock.monotonic()
        if left <= 0:
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="time-out")
        form = {
            "query": query.replace(WINDOW, self._window),
            "time": f"{at:.3f}",
            "timeout": f"{left:.3f}",  # Prometheus reads 2.5 or 2s500ms, never 2.5s
        }
        headers = {"content-type": "application/x-www-form-urlencoded", **self._authorization}
        body = urlencode(form).encode()
        return await self._exchange.look(
            Ask(url=self._url, seconds=left, method="POST", headers=headers, body=body)
        )


def authorization(token: str) -> dict[str, str]:
    """Fly's own scheme for Fly's own tokens, Bearer for everybody else's."""
    if not token:
        return {}
    if token.startswith("FlyV1 "):
        return {"authorization": token}
    if token.startswith(("fm1", "fm2_")):
        return {"authorization": f"FlyV1 {token}"}
    return {"authorization": f"Bearer {token}"}


def needed_access(context: ProbeContext) -> PrometheusAccess:
    """The Prometheus of the process. Raises ConfigError where there is none."""
    if context.prometheus is None:
        raise ConfigError(
            f"probe {context.name} of target {context.target} needs a Prometheus",
            hint="set ROLLBACKD_PROMETHEUS_URL, or take the probe out",
        )
    return context.prometheus


def kind_of(query: Query) -> MeasureKind:
    match query:
        case BadOfTotalQuery():
            return MeasureKind.RATIO
        case HistogramQuery():
            return MeasureKind.HISTOGRAM
        case ValueQuery():
            return MeasureKind.VALUE
