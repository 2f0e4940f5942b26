"""Our PromQL probes against a real Prometheus and a real VictoriaMetrics, which is what Fly runs.

Both scrape the sandbox, whose numbers come from requests that were really made.
"""

import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Rejected
from rollbackd.core.facts import Histogram, MissReason, Ratio, Value
from rollbackd.core.ports import ByMachine, KnowsPast, Missed, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.sandbox.listener import Listener
from rollbackd.sandbox.server import Sandbox
from tests.integration.peers import (
    Peer,
    complaints,
    prometheus,
    scrape_config,
    victoria_metrics,
)
from tests.support import until
from tests.unit.probes.loopback import WatchedPlatform, build, context, machine, take

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Start = Callable[[Path, str], AbstractAsyncContextManager[Peer]]
EITHER = pytest.mark.parametrize("start", [prometheus, victoria_metrics])
RATE, WINDOW = 40.0, 8.0
NOW = {"delay": "0s"}


@contextlib.asynccontextmanager
async def asked(start: Start, directory: Path, image: str) -> AsyncIterator[tuple[Sandbox, Peer]]:
    """Steady traffic on the image, scraped every second for longer than a window."""
    quick: dict[str, Any] = {"boot_seconds": 0.1, "scrape_seconds": 0.2}
    async with Sandbox(machines=2, image=image, **quick) as box:
        await box.ready()
        box.traffic(RATE)
        target = box.urls.sandbox_url.removeprefix("http://")
        async with start(directory, scrape_config("edge", target, "1s")) as peer:
            yield box, peer
        quoted = [line for line in complaints(peer.log) if "sum(" not in line]  # our bad query
        assert quoted == []


async def until_filled(peer: Peer, seconds: float = WINDOW) -> None:
    """So many seconds hold scrapes and nothing else, from the first one on."""
    query = f'min(count_over_time(fly_edge_http_responses_count{{app="shop"}}[{seconds:.0f}s]))'

    async def filled() -> bool:
        return ((await peer.number(query)) or 0) >= seconds - 1

    await until(filled, 40)


def about(peer: Peer) -> ProbeContext:
    return context(prometheus=peer.url, interval=WINDOW, seconds=5)


def reason(reading: Reading) -> MissReason | None:
    return reading.reason if isinstance(reading, Missed) else None


@EITHER
async def test_the_errors_preset_sees_the_share_that_users_got(
    start: Start, tmp_path: Path
) -> None:
    async with asked(start, tmp_path, "errors-30") as (box, peer):
        await until_filled(peer)
        flow = box.platform.traffic.flows["shop"]

        reading = await take("fly_edge", {"preset": "errors", **NOW}, about(peer))

        assert isinstance(reading, Ratio), reading
        assert reading.total == pytest.approx(RATE * WINDOW, rel=0.25)
        assert reading.bad / reading.total == pytest.approx(flow.failed / flow.sent, abs=0.1)


@EITHER
async def test_without_a_single_error_the_share_is_zero_and_no_miss(
    start: Start, tmp_path: Path
) -> None:
    async with asked(start, tmp_path, "good") as (_, peer):
        await until_filled(peer)

        reading = await take("fly_edge", {"preset": "errors", **NOW}, about(peer))

        assert isinstance(reading, Ratio), reading
        assert reading.bad == 0
        assert reading.total == pytest.approx(RATE * WINDOW, rel=0.25)


@EITHER
async def test_the_latency_preset_sees_how_long_answers_took(start: Start, tmp_path: Path) -> None:
    async with asked(start, tmp_path, "slow-0.3s") as (_, peer):
        await until_filled(peer)

        reading = await take("fly_edge", {"preset": "latency", **NOW}, about(peer))

        assert isinstance(reading, Histogram), reading
        counts = dict(reading.buckets)
        total = counts[math.inf]
        assert total == pytest.approx(RATE * WINDOW, rel=0.25)
        assert counts[0.25] == 0
        assert counts[1.0] > 0.9 * total
        assert list(counts.values()) == sorted(counts.values())


