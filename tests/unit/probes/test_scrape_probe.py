"""The scrape probe over several machines: who answered, what was counted since."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from rollbackd.clock import FakeClock
from rollbackd.core.facts import Histogram, MeasureKind, MissReason, Ratio, Value
from rollbackd.core.ports import Missed, Platform
from rollbackd.probes.resolver import Resolver
from rollbackd.probes.scrape import ScrapeConfig, ScrapeProbe
from tests.unit.probes.loopback import Request, answer, build, context

RATIO = {"bad": 'requests_total{status=~"5.."}', "total": "requests_total"}


class Fleet:
    """Machines on 127.0.0.1, 127.0.0.2, … at one port, each with its own page."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.port = 0
        self.seen: list[Request] = []

    def addresses(self, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (address, 0)) for address in self.pages]

    def page(self, address: str, text: str) -> None:
        self.pages[address] = answer(text.encode())


@asynccontextmanager
async def fleet(*addresses: str) -> AsyncIterator[Fleet]:
    """Servers for those addresses; a page set for another address finds nobody there."""
    machines = Fleet()
    servers = []
    for address in addresses:

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: str = address
        ) -> None:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                machines.seen.append(Request(head.strip(), reader))
                writer.write(machines.pages[at])
                await writer.drain()
            finally:
                writer.close()

        server = await asyncio.start_server(serve, address, machines.port)
        machines.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    try:
        yield machines
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


def probe_of(
    machines: Fleet,
    clock: FakeClock | None = None,
    platform: Platform | None = None,
    **config: Any,
) -> ScrapeProbe:
    url = f"http://shop.internal:{machines.port}/metrics"
    made_with = context(clock=clock, seconds=1.0, platform=platform)
    probe = build("scrape", {"url": url, **(config or RATIO)}, made_with)
    assert isinstance(probe, ScrapeProbe)
    probe._resolver = Resolver(machines.addresses)
    return probe


def counts(ok: float, bad: float) -> str:
    return f'requests_total{{status="200"}} {ok}\nrequests_total{{status="503"}} {bad}\n'


async def test_the_differences_of_all_machines_are_summed() -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", counts(100, 7))
        machines.page("127.0.0.2", counts(50, 0))
        assert await probe.take() == Missed(reason=MissReason.BASELINE)
        machines.page("127.0.0.1", counts(110, 8))
        machines.page("127.0.0.2", counts(55, 2))
        assert await probe.take() == Ratio(bad=3.0, total=18.0)
        assert await probe.take() == Ratio(bad=0.0, total=0.0)


async def test_no_error_series_yet_is_a_zero_and_not_a_miss() -> None:
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", 'requests_total{status="200"} 5\n')
        await probe.take()
        machines.page("127.0.0.1", 'requests_total{status="200"} 9\n')
        assert await probe.take() == Ratio(bad=0.0, total=4.0)
        machines.page("127.0.0.1", counts(9, 1))
        assert await probe.take() == Ratio(bad=1.0, total=1.0)


async def test_a_restarted_machine_gives_a_baseline_while_the_others_count() -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", counts(100, 7))
        machines.page("127.0.0.2", counts(50, 0))
        await probe.take()
        machines.page("127.0.0.1", counts(3, 3))
        machines.page("127.0.0.2", counts(51, 0))
        assert await probe.take() == Ratio(bad=0.0, total=1.0)
        machines.page("127.0.0.1", counts(4, 4))
        assert await probe.take() == Ratio(bad=1.0, total=2.0)


async def test_a_restart_is_seen_by_the_start_time_even_where_the_counters_overtook() -> None:
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", counts(1, 0) + "process_start_time_seconds 100\n")
        await probe.take()
        machines.page("127.0.0.1", counts(500, 400) + "process_start_time_seconds 200\n")
        assert await probe.take() == Missed(reason=MissReason.BASELINE)


async def test_a_new_machine_gives_a_baseline_first() -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", counts(10, 0))
        await probe.take()
        machines.page("127.0.0.2", counts(9000, 9000))
        assert await probe.take() == Ratio(bad=0.0, total=0.0)
        machines.page("127.0.0.2", counts(9001, 9000))
        assert await probe.take() == Ratio(bad=0.0, total=1.0)


async def test_only_the_machines_that_answered_are_counted() -> None:
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines)
        machines.page("127.0.0.1", counts(10, 0))
        machines.pages["127.0.0.3"] = b""  # nobody listens there
        await probe.take()
        machines.page("127.0.0.1", counts(12, 1))
        assert await probe.take() == Ratio(bad=1.0, total=3.0)


async def test_nobody_answering_is_a_miss() -> None:
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines)
        machines.pages["127.0.0.3"] = b""
        reading = await probe.take()
    assert reading == Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="connection refused")


async def test_an_old_baseline_does_not_throw_old_errors_into_the_window() -> None:
    clock = FakeClock()
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines, clock)
        machines.page("127.0.0.1", counts(10, 0))
        await probe.take()
        clock.advance(3600)
        machines.page("127.0.0.1", counts(10, 5000))
        assert await probe.take() == Missed(reason=MissReason.BASELINE)


