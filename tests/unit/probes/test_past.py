"""What a Prometheus still knows of the past, read as a live look would have read it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.clock import FakeClock
from rollbackd.core.errors import (
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
)
from rollbackd.core.facts import Histogram, Measure, Ratio, Value
from rollbackd.core.ports import KnowsPast
from rollbackd.plugins import PrometheusAccess
from rollbackd.probes import past
from rollbackd.probes.fly_edge import FlyEdgeConfig
from rollbackd.probes.http_exchange import Answer
from rollbackd.probes.past import past_of
from rollbackd.probes.promql import exchange_for
from rollbackd.probes.queries import BadOfTotalQuery, HistogramQuery, Query, ValueQuery
from tests.unit.probes.loopback import Loopback, Request, answer, build, context

T0 = 1_800_000_000.0
STEP = 30.0

Series = list[tuple[dict[str, str], Callable[[float], str | None]]]
RATIO = BadOfTotalQuery(bad="sum(increase(bad[$window]))", total="sum(increase(all[$window]))")


class Prometheus:
    """Answers range queries: for each part of a query that it knows, series over time."""

    def __init__(self, known: dict[str, Series]) -> None:
        self.known = known
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.asked.append(form)
        part = max((p for p in self.known if p in form["query"]), key=len)
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        times = [start + i * step for i in range(round((end - start) / step) + 1)]
        result = [
            {"metric": labels, "values": [[at, v] for at in times if (v := value(at)) is not None]}
            for labels, value in self.known[part]
        ]
        writer.write(matrix(result))


def matrix(result: Any) -> bytes:
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return answer(json.dumps(document).encode())


def always(text: str) -> Callable[[float], str | None]:
    return lambda _: text


async def read(
    server: Loopback,
    query: Query = RATIO,
    *,
    since: float = T0,
    until: float = T0 + 300,
    step: float = STEP,
    by: str = "",
    token: str = "",
) -> list[tuple[float, Measure]]:
    exchange = exchange_for(context())
    access = PrometheusAccess(url=f"{server.url}/org", token=token)
    return await past_of(
        query, access, exchange, since=since, until=until, step_seconds=step, by=by
    )


async def test_each_measure_counts_one_step_within_the_time_asked_about() -> None:
    prometheus = Prometheus({"all": [({}, always("40"))], "bad": [({}, always("2.5"))]})
    async with Loopback(prometheus) as server:
        found = await read(server, since=T0 + 1, until=T0 + 95)
        assert server.requests[0].line == "POST /org/api/v1/query_range HTTP/1.1"
    assert found == [(T0 + 60, Ratio(bad=2.5, total=40.0)), (T0 + 90, Ratio(bad=2.5, total=40.0))]
    assert [asked["query"] for asked in prometheus.asked] == [
        "sum(increase(all[30s]))",
        "sum(increase(bad[30s]))",
    ]
    assert all(asked["nocache"] == "1" for asked in prometheus.asked)


async def test_the_beat_after_a_whole_step_is_the_first() -> None:
    async with Loopback(Prometheus({"v": [({}, always("1"))]})) as server:
        found = await read(server, ValueQuery(value="v"), since=T0, until=T0 + 60)
    assert [at for at, _ in found] == [T0 + 30, T0 + 60]


async def test_nothing_is_asked_where_no_step_fits() -> None:
    async with Loopback(Prometheus({})) as server:
        assert await read(server, since=T0 + 1, until=T0 + 30) == []
        assert server.requests == []


async def test_what_is_not_known_is_left_out_and_no_zero() -> None:
    def gaps(at: float) -> str | None:
        return {T0 + 30: "1", T0 + 90: "NaN", T0 + 120: "+Inf", T0 + 150: "3"}.get(at)

    async with Loopback(Prometheus({"v": [({}, gaps)]})) as server:
        found = await read(server, ValueQuery(value="v"), until=T0 + 180)
    assert found == [(T0 + 30, Value(value=1.0)), (T0 + 150, Value(value=3.0))]


async def test_a_total_without_its_bad_is_not_taken_for_a_clean_one() -> None:
    def later(at: float) -> str | None:
        return "0" if at >= T0 + 60 else None

    prometheus = Prometheus({"all": [({}, always("40"))], "bad": [({}, later)]})
    async with Loopback(prometheus) as server:
        found = await read(server, until=T0 + 60)
    assert found == [(T0 + 60, Ratio(bad=0.0, total=40.0))]


async def test_a_bad_count_over_the_total_is_left_out() -> None:
    prometheus = Prometheus({"all": [({}, always("4"))], "bad": [({}, always("5"))]})
    async with Loopback(prometheus) as server:
        assert await read(server) == []


async def test_no_series_at_all_is_an_empty_past() -> None:
    async with Loopback(matrix([])) as server:
        assert await read(server) == []


async def test_buckets_are_put_together_beat_by_beat() -> None:
    def grown(at: float) -> str | None:
        return "7" if at > T0 + 30 else "3"

    known: Series = [({"le": "+Inf"}, always("9")), ({"le": "0.5"}, grown)]
    async with Loopback(Prometheus({"h": known})) as server:
        found = await read(server, HistogramQuery(histogram="h"), until=T0 + 60)
    assert found == [
        (T0 + 30, Histogram(buckets=((0.5, 3.0), (math.inf, 9.0)))),
        (T0 + 60, Histogram(buckets=((0.5, 7.0), (math.inf, 9.0)))),
    ]


async def test_machines_that_the_query_keeps_apart_are_summed() -> None:
    known: dict[str, Series] = {
        "all": [({"instance": "a"}, always("10")), ({"instance": "b"}, always("5"))],
        "bad": [({"instance": "b"}, always("1"))],
    }
    async with Loopback(Prometheus(known)) as server:
        found = await read(server, until=T0 + 30, by="instance")
    assert found == [(T0 + 30, Ratio(bad=1.0, total=15.0))]


async def test_two_weeks_are_asked_for_in_pieces_and_told_as_one() -> None:
    prometheus = Prometheus({"all": [({}, always("4"))], "bad": [({}, always("1"))]})
    async with Loopback(prometheus) as server:
        found = await read(server, until=T0 + 14 * 86_400)
    assert len(found) == 14 * 2880
    assert {b - a for (a, _), (b, _) in pairwise(found)} == {STEP}
    for asked in prometheus.asked:
        points = (float(asked["end"]) - float(asked["start"])) / STEP + 1
        assert points <= 10_000
    assert len(prometheus.asked) == 2 * 5


async def test_what_has_many_series_is_asked_for_in_smaller_pieces() -> None:
    prometheus = Prometheus({"h": [({"le": "+Inf"}, always("9"))]})
    async with Loopback(prometheus) as server:
        found = await read(server, HistogramQuery(histogram="h"), until=T0 + 1500 * STEP)
    assert len(found) == 1500
    assert len(prometheus.asked) == 2


async def test_more_than_can_be_kept_is_refused_before_it_is_asked_for() -> None:
    async with Loopback(Prometheus({})) as server:
        with pytest.raises(Rejected, match="points"):
            await read(server, until=T0 + 1e9)
        with pytest.raises(Rejected, match="step"):
            await read(server, step=0.0)
        assert server.requests == []


ERROR = b'{"status":"error","errorType":"%s","error":"secret"}'


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(status=401), Unauthorized),
        (answer(status=403), Unauthorized),
        (answer(ERROR % b"bad_data", status=400), Rejected),
        (answer(ERROR % b"bad_data", status=422), Rejected),
        (answer(ERROR % b"timeout", status=503), TemporaryError),
        (answer(status=502), TemporaryError),
        (answer(status=429), TemporaryError),
        (answer(b"<html>"), Rejected),
        (answer(b'{"status":"success","data":{"resultType":"vector","result":[]}}'), Rejected),
        (answer(b"null"), Rejected),
        (matrix([{"metric": {}, "values": [[1, 2]]}]), Rejected),
        (matrix([{"metric": {}, "values": [[10**400, "2"]]}]), Rejected),
        (matrix([{"metric": {}, "values": [[math.nan, "2"]]}]), Rejected),
        (matrix([{"metric": {}, "values": [[True, "2"]]}]), Rejected),
        (matrix([{"metric": {"a": "1"}, "values": [[T0 + 30, "2"]]}] * 2), Rejected),
        (b"", Unreachable),
    ],
)
async def test_a_past_that_cannot_be_read_is_an_error_of_ours(
    behaviour: bytes, error: type[RollbackdError]
) -> None:
    async with Loopback(behaviour) as server:
        with pytest.raises(error) as caught:
            await read(server)
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)


async def test_a_body_over_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "BODY_LIMIT", 1000)
    async with Loopback(answer(b" " * 1001)) as server:
        with pytest.raises(Rejected, match="over the limit"):
            await read(server)


async def test_what_is_too_much_at_once_is_asked_for_in_smaller_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(past, "MOST_VALUES", 1000)
    prometheus = Prometheus({"all": [({}, always("4"))], "bad": [({}, always("1"))]})
    async with Loopback(prometheus) as server:
        found = await read(server, until=T0 + 1500 * STEP)

    assert [at for at, _ in found] == [T0 + n * STEP for n in range(1, 1501)]
    assert len(prometheus.asked) == 1 + 2 + 4 + 2 * 4 - 4, "each half that is too much, halved"


@pytest.mark.parametrize("values", [b"[],", b'"1",', b"{},"])
async def test_what_is_always_too_much_is_never_made_into_values_and_given_up(
    values: bytes,
) -> None:
    """A million of anything takes seconds, and a small machine's memory."""
    body = answer(b"[" + values * 1_000_000 + b"[]]")
    async with Loopback(body) as server:
        began = time.perf_counter()
        with pytest.raises(Rejected, match="too many values; aggregate them in the query"):
            await read(server, until=T0 + 4 * 60 * STEP)

    assert len(server.requests) <= 4
    assert time.perf_counter() - began < 5


