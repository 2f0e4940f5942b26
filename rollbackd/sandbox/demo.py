"""The demo: a real sandbox, a real daemon, real traffic, a bad deploy, and what came of it."""

from __future__ import annotations

import asyncio
import shutil
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from rollbackd.core.errors import PermanentError
from rollbackd.sandbox import processes
from rollbackd.sandbox.outcome import Outcome, Shape
from rollbackd.sandbox.scenarios import Scenario
from rollbackd.sandbox.shopkeeping import Shop, shop_of
from rollbackd.sandbox.story import Teller
from rollbackd.sandbox.telling import Telling
from rollbackd.telemetry import events

RATE = 40
LOOK_SECONDS = 0.25
OBSERVED_SECONDS = 35.0  # the database of a release that is well is looked at every 30 s
START_SECONDS = 45.0  # a laptop that is busy with something else is no reason to give up
AHEAD_SECONDS = 6.0  # between the broken dependency and the good deploy


@dataclass(kw_only=True)
class Stage:
    """The two processes, and how to talk to them."""

    urls: dict[str, Any]
    sandbox: httpx.AsyncClient
    daemon: httpx.AsyncClient
    running: Process
    log: Path
    shop: Shop | None = None

    def refuse_a_dead_daemon(self) -> None:
        if self.running.returncode is not None:
            *_, last = ["no line in its log", *self.log.read_text().splitlines()]
            raise PermanentError(f"the daemon ended: {last}")

    async def look(self) -> Shape | None:
        """The target as the daemon sees it; None while it is not there yet."""
        try:
            answer = await self.daemon.get("/api/v1/targets/shop")
        except httpx.TransportError:
            return None
        return dict(answer.json()) if answer.is_success else None

    async def rollback(self) -> Shape | None:
        """The newest rollback, if there is one."""
        answer = await self.daemon.get("/api/v1/rollbacks", params={"target": "shop", "limit": "1"})
        found = answer.json()["rollbacks"] if answer.is_success else []
        return dict(found[0]) if found else None

    async def traffic(self) -> Shape:
        answer = await self.sandbox.get("/_sandbox/traffic")
        flows = answer.json()["traffic"]
        return dict(flows[0]) if flows else {"sent": 0, "served": 0, "failed": 0}

    async def machines(self) -> list[Shape]:
        answer = await self.sandbox.get("/_sandbox/apps")
        return list(answer.json()["apps"][0]["machines"])

    async def tell(self, path: str, **body: object) -> Shape:
        answer = await self.sandbox.post(f"/_sandbox/{path}", json=body)
        answer.raise_for_status()
        return dict(answer.json())


async def play(scenario: Scenario, teller: Teller, directory: Path) -> Outcome:
    """Show one scenario; its outcome says what really happened."""
    show = _Show(scenario=scenario, teller=teller)
    configuration = Path(__file__).with_name(scenario.configuration)
    async with (
        shop_of(scenario, directory) as shop,
        _stage(directory, configuration, shop) as stage,
    ):
        await show.play(stage)
    return show.outcome


@asynccontextmanager
async def _stage(directory: Path, configuration: Path, shop: Shop | None) -> AsyncIterator[Stage]:
    sandbox: Process | None = None
    daemon: Process | None = None
    try:
        image = "good" if shop is None else "database"
        sandbox, urls = await processes.start_sandbox(
            *("--app", "shop", "--boot", "1s", "--image", image),
            environment={} if shop is None else {"ROLLBACKD_SANDBOX_DATABASE": shop.url},
        )
        (directory / "config").mkdir()
        shutil.copy(configuration, directory / "config" / "rollback-monitoring.yml")
        environment = _environment(directory, urls) | ({} if shop is None else shop.environment)
        daemon = await processes.start_daemon(environment, directory / "log")
        socket = httpx.AsyncHTTPTransport(uds=str(directory / "state" / "rollbackd.sock"))
        async with (
            httpx.AsyncClient(base_url=urls["sandbox_url"], trust_env=False) as to_sandbox,
            httpx.AsyncClient(transport=socket, base_url="http://rollbackd") as to_daemon,
        ):
            yield Stage(
                urls=urls,
                sandbox=to_sandbox,
                daemon=to_daemon,
                running=daemon,
                log=directory / "log",
                shop=shop,
            )
    finally:
        await processes.end(daemon)
        await processes.end(sandbox)


