"""The daemon's own parts, in this process, over a real sandbox; each life dies at a named point.

Nothing that a dead process could not do is done: from the moment it died the client sends nothing
more and the store writes nothing more, whatever `finally` blocks still run.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rollbackd.clock import SystemClock
from rollbackd.core.model import RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.policy import Traffic
from rollbackd.core.ports import Store
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import StepState
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.executors.app import AppExecutor
from rollbackd.fly.client import FlyClient
from rollbackd.fly.platform import FlyPlatform
from rollbackd.sandbox.server import Sandbox
from rollbackd.stores.sqlite import SqliteStore
from tests.integration_fly.walking import Unlimited, target_policy
from tests.support_runner import Crash


@dataclass
class Life:
    """One process: it dies at `point`, and keeps what it passed."""

    point: str = ""
    passed: list[str] = field(default_factory=list)
    dead: bool = False
    _counts: Counter[str] = field(default_factory=Counter)

    def pass_by(self, what: str) -> None:
        self.alive()
        self._counts[what] += 1
        name = f"{what}:{self._counts[what]}"
        self.passed.append(name)
        if name == self.point:
            self.dead = True
            raise Crash(name)

    def alive(self) -> None:
        if self.dead:
            raise Crash("dead already")


class DyingStore(SqliteStore):
    life: Life

    async def note(
        self, rollback: RollbackId, seq: int, state: StepState, *, fence: int, **more: Any
    ) -> None:
        self.life.pass_by(f"before {state.value} {seq}")
        await super().note(rollback, seq, state, fence=fence, **more)
        self.life.pass_by(f"after {state.value} {seq}")

    async def _write(self, work: Any) -> Any:
        self.life.alive()
        return await super()._write(work)


def deadly(client: FlyClient, life: Life) -> None:
    """From now on the client's calls pass by the points, and none is sent by the dead."""
    exchange = client.wire._exchange

    async def exchanging(call: Any) -> Any:
        life.alive()
        if not call.mutates:
            return await exchange(call)
        life.pass_by(f"before send {call.turn[0]}")
        answer = await exchange(call)
        life.pass_by(f"after send {call.turn[0]}")
        return answer

    client.wire._exchange = exchanging  # type: ignore[method-assign]


@dataclass
class Lives:
    """A state directory, and the processes that live on it one after the other."""

    box: Sandbox
    directory: Path
    traffic: Traffic = Traffic.DRAIN
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def learn(self) -> None:
        """See the good release, as a daemon does that watched before."""
        await self._live(Life(), None)

    async def roll_back(self, points: Sequence[str]) -> tuple[list[RollbackOutcome], Life]:
        """Begin one, die at each point in turn, and live to the end; the last life too."""
        ended: list[RollbackOutcome] = []
        for number, point in enumerate([*points, ""]):
            life = Life(point)
            ended += await self._live(life, "begin" if number == 0 else "resume")
        return ended, life

    async def _live(self, life: Life, does: str | None) -> list[RollbackOutcome]:
        clock, urls = SystemClock(), self.box.urls
        store = DyingStore(self.directory, clock)
        store.life = life
        await store.open()
        client = FlyClient(urls.machines_url, urls.api_url, urls.token, clock=clock)
        client.wire.buckets = Unlimited(clock)
        deadly(client, life)
        platform = FlyPlatform(self.box.name, client, clock, keep=store)
        policy = target_policy(urls.proxy_url, traffic=self.traffic)
        executor = AppExecutor(platform, cast(Store, store), policy)
        runner = Runner(
            clock=clock,
            store=store,
            executor_for=lambda _: executor,
            publish=lambda _: None,
            prove=_proved,
            stop=StopSwitch(self.directory),
            events=lambda event, words: self.told.append((event, words)),
        )
        try:
            await platform.machines()
            releases = {r.version: r for r in await platform.releases()}
            if does == "begin":
                newest = max(releases)
                good = max(v for v, r in releases.items() if "errors" not in r.image)
                asked = RollBack(
                    target=TargetName("shop"),
                    at=clock.now(),
                    trigger=None,
                    bad=releases[newest],
                    good=releases[good],
                    plan="app",
                    why="a test says so",
                )
                return [await runner.carry_out(await runner.begin(asked))]
            if does == "resume":
                return [await runner.carry_out(one) for one in await store.unfinished()]
        except* Crash:
            pass
        finally:
            await asyncio.gather(client.close(), store.close())
        return []


async def _proved(_target: TargetName, _rollback: RollbackId) -> Proved:
    return Proved(outcome=RollbackOutcome.RECOVERED)
