"""What the prometheus probe asks, when, and as whom; and the presets for Fly's edge."""

from __future__ import annotations

import asyncio
import json
import math
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollbackd.clock import FakeClock
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Histogram, MeasureKind, MissReason, Ratio, Value
from rollbackd.core.ports import Missed
from rollbackd.plugins import probes
from rollbackd.probes.fly_edge import FlyEdgeConfig, FlyEdgeProbe
from rollbackd.probes.http_exchange import Answer
from rollbackd.probes.prometheus import PrometheusConfig, PrometheusProbe
from rollbackd.probes.promql import Beat
from rollbackd.probes.promql_answer import (
    MOST_VALUES,
    TOO_MANY,
    buckets_of,
    number_of,
    points,
    series,
)
from tests.unit.probes.loopback import Loopback, Request, answer, build, context, take


def vector(*series: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in series]
    document = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return answer(json.dumps(document).encode())


def about(said: bytes, at: str) -> bytes:
    """A vector is of the moment that was asked about."""
    body = said.partition(b"\r\n\r\n")[2]
    moved = body.replace(b"[1.0, ", f"[{at}, ".encode())
    return said if moved == body else answer(moved)


class Prometheus:
    """Answers each query with what it was told to; the longest part of it that is known counts."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.asked.append(form)
        known = [part for part in self.answers if part in form["query"]]
        writer.write(about(self.answers[max(known, key=len)], form["time"]))


async def test_a_ratio_is_two_queries_about_the_same_moment() -> None:
    prometheus = Prometheus({"errors": vector(({}, "2.5")), "all": vector(({}, "40"))})
    clock = FakeClock(1_000_000.0)
    async with Loopback(prometheus) as server:
        config = {"bad": "sum(increase(errors[$window]))", "total": "sum(increase(all[$window]))"}
        made_with = context(prometheus=f"{server.url}/prometheus/org", interval=30.0, clock=clock)
        assert await take("prometheus", config, made_with) == Ratio(bad=2.5, total=40.0)
        assert server.connections == 1
    assert server.requests[0].line == "POST /prometheus/org/api/v1/query HTTP/1.1"
    assert {asked["query"] for asked in prometheus.asked} == {
        "sum(increase(errors[30s]))",
        "sum(increase(all[30s]))",
    }
    assert {asked["time"] for asked in prometheus.asked} == {"999970.000"}


async def test_the_deadline_is_told_as_a_plain_number_of_seconds() -> None:
    prometheus = Prometheus({"up": vector(({}, "1"))})
    async with Loopback(prometheus) as server:
        made_with = context(prometheus=server.url, seconds=2.5)
        await take("prometheus", {"value": "up"}, made_with)

    # Prometheus refuses 2.5s as "not a valid duration"; VictoriaMetrics takes both.
    assert 0 < float(prometheus.asked[0]["timeout"]) <= 2.5


async def test_a_histogram_is_read_by_le() -> None:
    reply = vector(({"le": "+Inf"}, "9"), ({"le": "0.1"}, "4"), ({"le": "0.5"}, "7"))
    async with Loopback(Prometheus({"": reply})) as server:
        made_with = context(prometheus=server.url)
        reading = await take("prometheus", {"histogram": "h"}, made_with)
    assert reading == Histogram(buckets=((0.1, 4.0), (0.5, 7.0), (math.inf, 9.0)))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (vector(({}, "9")), MissReason.SOURCE_BAD_BODY),
        (vector(({"le": "1"}, "9"), ({"le": "1", "a": "b"}, "9")), MissReason.SEVERAL_SERIES),
        (vector(({"le": "1"}, "9")), MissReason.SOURCE_BAD_BODY),
        (vector(), MissReason.EMPTY),
    ],
)
async def test_a_histogram_that_is_none_is_a_miss(reply: bytes, reason: MissReason) -> None:
    async with Loopback(Prometheus({"": reply})) as server:
        reading = await take("prometheus", {"histogram": "h"}, context(prometheus=server.url))
    assert isinstance(reading, Missed)
    assert reading.reason == reason


async def test_a_scalar_is_a_number_too() -> None:
    body = b'{"status":"success","data":{"resultType":"scalar","result":[1.0, "7"]}}'
    async with Loopback(Prometheus({"7": answer(body)})) as server:
        reading = await take("prometheus", {"value": "7"}, context(prometheus=server.url))
    assert reading == Value(value=7.0)


async def test_a_bad_count_over_the_total_is_a_miss() -> None:
    prometheus = Prometheus({"errors": vector(({}, "41")), "all": vector(({}, "40"))})
    async with Loopback(prometheus) as server:
        config = {"bad": "errors", "total": "all"}
        reading = await take("prometheus", config, context(prometheus=server.url))
    assert isinstance(reading, Missed)


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("FlyV1 fm2_abc,fm2_def", "FlyV1 fm2_abc,fm2_def"),
        ("fm2_abc", "FlyV1 fm2_abc"),
        ("glsa_abc", "Bearer glsa_abc"),
        ("", None),
    ],
)
async def test_the_token_is_sent_as_its_owner_wants_it(token: str, header: str | None) -> None:
    async with Loopback(vector(({}, "1"))) as server:
        await take("prometheus", {"value": "up"}, context(prometheus=server.url, token=token))
    assert server.requests[0].headers.get("authorization") == header


async def test_a_token_is_not_carried_along_a_redirect() -> None:
    async with Loopback(answer(status=302, Location="http://127.0.0.1:9/")) as server:
        made_with = context(prometheus=server.url, token="t")
        reading = await take("prometheus", {"value": "up"}, made_with)
    assert reading == Missed(reason=MissReason.SOURCE_ERROR, detail="status 302")


async def test_an_own_url_and_token_take_the_place_of_the_process_ones() -> None:
    async with Loopback(Prometheus({"up": vector(({}, "1"))})) as server:
        config = {"value": "up", "url": server.url, "token": "own"}
        made_with = context(prometheus="http://127.0.0.1:9", token="process")
        assert await take("prometheus", config, made_with) == Value(value=1.0)
    assert server.requests[0].headers["authorization"] == "Bearer own"


@pytest.mark.parametrize(
    ("off", "sample"), [(-3600, False), (-31, False), (-29, True), (29, True), (31, False)]
)
async def test_an_answer_about_another_time_is_a_miss(off: int, *, sample: bool) -> None:
    """A cache between us and the server repeats what was, perhaps all errors."""
    clock = FakeClock(1_000_000.0)
    asked = 1_000_000 - 30 + off
    async with Loopback(about(vector(({}, "1")), str(asked))) as server:
        made_with = context(prometheus=server.url, interval=30.0, clock=clock)
        reading = await take("prometheus", {"value": "up"}, made_with)
    other = Missed(reason=MissReason.SOURCE_BAD_BODY, detail="an answer about another time")
    assert reading == (Value(value=1.0) if sample else other)


@pytest.mark.parametrize("moment", ["true", '"now"', "null", "[]"])
async def test_an_answer_that_does_not_say_about_when_is_a_miss(moment: str) -> None:
    async with Loopback(about(vector(({}, "1")), moment)) as server:
        reading = await take("prometheus", {"value": "up"}, context(prometheus=server.url))
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.SOURCE_BAD_BODY


async def test_looks_never_share_a_second_of_data() -> None:
    prometheus = Prometheus({"up": vector(({}, "1"))})
    clock = FakeClock(1_000_000.0)
    async with Loopback(prometheus) as server:
        made_with = context(prometheus=server.url, interval=30.0, clock=clock)
        probe = build("prometheus", {"value": "up"}, made_with)
        for jitter in (0.0, 0.4, -0.7, 0.2):
            await probe.take()
            clock.advance(30.0 + jitter)
        await probe.close()
    times = [float(asked["time"]) for asked in prometheus.asked]
    assert [later - earlier for earlier, later in pairwise(times)] == [30.0] * 3


def test_a_second_look_within_the_interval_has_nothing_to_ask() -> None:
    beat = Beat(30.0, 30.0)
    assert beat.next(1000.0) == 970.0
    assert beat.next(1010.0) is None
    assert beat.next(1029.0) == 1000.0
    assert beat.next(1100.0) == 1060.0


@given(moves=st.lists(st.floats(0.0, 300.0), max_size=30))
def test_evaluation_times_stand_on_a_grid_and_only_rise(moves: list[float]) -> None:
    beat, now, last = Beat(10.0, 30.0), 5000.0, 0.0
    for move in moves:
        now += move
        at = beat.next(now)
        if at is not None:
            assert at >= last + 10.0
            assert abs(at - (now - 30.0)) <= 5.0 + 1e-6
            last = at


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"bad": "a"},
        {"total": "a"},
        {"bad": "a", "total": "b", "value": "c"},
        {"value": ""},
        {"value": "a", "token": "t"},
        {"value": "a", "delay": 30},
        {"value": "a", "query": "b"},
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PrometheusConfig.model_validate(config)


def test_a_token_is_not_shown() -> None:
    config = PrometheusConfig.model_validate({"value": "a", "url": "http://x", "token": "s3cret"})
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("kind", "config"), [("prometheus", {"value": "a"}), ("fly_edge", "errors")]
)
def test_without_a_prometheus_it_says_what_to_set(kind: str, config: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        build(kind, config, context())
    assert "ROLLBACKD_PROMETHEUS_URL" in caught.value.hint


def test_prometheus_is_asked_every_thirty_seconds() -> None:
    for kind in ("prometheus", "fly_edge"):
        assert probes()[kind].defaults() == {"interval_seconds": 30.0}


def test_a_look_reads_no_more_values_than_the_event_loop_has_time_for() -> None:
    """A query that aggregates nothing, or a broken source: a miss, and nothing is made of it."""
    body = b'{"status":"success","data":{"resultType":"vector","result":[' + b"[]," * MOST_VALUES
    seen = Answer(status=200, headers={}, body=body + b"[],[]]}}", url="", seconds=0.0, phases=())

    read = points(seen)

    assert isinstance(read, Missed)
    assert (read.reason, read.detail) == (MissReason.SOURCE_BAD_BODY, TOO_MANY)


@given(
    body=st.binary(max_size=200)
    | st.from_regex(r'\{"status":"success","data":.{0,60}\}').map(str.encode)
)
def test_random_answers_never_raise(body: bytes) -> None:
    seen = Answer(status=200, headers={}, body=body, url="", seconds=0.0, phases=())
    read = points(seen)
    if not isinstance(read, Missed):
        assert isinstance(number_of(read), Missed | float)
        assert isinstance(buckets_of(read), Missed | list)
    assert isinstance(series(seen, 1000), Missed | list)


keys = st.sampled_from(["metric", "value", "values", "le", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(result=json_values, kind=st.sampled_from(["vector", "scalar", "matrix"]))
def test_strange_results_never_raise(result: Any, kind: str) -> None:
    document = {"status": "success", "data": {"resultType": kind, "result": result}}
    body = json.dumps(document).encode()
    seen = Answer(status=200, headers={}, body=body, url="", seconds=0.0, phases=())
    read = points(seen)
    if not isinstance(read, Missed):
        assert isinstance(number_of(read), Missed | float)
        assert isinstance(buckets_of(read), Missed | list)
    assert isinstance(series(seen, 1000), Missed | list)


# fly_edge -----------------------------------------------------------------------------------------


async def test_edge_errors_are_counted_for_the_targets_app() -> None:
    prometheus = Prometheus({"status=~": vector(({}, "1")), "edge": vector(({}, "50"))})
    async with Loopback(prometheus) as server:
        made_with = context(app="shop", prometheus=server.url, interval=30.0)
        assert await take("fly_edge", "errors", made_with) == Ratio(bad=1.0, total=50.0)
    total = 'sum(increase(fly_edge_http_responses_count{app="shop"}[30s]))'
    bad = 'sum(increase(fly_edge_http_responses_count{app="shop",status=~"5.."}[30s]))'
    assert [asked["query"] for asked in prometheus.asked] == [total, f"{bad} or 0 * {total}"]


async def test_edge_latency_is_a_histogram_by_le_alone() -> None:
    reply = vector(({"le": "0.5"}, "4"), ({"le": "+Inf"}, "5"))
    prometheus = Prometheus({"seconds_bucket": reply})
    async with Loopback(prometheus) as server:
        reading = await take("fly_edge", "latency", context(app="shop", prometheus=server.url))
    assert reading == Histogram(buckets=((0.5, 4.0), (math.inf, 5.0)))
    assert "sum by (le) (increase(" in prometheus.asked[0]["query"]


def test_the_presets_have_their_measures() -> None:
    assert FlyEdgeProbe.measure(FlyEdgeConfig(preset="errors")) is MeasureKind.RATIO
    assert FlyEdgeProbe.measure(FlyEdgeConfig(preset="latency")) is MeasureKind.HISTOGRAM
    ratio = PrometheusConfig.model_validate({"bad": "a", "total": "b"})
    assert PrometheusProbe.measure(ratio) is MeasureKind.RATIO


@pytest.mark.parametrize(
    "config", ["error", {}, {"preset": "error"}, {"preset": "errors", "app": "x"}, None]
)
def test_an_unknown_preset_is_refused(config: Any) -> None:
    with pytest.raises(ValidationError):
        FlyEdgeConfig.model_validate(config)


async def test_the_edge_can_be_asked_nearer_to_now() -> None:
    prometheus = Prometheus({"edge": vector(({}, "1"))})
    clock = FakeClock(1_000_000.0)
    async with Loopback(prometheus) as server:
        made_with = context(prometheus=server.url, clock=clock)
        await take("fly_edge", {"preset": "errors", "delay": "5s"}, made_with)
        await take("fly_edge", "errors", made_with)
    assert [asked["time"] for asked in prometheus.asked[::2]] == ["999995.000", "999970.000"]


def test_the_edge_needs_an_app() -> None:
    with pytest.raises(ConfigError, match="names none"):
        build("fly_edge", "errors", context(app=None, prometheus="http://x"))