def buckets(*counted: float, bounds: tuple[str, ...] = ("0.1", "1", "+Inf")) -> str:
    lines = zip(bounds, counted, strict=True)
    return "".join(f'seconds_bucket{{le="{bound}",path="/"}} {count}\n' for bound, count in lines)


@pytest.mark.parametrize("name", ["seconds", "seconds_bucket"])
async def test_a_histogram_is_summed_over_machines(name: str) -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines, histogram=name)
        for address in ("127.0.0.1", "127.0.0.2"):
            machines.page(address, buckets(1, 2, 3))
        await probe.take()
        for address in ("127.0.0.1", "127.0.0.2"):
            machines.page(address, buckets(2, 4, 6))
        reading = await probe.take()
    assert reading == Histogram(buckets=((0.1, 2.0), (1.0, 4.0), (math.inf, 6.0)))


async def test_releases_with_other_buckets_are_summed_where_they_agree() -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines, histogram="seconds")
        for step in (1, 2):
            machines.page("127.0.0.1", buckets(step, step, step))
            other = buckets(step, step, step, bounds=("0.5", "1", "+Inf"))
            machines.page("127.0.0.2", other)
            reading = await probe.take()
    assert reading == Histogram(buckets=((1.0, 2.0), (math.inf, 2.0)))


async def test_a_gauge_is_summed_over_all_machines_and_missed_without_one_of_them() -> None:
    async with fleet("127.0.0.1", "127.0.0.2") as machines:
        probe = probe_of(machines, value='depth{queue="mail"}')
        machines.page("127.0.0.1", 'depth{queue="mail"} -3\ndepth{queue="x"} 9\n')
        machines.page("127.0.0.2", 'depth{queue="mail"} 5\n')
        assert await probe.take() == Value(value=2.0)
        machines.pages["127.0.0.3"] = b""
        missing = "2 of 3 machines answered"
        assert await probe.take() == Missed(reason=MissReason.SOURCE_UNREACHABLE, detail=missing)


@pytest.mark.parametrize(
    ("config", "text", "reason"),
    [
        (RATIO, "up 1\n", MissReason.EMPTY),
        (RATIO, counts(math.nan, 0), MissReason.SOURCE_BAD_BODY),
        (RATIO, counts(-1, 0), MissReason.SOURCE_BAD_BODY),
        (RATIO, counts(1, 0) * 2, MissReason.SOURCE_BAD_BODY),
        (RATIO, counts(1, 0)[:-5], MissReason.SOURCE_BAD_BODY),
        (RATIO, "<html>\n", MissReason.SOURCE_BAD_BODY),
        (RATIO, "#" * 5_000_000 + "\n", MissReason.SOURCE_BAD_BODY),
        ({"bad": "b", "total": "t"}, "b 5\nt 3\n", MissReason.SOURCE_BAD_BODY),
        ({"histogram": "seconds"}, 'seconds_bucket{path="/"} 1\n', MissReason.SOURCE_BAD_BODY),
        ({"histogram": "seconds"}, 'seconds_bucket{le="x"} 1\n', MissReason.SOURCE_BAD_BODY),
        ({"histogram": "seconds"}, "seconds_sum 1\n", MissReason.EMPTY),
        ({"value": "depth"}, "depth NaN\n", MissReason.NOT_A_NUMBER),
        ({"value": "depth"}, 'depth{a="1"} 1\ndepth{a="2"} 1\n', MissReason.SEVERAL_SERIES),
        ({"value": "depth"}, "\n", MissReason.EMPTY),
    ],
)
async def test_a_page_without_what_is_wanted_is_a_miss_with_its_reason(
    config: dict[str, Any], text: str, reason: MissReason
) -> None:
    async with fleet("127.0.0.1") as machines:
        probe = probe_of(machines, **config)
        machines.page("127.0.0.1", text.replace("b 5", "b 1").replace("t 3", "t 1"))
        await probe.take()
        machines.page("127.0.0.1", text)
        reading = await probe.take()
    assert isinstance(reading, Missed), reading
    assert reading.reason == reason


async def test_a_name_without_machines_is_a_miss() -> None:
    probe = build("scrape", {"url": "http://127.0.0.1:9/metrics", **RATIO}, context())
    reading = await probe.take()
    assert reading == Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="connection refused")


async def test_a_page_is_asked_for_by_the_name_and_not_by_the_address() -> None:
    async with fleet("127.0.0.1") as machines:
        machines.page("127.0.0.1", "up 1\n")
        await probe_of(machines).take()
    assert machines.seen[0].headers["host"] == f"shop.internal:{machines.port}"


@pytest.mark.parametrize(
    "config",
    [
        {"url": "http://x/metrics"},
        {"url": "http://x/metrics", "bad": "b"},
        {"url": "http://x/metrics", "bad": "b", "total": "t", "value": "v"},
        {"url": "http://x/metrics", "value": "v{"},
        {"value": "v"},
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScrapeConfig.model_validate(config)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (RATIO, MeasureKind.RATIO),
        ({"histogram": "h"}, MeasureKind.HISTOGRAM),
        ({"value": "v"}, MeasureKind.VALUE),
    ],
)
def test_the_measure_follows_what_is_read(config: dict[str, Any], kind: MeasureKind) -> None:
    config = {"url": "http://x/metrics", **config}
    assert ScrapeProbe.measure(ScrapeConfig.model_validate(config)) is kind
