"""The daemon's own parts, in this process, over a real sandbox; each life dies at a named point.

Nothing that a dead process could not do is done: from the moment it died the client sends nothing
more and the store writes nothing more, whatever `finally` blocks still run.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from rollbackd.clock import SystemClock
from rollbackd.core.model import Release, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.policy import Traffic
from rollbackd.core.ports import Store
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import RollbackState, StepState
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.executors.app import AppExecutor
from rollbackd.fly.client import FlyClient
from rollbackd.fly.platform import FlyPlatform
from rollbackd.sandbox.server import Sandbox
from rollbackd.stores.sqlite import SqliteStore
from tests.integration_fly.walking import Unlimited, target_policy
from tests.support_runner import Crash

_TLS = ssl.create_default_context()  # reading the certificates takes longer than a whole life


@dataclass
class Life:
    """One process: it dies at `point`, and keeps what it passed."""

    point: str = ""
    does: Callable[[], None] | None = None  # happens at the point instead of death
    passed: list[str] = field(default_factory=list)
    dead: bool = False
    _counts: Counter[str] = field(default_factory=Counter)

    def pass_by(self, what: str) -> None:
        self.alive()
        self._counts[what] += 1
        name = f"{what}:{self._counts[what]}"
        self.passed.append(name)
        if name == self.point and self.does is not None:
            self.does()
        elif name == self.point:
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

    async def turn(self, rollback: RollbackId, state: RollbackState, **more: Any) -> None:
        self.life.pass_by(f"before turn {state.value}")
        await super().turn(rollback, state, **more)
        self.life.pass_by(f"after turn {state.value}")

    async def finish(self, *words: Any, **more: Any) -> None:
        self.life.pass_by("before end")  # after it there is nothing left to resume
        await super().finish(*words, **more)

    async def _write(self, work: Any, **more: Any) -> Any:
        self.life.alive()
        return await super()._write(work, **more)


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
    runner: Runner = field(init=False)  # of the life that is now
    store: DyingStore = field(init=False)

    async def learn(self) -> None:
        """See the good release, as a daemon does that watched before."""
        await self.live(Life(), "")

    async def roll_back(self, points: Sequence[str]) -> tuple[list[RollbackOutcome], Life]:
        """Begin one, die at each point in turn, and live to the end; the last life too."""
        ended: list[RollbackOutcome] = []
        for number, point in enumerate([*points, ""]):
            life = Life(point)
            ended += await self.live(life, "begin" if number == 0 else "resume")
        return ended, life

    def heard(self, event: str) -> list[dict[str, Any]]:
        return [words for name, words in self.told if name == event]

    async def live(self, life: Life, does: str) -> list[RollbackOutcome]:
        """One life: `begin` a rollback, `resume` what is unfinished, `release` what holds; [] when
        it died.
        """
        clock, urls = SystemClock(), self.box.urls
        store, stop = DyingStore(self.directory, clock), StopSwitch(self.directory)
        store.life = life
        await store.open()
        client = FlyClient(
            urls.machines_url,
            urls.api_url,
            urls.token,
            clock=clock,
            permit=stop.check,
            transport=httpx.AsyncHTTPTransport(verify=_TLS),
        )
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
            stop=stop,
            events=lambda event, words: self.told.append((event, words)),
        )
        self.runner, self.store = runner, store
        try:
            if does in {"", "begin"}:
                await platform.machines()
                asked = _asked(await platform.releases(), clock.now())
            if does == "begin":
                return [await runner.carry_out(await runner.begin(asked))]
            if does in {"resume", "release"}:
                by = "ann" if does == "release" else ""
                left = await store.unfinished()
                return [await runner.carry_out(one, released_by=by) for one in left]
        except* Crash:
            pass
        finally:
            await asyncio.gather(client.close(), store.close())
        return []


def _asked(releases: Sequence[Release], now: float) -> RollBack:
    """A person wants to go back from the newest release to the newest good one."""
    return RollBack(
        target=TargetName("shop"),
        at=now,
        trigger=None,
        bad=max(releases, key=lambda r: r.version),
        good=max((r for r in releases if "errors" not in r.image), key=lambda r: r.version),
        plan="app",
        why="a test says so",
    )


async def _proved(_target: TargetName, _rollback: RollbackId) -> Proved:
    return Proved(outcome=RollbackOutcome.RECOVERED)
