"""Looks at single machines: by a header of Fly's proxy, by address, by a label."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from rollbackd.clock import FakeClock
from rollbackd.core.facts import Check, CheckOutcome, Histogram, MissReason, Ratio
from rollbackd.core.model import Machine
from rollbackd.core.ports import ByMachine, Missed, Reading
from rollbackd.probes.each_machine import FORCE
from rollbackd.probes.http import HttpConfig
from rollbackd.probes.prometheus import PrometheusConfig
from tests.unit.probes.loopback import (
    Loopback,
    Request,
    WatchedPlatform,
    answer,
    context,
    hang,
    machine,
    take,
)
from tests.unit.probes.test_scrape_probe import counts, fleet, probe_of

NEW, OLD = machine(id="new1", release_version=42), machine(id="old1", release_version=41)
STOPPED = machine(id="old1", release_version=41, state="stopped")


def both(*more: Machine) -> WatchedPlatform:
    return WatchedPlatform([NEW, OLD, *more])


class Proxy:
    """Fly's: goes where the header says, else anywhere; what it has no answer for is its own."""

    def __init__(self, machines: dict[str, bytes], *, anywhere: bytes = b"") -> None:
        self.machines = machines
        self.anywhere = anywhere or answer()
        self.at_once = 0
        self.most_at_once = 0
        self.forced: list[str] = []

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        wanted = request.headers.get(FORCE)
        if wanted is None:
            writer.write(self.anywhere)
            return
        self.forced.append(wanted)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)  # so that several can be under way
        self.at_once -= 1
        writer.write(self.machines.get(wanted, answer(b"", status=502)))


async def look(proxy: Proxy, platform: WatchedPlatform, **config: Any) -> Reading:
    async with Loopback(proxy) as server:
        made_with = context(url=server.url, platform=platform)
        return await take("http", {"path": "/health", **config}, made_with)


def parts(reading: Reading) -> dict[str, CheckOutcome]:
    assert isinstance(reading, ByMachine), reading
    assert all(isinstance(part, Check) for _, part in reading.parts)
    return {name: part.outcome for name, part in reading.parts if isinstance(part, Check)}


# http ---------------------------------------------------------------------------------------------


async def test_each_machine_is_asked_by_name_and_judged_like_everybody() -> None:
    proxy = Proxy({"new1": answer(b"broken", status=500), "old1": answer()})
    reading = await look(proxy, both())
    assert parts(reading) == {"new1": CheckOutcome.FAILED, "old1": CheckOutcome.OK}
    assert isinstance(reading, ByMachine)
    assert isinstance(reading.whole, Check)
    assert reading.whole.outcome is CheckOutcome.OK


@pytest.mark.parametrize(
    "of_new",
    [
        answer(b"", status=502),
        answer(b"", status=503),
        answer(b"", status=504),
        answer(b"who?", status=404),
        answer(b"login", status=401),
        answer(b"slow down", status=429),
        b"",
        b"gibberish",
    ],
)
async def test_what_the_machine_did_not_say_itself_is_nothing(of_new: bytes) -> None:
    reading = await look(Proxy({"new1": of_new, "old1": answer()}), both())
    assert parts(reading) == {"old1": CheckOutcome.OK}


async def test_a_503_that_the_app_wrote_is_its_own() -> None:
    proxy = Proxy({"new1": answer(b'{"db": "down"}', status=503), "old1": answer()})
    assert parts(await look(proxy, both()))["new1"] is CheckOutcome.FAILED