@EITHER
async def test_own_queries_give_numbers_and_what_is_not_there_is_a_miss(
    start: Start, tmp_path: Path
) -> None:
    async with asked(start, tmp_path, "good") as (_, peer):
        await until_filled(peer)

        rate = 'sum(rate(fly_edge_http_responses_count{app="shop"}[$window]))'
        number = await take("prometheus", {"value": rate, **NOW}, about(peer))
        nothing = await take("prometheus", {"value": "no_such_series", **NOW}, about(peer))
        several = await take("prometheus", {"value": "fly_instance_up", **NOW}, about(peer))
        refused = await take("prometheus", {"value": "sum(", **NOW}, about(peer))
        unreal = await take("prometheus", {"value": "vector(0) / 0", **NOW}, about(peer))

    assert isinstance(number, Value), number
    assert number.value == pytest.approx(RATE, rel=0.25)
    assert reason(nothing) is MissReason.EMPTY
    assert reason(several) is MissReason.SEVERAL_SERIES
    # VictoriaMetrics has no word for its errors, only the status as a number.
    assert isinstance(refused, Missed)
    assert refused.reason is MissReason.SOURCE_ERROR
    assert refused.detail in {"bad_data", "status 422"}
    # VictoriaMetrics leaves NaN out of its answer; to both of us it is a miss.
    assert reason(unreal) in {MissReason.NOT_A_NUMBER, MissReason.EMPTY}


PAST: list[tuple[str, dict[str, Any]]] = [
    ("fly_edge", {"preset": "errors", **NOW}),
    ("fly_edge", {"preset": "latency", **NOW}),
    (
        "prometheus",
        {"value": 'sum(rate(fly_edge_http_responses_count{app="shop"}[$window]))', **NOW},
    ),
    (
        "prometheus",
        {
            "total": "sum by (instance) (increase(fly_app_http_responses_count[$window]))",
            "bad": "sum by (instance) "
            '(increase(fly_app_http_responses_count{status=~"5.."}[$window]))',
            "by": "instance",
            **NOW,
        },
    ),
]


@EITHER
async def test_the_past_says_what_was_said_at_the_time(start: Start, tmp_path: Path) -> None:
    """The same query at the same moments, by range and one by one.

    Only where the whole window was scraped: before that VictoriaMetrics guesses an increase from
    the distances between the samples it has fetched, and by range it fetches others.
    """
    async with asked(start, tmp_path, "errors-30") as (_, peer):
        await until_filled(peer, 2.5 * WINDOW)
        scraped_since = time.time() - 2.5 * WINDOW + 1
        for kind, config in PAST:
            await agrees_with_its_past(peer, kind, config, scraped_since)


async def agrees_with_its_past(peer: Peer, kind: str, config: Any, scraped_since: float) -> None:
    now = time.time() - 3  # what is newer may be stored and not yet to be read
    probe = build(kind, config, about(peer))
    assert isinstance(probe, KnowsPast)
    past = await probe.past(now - 86_400, now, WINDOW)
    await probe.close()

    assert past
    assert [at % WINDOW for at, _ in past] == [0.0] * len(past)
    assert now - 120 < past[0][0] <= past[-1][0] <= now  # nothing of the time before
    assert now - past[-1][0] <= WINDOW
    whole = [(at, measure) for at, measure in past if at - WINDOW >= scraped_since]
    assert whole
    assert whole == [(at, await at_the_time(kind, config, peer, at)) for at, _ in whole]


async def at_the_time(kind: str, config: Any, peer: Peer, at: float) -> Reading:
    clock = FakeClock(at)
    return await take(
        kind, config, context(prometheus=peer.url, interval=WINDOW, seconds=5, clock=clock)
    )


@EITHER
async def test_two_weeks_of_nothing_are_an_empty_past(start: Start, tmp_path: Path) -> None:
    """14 days every 15 s: more points than either of them gives at once."""
    async with start(tmp_path, scrape_config("edge", "127.0.0.1:9", "1s")) as peer:
        probe = build("prometheus", {"value": "vector(3) + 0 * no_such_series"}, about(peer))
        constant = build("prometheus", {"value": "vector(3)"}, about(peer))
        assert isinstance(probe, KnowsPast)
        assert isinstance(constant, KnowsPast)
        now = time.time()
        try:
            assert await probe.past(now - 14 * 86_400, now, 15.0) == []
            everything = await constant.past(now - 14 * 86_400, now, 15.0)
        finally:
            await probe.close()
            await constant.close()

    assert {measure for _, measure in everything} == {Value(value=3.0)}
    assert {later - before for (before, _), (later, _) in pairwise(everything)} == {15.0}
    assert len(everything) == pytest.approx(14 * 5760, abs=4)  # its delay is left out