def _environment(directory: Path, urls: Shape) -> dict[str, str]:
    return {
        "ROLLBACKD_CONFIG": str(directory / "config"),
        "SANDBOX_URL": urls["proxy_url"],
        "ROLLBACKD_STATE": str(directory / "state"),
        "ROLLBACKD_METRICS_LISTEN": "127.0.0.1:0",
        "ROLLBACKD_LISTEN": "127.0.0.1:0",
        "ROLLBACKD_FLY_TOKEN": urls["token"],
        "ROLLBACKD_FLY_MACHINES_URL": urls["machines_url"],
        "ROLLBACKD_FLY_API_URL": urls["api_url"],
        "ROLLBACKD_PROMETHEUS_URL": urls["prometheus_url"],
        "ROLLBACKD_PROMETHEUS_TOKEN": urls["read_token"],
    }


@dataclass(kw_only=True)
class _Show:
    scenario: Scenario
    teller: Teller
    outcome: Outcome = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = Outcome(scenario=self.scenario.name)

    async def play(self, stage: Stage) -> None:
        say = self.teller.say
        say("scene", "a local Fly, a real app on 3 machines, 40 requests/s, a real rollbackd")
        say("note", "times are shortened: boot 1 s, tick 1 s, windows 10 s, clear_for 5 s")
        await stage.tell("settings", scrape_seconds=0.25)
        await stage.tell("traffic", app="shop", rate=RATE)
        await self._until_watched(stage)
        say("scene", "v1 is known to be good: its checks pass and no trigger is breached")
        if self.scenario.dependency_breaks:
            await self._break(stage)
            await asyncio.sleep(AHEAD_SECONDS)
        await self._watch(stage)

    async def _break(self, stage: Stage, passed: float | None = None) -> None:
        self.teller.say("hurt", "the database behind the app breaks; no release did that", passed)
        await stage.tell("apps", app="shop", dependency_down=True)

    async def _until_watched(self, stage: Stage) -> None:
        """Wait until the good release has been seen to be good by every trigger that can say so."""
        patience = START_SECONDS if stage.shop is None else START_SECONDS + OBSERVED_SECONDS
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            stage.refuse_a_dead_daemon()
            target = await stage.look()
            self.teller.show(target, 0.0)
            if target and _well_known(target) and _observed(stage):
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise PermanentError(
            "the daemon did not see v1 well in time", hint="--keep leaves its log to be read"
        )

    async def _watch(self, stage: Stage) -> None:
        began = time.time()
        telling = Telling(self.scenario, self.teller, self.outcome, began)
        self.teller.say("scene", f"fly deploy: {self.scenario.story}", 0.0)
        if self.scenario.note:
            self.teller.say("note", self.scenario.note)
        before = await stage.traffic()
        await stage.tell("deploys", app="shop", image=self.scenario.image, **self.scenario.deploy)
        if stage.shop is not None:  # as a release_command does
            await stage.shop.migrate()
            self.teller.say("note", "its migration is applied: 20260102090000_discounts")
        breaks_at = self.scenario.breaks_after
        while (passed := time.time() - began) < self.scenario.longest_seconds:
            await asyncio.sleep(LOOK_SECONDS)
            if breaks_at is not None and passed >= breaks_at:
                breaks_at = None
                await self._break(stage, passed)
            target, rollback = await stage.look(), await stage.rollback()
            telling.users(await stage.traffic(), await stage.machines(), time.time())
            if target is not None and telling.take_in(target, rollback, time.time()):
                break
        after = await stage.traffic()
        self.outcome.failed_requests = after["failed"] - before["failed"]
        self.outcome.served_requests = after["served"] - before["served"]


def _observed(stage: Stage) -> bool:
    """Whether the daemon has looked at the database while v1 was well, where there is one."""
    return stage.shop is None or events.DATABASE_OBSERVED in stage.log.read_text(encoding="utf-8")


def _well_known(target: Shape) -> bool:
    release = target["release"]
    states = {t["name"]: t["state"] for t in target["triggers"]}
    judged = [state for name, state in states.items() if name != "deploy-failed"]
    settled = release is not None and release["standing"] == "good"
    return settled and bool(judged) and all(state == "ok" for state in judged)