async def test_a_machine_that_hangs_is_nothing_and_takes_no_time_from_the_whole() -> None:
    async def forced_hang(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get(FORCE) == "new1":
            await hang(request, writer)
        writer.write(answer())

    async with Loopback(forced_hang) as server:
        made_with = context(url=server.url, platform=both(), seconds=0.3)
        async with asyncio.timeout(3):
            reading = await take("http", {"path": "/health"}, made_with)
    assert parts(reading) == {"old1": CheckOutcome.OK}


async def test_an_answer_from_elsewhere_is_nobodys() -> None:
    async with Loopback(answer()) as elsewhere:
        moved = answer(status=302, Location=f"{elsewhere.url}/x")
        reading = await look(Proxy({"new1": moved, "old1": answer()}), both())
        assert FORCE not in elsewhere.requests[0].headers
    assert parts(reading) == {"old1": CheckOutcome.OK}


async def test_a_redirect_at_home_keeps_the_machine() -> None:
    async def moved(request: Request, writer: asyncio.StreamWriter) -> None:
        here = request.path == "/there"
        broken = answer(b"no", status=500) if request.headers.get(FORCE) == "new1" else answer()
        writer.write(broken if here else answer(status=302, Location="/there"))

    async with Loopback(moved) as server:
        made_with = context(url=server.url, platform=both())
        reading = await take("http", {"path": "/health"}, made_with)
    assert parts(reading) == {"new1": CheckOutcome.FAILED, "old1": CheckOutcome.OK}


async def test_of_many_machines_twenty_are_asked_and_few_at_once() -> None:
    many = [machine(id=f"m{n}", release_version=41 + n % 2) for n in range(60)]
    proxy = Proxy({each.id: answer() for each in many})
    reading = await look(proxy, WatchedPlatform(many))
    assert len(parts(reading)) == 20
    assert 1 < proxy.most_at_once <= 4


@pytest.mark.parametrize(
    ("platform", "config", "asked"),
    [
        (both(), {}, True),
        (both(), {"path": None}, True),
        (both(), {"each_machine": True}, True),
        (both(), {"each_machine": False}, False),
        (WatchedPlatform([NEW]), {}, False),
        (
            WatchedPlatform([NEW, machine(id="old1", release_version=41, state="stopped")]),
            {},
            False,
        ),
    ],
)
async def test_machines_are_asked_only_while_two_releases_serve(
    platform: WatchedPlatform, config: dict[str, Any], asked: bool
) -> None:
    proxy = Proxy({"new1": answer(), "old1": answer()})
    reading = await look(proxy, platform, **config)
    assert isinstance(reading, ByMachine) is asked
    assert bool(proxy.forced) is asked


@pytest.mark.parametrize(("config", "asked"), [({}, False), ({"each_machine": True}, True)])
async def test_a_url_of_its_own_hears_of_machines_only_where_it_is_said(
    config: dict[str, Any], asked: bool
) -> None:
    proxy = Proxy({"new1": answer(), "old1": answer()})
    async with Loopback(proxy) as server:
        await take("http", {"url": server.url, **config}, context(platform=both()))
    assert bool(proxy.forced) is asked


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (HttpConfig, {"value": "$.n", "each_machine": True}),
        (HttpConfig, {"each_machine": "yes"}),
        (PrometheusConfig, {"value": "up", "by": "instance"}),
        (PrometheusConfig, {"histogram": "h", "by": "no-label"}),
        (PrometheusConfig, {"histogram": "h", "by": ""}),
    ],
)
def test_what_cannot_be_told_apart_is_refused(model: Any, config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(config)


# scrape -------------------------------------------------------------------------------------------


def at(name: str, address: str, version: int) -> Machine:
    return machine(id=name, private_ip=address, release_version=version)


async def scrape(*machines: Machine) -> Reading:
    async with fleet("127.0.0.1", "127.0.0.2", "127.0.0.3") as servers:
        probe = probe_of(servers, platform=WatchedPlatform(machines))
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            servers.page(address, counts(10, 0))
        await probe.take()
        servers.page("127.0.0.1", counts(16, 4))
        servers.page("127.0.0.2", counts(30, 0))
        servers.page("127.0.0.3", counts(2, 0))  # restarted in between
        return await probe.take()


async def test_a_page_belongs_to_the_machine_with_its_address() -> None:
    reading = await scrape(
        at("new1", "127.0.0.1", 42), at("old1", "127.0.0.2", 41), at("old2", "127.0.0.3", 41)
    )
    assert reading == ByMachine(
        whole=Ratio(bad=4.0, total=30.0),
        parts=(("new1", Ratio(bad=4.0, total=10.0)), ("old1", Ratio(bad=0.0, total=20.0))),
    )


async def test_an_address_that_is_nobodys_is_in_the_whole_only() -> None:
    reading = await scrape(at("new1", "127.0.0.1", 42), at("old1", "fdaa::9", 41))
    assert isinstance(reading, ByMachine)
    assert reading.whole == Ratio(bad=4.0, total=30.0)
    assert [name for name, _ in reading.parts] == ["new1"]


async def test_with_a_single_release_a_scrape_has_no_parts() -> None:
    reading = await scrape(at("a", "127.0.0.1", 42), at("b", "127.0.0.2", 42))
    assert reading == Ratio(bad=4.0, total=30.0)


def test_one_address_is_found_in_every_spelling() -> None:
    from rollbackd.probes.scrape import _spelled

    assert _spelled("FDAA:0:3ec2:0a7b::2") == _spelled("fdaa:0:3ec2:a7b:0:0:0:2%eth0")
    assert _spelled("shop.internal") == ""


# prometheus and fly_edge ---------------------------------------------------------------------


class Prometheus:
    """Answers with the vector of the longest part of the query that it knows."""

    def __init__(self, known: dict[str, list[tuple[dict[str, str], str]]]) -> None:
        self.known = known
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.asked.append(form)
        part = max((p for p in self.known if p in form["query"]), key=len)
        at = float(form["time"])
        result = [{"metric": labels, "value": [at, v]} for labels, v in self.known[part]]
        document = {"status": "success", "data": {"resultType": "vector", "result": result}}
        writer.write(answer(json.dumps(document).encode()))


async def ask(
    prometheus: Prometheus, platform: WatchedPlatform, kind: str, config: Any
) -> tuple[Reading, list[str]]:
    async with Loopback(prometheus) as server:
        made_with = context(
            prometheus=server.url, platform=platform, interval=30.0, clock=FakeClock(1_000_000.0)
        )
        reading = await take(kind, config, made_with)
    return reading, [asked["query"] for asked in prometheus.asked]


def of(name: str, **labels: str) -> dict[str, str]:
    return {"instance": name, **labels}


async def test_the_errors_preset_asks_the_app_series_about_machines() -> None:
    prometheus = Prometheus(
        {
            "fly_edge": [({}, "50")],
            'fly_edge_http_responses_count{app="shop",status': [({}, "9")],
            "fly_app": [(of("new1"), "12"), (of("old1"), "36")],
            'status=~"5.."}[30s])) or 0 * sum by (instance)': [(of("new1"), "8")],
        }
    )
    reading, asked = await ask(prometheus, both(), "fly_edge", "errors")
    assert reading == ByMachine(
        whole=Ratio(bad=9.0, total=50.0),
        parts=(("new1", Ratio(bad=8.0, total=12.0)), ("old1", Ratio(bad=0.0, total=36.0))),
    )
    which = 'app="shop",instance=~"new1|old1"'
    total = f"sum by (instance) (increase(fly_app_http_responses_count{{{which}}}[30s]))"
    assert asked[2] == total
    assert asked[3] == total.replace(which, which + ',status=~"5.."') + f" or 0 * {total}"
    assert {each["time"] for each in prometheus.asked} == {"999970.000"}


async def test_the_latency_preset_gives_each_machines_buckets() -> None:
    rows = [
        (of(name, le=bound), count)
        for name, tenth in (("new1", "1"), ("old1", "5"))
        for bound, count in (("0.1", tenth), ("+Inf", "6"))
    ]
    prometheus = Prometheus({"edge": [({"le": "+Inf"}, "9")], "fly_app": rows})
    reading, asked = await ask(prometheus, both(), "fly_edge", "latency")
    assert isinstance(reading, ByMachine)
    assert dict(reading.parts) == {
        "new1": Histogram(buckets=((0.1, 1.0), (math.inf, 6.0))),
        "old1": Histogram(buckets=((0.1, 5.0), (math.inf, 6.0))),
    }
    assert asked[1].startswith("sum by (le, instance) (increase(fly_app_http_response_time_seco")


@pytest.mark.parametrize(
    ("platform", "queries"),
    [(WatchedPlatform([NEW]), 1), (both(), 2), (WatchedPlatform([NEW, STOPPED]), 1)],
)
async def test_the_app_series_are_asked_only_while_two_releases_serve(
    platform: WatchedPlatform, queries: int
) -> None:
    known = {"edge": [({"le": "+Inf"}, "9")], "fly_app": [(of("old1", le="+Inf"), "1")]}
    reading, asked = await ask(Prometheus(known), platform, "fly_edge", "latency")
    assert isinstance(reading, ByMachine) is (queries == 2)
    assert len(asked) == queries


async def test_a_machine_switched_within_the_time_asked_about_is_on_no_side() -> None:
    # Asked at 1,000,000: the time until 999,970 and 30 s long.
    young = machine(id="new2", release_version=42, started_at=999_941.0)
    ripe = machine(id="new3", release_version=42, started_at=999_940.0)
    known = {"edge": [({"le": "+Inf"}, "9")], "fly_app": [(of("old1", le="+Inf"), "1")]}
    platform = WatchedPlatform([young, ripe, OLD])
    _, asked = await ask(Prometheus(known), platform, "fly_edge", "latency")
    assert '"new3|old1"' in asked[1]


async def test_app_series_that_cannot_be_read_leave_the_whole_as_it_is() -> None:
    known: dict[str, Any] = {"edge": [({"le": "+Inf"}, "9")], "fly_app": []}
    reading, _ = await ask(Prometheus(known), both(), "fly_edge", "latency")
    assert reading == Histogram(buckets=((math.inf, 9.0),))


BY = {"bad": "sum by (instance) (bad)", "total": "sum by (instance) (all)", "by": "instance"}


async def test_a_query_that_keeps_machines_apart_is_summed_for_the_whole() -> None:
    known = {
        "all": [(of("new1"), "10"), (of("old1"), "30"), (of("gone"), "5")],
        "bad": [(of("new1"), "4"), (of("gone"), "1")],
    }
    reading, asked = await ask(Prometheus(known), both(), "prometheus", BY)
    assert reading == ByMachine(
        whole=Ratio(bad=5.0, total=45.0),
        parts=(("new1", Ratio(bad=4.0, total=10.0)), ("old1", Ratio(bad=0.0, total=30.0))),
    )
    assert len(asked) == 2
    reading, _ = await ask(Prometheus(known), WatchedPlatform([NEW]), "prometheus", BY)
    assert reading == Ratio(bad=5.0, total=45.0)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"all": [(of("a"), "1"), (of("b"), "NaN")], "bad": [(of("a"), "0")]}, "not_a_number"),
        ({"all": [(of("a"), "1")], "bad": [(of("a"), "2")]}, "source_bad_body"),
        (
            {"all": [(of("a"), "1"), (of("a", x="y"), "1")], "bad": [(of("a"), "0")]},
            "several_series",
        ),
        ({"all": [(of("a"), "1")], "bad": []}, "empty"),
    ],
)
async def test_a_whole_that_cannot_be_summed_is_a_miss(
    known: dict[str, list[tuple[dict[str, str], str]]], reason: str
) -> None:
    reading, _ = await ask(Prometheus(known), both(), "prometheus", BY)
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason(reason)