@EITHER
async def test_a_past_that_is_refused_is_an_error_of_ours(start: Start, tmp_path: Path) -> None:
    async with start(tmp_path, scrape_config("edge", "127.0.0.1:9", "1s")) as peer:
        probe = build("prometheus", {"value": "sum(", **NOW}, about(peer))
        assert isinstance(probe, KnowsPast)
        try:
            with pytest.raises(Rejected):
                await probe.past(time.time() - 3600, time.time(), 30.0)
        finally:
            await probe.close()


@EITHER
async def test_the_presets_tell_the_machines_of_two_releases_apart(
    start: Start, tmp_path: Path
) -> None:
    async with asked(start, tmp_path, "one-bad-60") as (box, peer):
        await until_filled(peer)
        ids = [machine.id for machine in box.machines]
        known = [machine(id=name, release_version=41 + n) for n, name in enumerate(ids)]
        made_with = context(
            prometheus=peer.url, interval=WINDOW, seconds=5, platform=WatchedPlatform(known)
        )

        errors = await take("fly_edge", {"preset": "errors", **NOW}, made_with)
        latency = await take("fly_edge", {"preset": "latency", **NOW}, made_with)
        counted = await peer.query("sum by (instance) (fly_app_http_responses_count)")

    assert {labels["instance"] for labels, _ in counted} == set(ids)
    assert isinstance(errors, ByMachine), errors
    shares = {name: part for name, part in errors.parts if isinstance(part, Ratio)}
    assert set(shares) == set(ids)
    assert sorted(round(part.bad / part.total, 1) for part in shares.values()) == [0.0, 0.6]
    assert isinstance(errors.whole, Ratio)
    assert sum(p.total for p in shares.values()) == pytest.approx(errors.whole.total, rel=0.1)
    assert isinstance(latency, ByMachine), latency
    assert {name for name, _ in latency.parts} == set(ids)


@EITHER
async def test_a_peer_that_is_gone_is_a_miss_and_no_failure(start: Start, tmp_path: Path) -> None:
    async with start(tmp_path, scrape_config("edge", "127.0.0.1:9", "1s")) as peer:
        probe = build("prometheus", {"value": "vector(1)", **NOW}, about(peer))
    try:
        assert reason(await probe.take()) is MissReason.SOURCE_UNREACHABLE
    finally:
        await probe.close()


@EITHER
@pytest.mark.parametrize(
    ("token", "header"), [("secret", "Bearer secret"), ("fm2_x,fm2_y", "FlyV1 fm2_x,fm2_y")]
)
async def test_a_guarded_one_is_asked_with_the_token(
    start: Start, tmp_path: Path, token: str, header: str
) -> None:
    async with (
        start(tmp_path, scrape_config("edge", "127.0.0.1:9", "1s")) as peer,
        guarded(peer, header) as url,
    ):
        question = {"value": "vector(7)", **NOW}
        let_in = await take("prometheus", question, context(prometheus=url, token=token))
        kept_out = await take("prometheus", question, context(prometheus=url, token="wrong"))

    assert let_in == Value(value=7)
    assert reason(kept_out) is MissReason.SOURCE_UNAUTHORIZED


@contextlib.asynccontextmanager
async def guarded(peer: Peer, header: str) -> AsyncIterator[str]:
    """A door before the peer that lets in who has the header, as Fly's does."""

    async def pass_on(request: Request) -> Response:
        if request.headers.get("authorization") != header:
            return PlainTextResponse("who are you?", status_code=401)
        form = dict(parse_qsl((await request.body()).decode()))
        answer = await peer.get(request.url.path, **form)
        return Response(answer.content, status_code=answer.status_code)

    listener = Listener(Starlette(routes=[Route("/{rest:path}", pass_on, methods=["POST"])]))
    await listener.start()
    try:
        yield listener.url
    finally:
        await listener.stop()