async def test_it_is_asked_as_whoever_owns_the_token() -> None:
    async with Loopback(matrix([])) as server:
        await read(server, token="fm2_abc")
    assert server.requests[0].headers["authorization"] == "FlyV1 fm2_abc"


async def test_a_probe_knows_the_past_of_its_own_query_up_to_its_delay() -> None:
    prometheus = Prometheus({"edge": [({}, always("8"))]})
    async with Loopback(prometheus) as server:
        made_with = context(prometheus=server.url, clock=FakeClock(T0 + 100))
        probe = build("fly_edge", "errors", made_with)
        assert isinstance(probe, KnowsPast)
        found = await probe.past(T0, T0 + 1000, STEP)
        await probe.close()
    assert [at for at, _ in found] == [T0 + 30, T0 + 60]
    total, bad = (asked["query"] for asked in prometheus.asked)
    assert total == 'sum(increase(fly_edge_http_responses_count{app="shop"}[30s]))'
    assert bad.endswith(f" or 0 * {total}")


def test_the_presets_query_needs_no_probe() -> None:
    query = FlyEdgeConfig.model_validate("latency").query("shop")
    assert isinstance(query, HistogramQuery)


@given(
    since=st.floats(0, 1e6), length=st.floats(0, 3000), step=st.sampled_from([1.0, 7.5, 15.0, 60.0])
)
def test_every_measure_lies_within_the_time_asked_about(
    since: float, length: float, step: float
) -> None:
    class Exchange:
        async def look(self, ask: Any) -> Any:
            form = parse_qs(ask.body.decode())
            first, last = (round(float(form[name][0]) / step) for name in ("start", "end"))
            beats = range(first, last + 1)
            values = [[beat * step, "1"] for beat in beats]
            body = matrix([{"metric": {}, "values": values}]).partition(b"\r\n\r\n")[2]
            return Answer(status=200, headers={}, body=body, url="", seconds=0.0, phases=())

    access = PrometheusAccess(url="http://x")
    found = asyncio.run(
        past_of(
            ValueQuery(value="v"),
            access,
            Exchange(),  # type: ignore[arg-type]  # all that is asked of it
            since=since,
            until=since + length,
            step_seconds=step,
        )
    )
    times = [at for at, _ in found]
    assert all(since <= at - step + 1e-6 and at <= since + length + 1e-6 for at in times)
    assert times == sorted(set(times))
    assert len(times) >= math.floor(length / step) - 1
