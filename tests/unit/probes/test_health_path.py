"""Which path `auto` looks at, and that no look wakes an app that sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Unreachable
from rollbackd.core.facts import Check, CheckOutcome
from rollbackd.core.ports import NobodyHome, Reading
from rollbackd.probes.http import HttpProbe
from tests.support import until
from tests.unit.probes.loopback import (
    FakePlatform,
    Loopback,
    Request,
    answer,
    asleep_platform,
    build,
    context,
    hang,
    machine,
    take,
)


def outcome(reading: Reading) -> CheckOutcome:
    assert isinstance(reading, Check), reading
    return reading.outcome


class Routes:
    """Answers 200 at some paths and 404 elsewhere; the paths can change."""

    def __init__(self, *good: str, elsewhere: int = 404) -> None:
        self.good = set(good)
        self.elsewhere = elsewhere

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status=200 if request.path in self.good else self.elsewhere))


async def test_auto_takes_the_first_usual_path_that_is_good() -> None:
    async with Loopback(Routes("/up", "/status")) as server:
        probe = build("http", {}, context(url=server.url))
        await probe.take()
        server.requests.clear()
        assert outcome(await probe.take()) is CheckOutcome.OK
        assert [request.path for request in server.requests] == ["/up"]
        await probe.close()


async def test_auto_looks_at_the_root_and_says_so_when_nothing_else_is_there() -> None:
    async with Loopback(Routes("/")) as server:
        probe = build("http", {"path": "auto"}, context(url=server.url))
        seen = await probe.take()
        assert outcome(seen) is CheckOutcome.OK
        assert isinstance(seen, Check)
        assert seen.why.startswith("shallow")
        assert isinstance(probe, HttpProbe)
        assert probe.shallow
        await probe.close()


async def test_auto_stays_with_a_path_that_breaks() -> None:
    routes = Routes("/healthz", "/", elsewhere=500)
    async with Loopback(routes) as server:
        clock = FakeClock()
        probe = build("http", {}, context(url=server.url, clock=clock))
        await probe.take()
        routes.good = {"/up", "/"}
        clock.advance(3600)
        assert outcome(await probe.take()) is CheckOutcome.FAILED
        assert server.requests[-1].path == "/healthz"
        await probe.close()


async def test_auto_finds_a_path_that_moved_after_a_while() -> None:
    routes = Routes("/healthz")
    async with Loopback(routes) as server:
        clock = FakeClock()
        probe = build("http", {}, context(url=server.url, clock=clock))
        await probe.take()
        routes.good = {"/livez"}
        assert outcome(await probe.take()) is CheckOutcome.REFUSED
        assert outcome(await probe.take()) is CheckOutcome.REFUSED  # too early to search again
        clock.advance(61)
        assert outcome(await probe.take()) is CheckOutcome.OK
        await probe.close()


async def test_auto_stays_refused_when_the_path_went_behind_a_login() -> None:
    routes = Routes("/healthz")
    async with Loopback(routes) as server:
        clock = FakeClock()
        probe = build("http", {}, context(url=server.url, clock=clock))
        await probe.take()
        routes.good, routes.elsewhere = set(), 401
        for _ in range(3):
            assert outcome(await probe.take()) is CheckOutcome.REFUSED
            clock.advance(61)
        await probe.close()


async def test_auto_costs_a_hanging_app_one_deadline_and_no_more() -> None:
    async with Loopback(hang) as server:
        began = asyncio.get_running_loop().time()
        reading = await take("http", {}, context(url=server.url, seconds=0.3))
        spent = asyncio.get_running_loop().time() - began
    assert outcome(reading) is CheckOutcome.FAILED
    assert spent < 1.5


class PlatformWithPaths(FakePlatform):
    def __init__(self, *paths: str, down: bool = False) -> None:
        super().__init__([machine()])
        self.paths = paths
        self.down = down

    async def health_paths(self) -> tuple[str, ...]:
        if self.down:
            raise Unreachable("no")
        return self.paths


async def test_auto_prefers_the_platforms_own_check() -> None:
    async with Loopback(Routes("/healthz", "/internal/alive")) as server:
        platform = PlatformWithPaths("/internal/alive")
        reading = await take("http", {}, context(url=server.url, platform=platform))
    assert outcome(reading) is CheckOutcome.OK
    assert [request.path for request in server.requests] == ["/internal/alive"]


async def test_auto_does_without_a_platform_that_is_down() -> None:
    async with Loopback(Routes("/healthz")) as server:
        platform = PlatformWithPaths("/internal/alive", down=True)
        reading = await take("http", {}, context(url=server.url, platform=platform))
    assert outcome(reading) is CheckOutcome.OK


# Sleeping apps --------------------------------------------------------------------------------


async def test_a_crashed_machine_of_an_autostopping_app_is_looked_at() -> None:
    crashed = FakePlatform([machine(state="stopped", autostop=True, crash_looping=True)])
    async with Loopback(answer(status=502)) as server:
        reading = await take("http", {"path": "/"}, context(url=server.url, platform=crashed))
    assert outcome(reading) is CheckOutcome.FAILED


async def test_a_platform_that_is_down_does_not_stop_the_look() -> None:
    down = FakePlatform(error=Unreachable("no"))
    async with Loopback(answer()) as server:
        reading = await take("http", {"path": "/"}, context(url=server.url, platform=down))
    assert outcome(reading) is CheckOutcome.OK


async def test_an_app_known_to_sleep_is_let_sleep_while_the_platform_is_down() -> None:
    platform = asleep_platform()
    async with Loopback(answer()) as server:
        clock = FakeClock()
        made_with = context(url=server.url, platform=platform, clock=clock)
        probe = build("http", {"path": "/"}, made_with)
        assert await probe.take() == NobodyHome()
        platform.error = Unreachable("no")
        clock.advance(60)
        assert await probe.take() == NobodyHome()
        assert server.connections == 0
        await probe.close()


async def test_the_probes_of_a_target_share_one_look_at_its_machines() -> None:
    platform = FakePlatform([machine(autostop=True)])
    async with Loopback(answer()) as server:
        made_with = context(url=server.url, platform=platform)
        first = build("http", {"path": "/a"}, made_with)
        second = build("tcp", {"host": "127.0.0.1", "port": server.port}, made_with)
        await asyncio.gather(first.take(), second.take(), first.take())
        await first.close()
        await second.close()
    assert platform.calls == 1


class SlowPlatform(FakePlatform):
    """Answers only when the test lets it."""

    def __init__(self) -> None:
        super().__init__([machine(state="stopped", autostop=True)])
        self.gate = asyncio.Event()

    async def machines(self) -> tuple[Any, ...]:
        await self.gate.wait()
        return await super().machines()

    async def health_paths(self) -> tuple[str, ...]:
        await self.gate.wait()
        return ("/never",)


async def test_a_slow_platform_does_not_eat_the_looks_deadline() -> None:
    async with Loopback(answer()) as server:
        made_with = context(url=server.url, platform=SlowPlatform(), seconds=0.3)
        reading = await take("http", {"path": "auto"}, made_with)
    assert outcome(reading) is CheckOutcome.OK


async def test_what_a_slow_platform_says_late_serves_the_next_look() -> None:
    platform = SlowPlatform()
    async with Loopback(answer()) as server:
        probe = build("http", {"path": "/"}, context(url=server.url, platform=platform))
        assert outcome(await probe.take()) is CheckOutcome.OK
        platform.gate.set()
        await until(lambda: platform.calls == 1)
        assert await probe.take() == NobodyHome()
        assert platform.calls == 1
        await probe.close()


async def test_an_app_that_never_stops_is_not_asked_about_at_every_look() -> None:
    clock, platform = FakeClock(), FakePlatform([machine(autostop=False)])
    async with Loopback(answer()) as server:
        made_with = context(url=server.url, platform=platform, clock=clock)
        probe = build("http", {"path": "/"}, made_with)
        for _ in range(5):
            await probe.take()
            clock.advance(10)
        await probe.close()
    assert platform.calls == 1
