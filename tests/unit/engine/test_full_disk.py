"""A disk that takes nothing delays what is kept; nothing is done unwritten."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rollbackd.clock import FakeClock
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Fact,
    Paused,
    ReleasesSeen,
    Resumed,
    Sample,
    TargetFact,
    Tick,
)
from rollbackd.core.model import Decision, Json, ProbeName
from rollbackd.engine.engine import Engine
from rollbackd.engine.recorder import Recorder
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry.metrics import Metrics
from tests.support import until
from tests.support_runner import FakeExecutor, World
from tests.unit.core.world import SHOP, down, policy_of, release, target, trigger


class FullDisk(SqliteStore):
    full = False

    async def keep(self, fact: TargetFact) -> None:
        self._refuse()
        await super().keep(fact)

    async def record(self, decision: Decision) -> None:
        self._refuse()
        await super().record(decision)

    async def put_blob(self, key: str, value: Json) -> None:
        self._refuse()
        await super().put_blob(key, value)

    def _refuse(self) -> None:
        if self.full:
            raise TemporaryError("no space left", hint="free space")


class Bench:
    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(0.0)
        self.store = FullDisk(directory, self.clock)
        inbox: asyncio.Queue[Fact] = asyncio.Queue()
        metrics = Metrics(CollectorRegistry())
        self.recorder = Recorder(self.store)
        self.world = World()
        runner = Runner(
            clock=self.clock,
            store=self.store,
            executor_for=lambda _target: FakeExecutor(self.world),
            publish=inbox.put_nowait,
            prove=lambda target, rollback: self.engine.prove(target, rollback),
            stop=StopSwitch(directory),
            events=lambda _event, _words: None,
        )
        self.engine = Engine(
            clock=self.clock,
            store=self.store,
            runner=runner,
            recorder=self.recorder,
            metrics=metrics,
            policy=policy_of(target(trigger(down()))),
            inbox=inbox,
        )

    async def kept(self) -> list[str]:
        return [type(fact).__name__ for fact in await self.store.facts(0.0)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.store.open()
    await made.engine.remember()
    yield made
    await made.store.close()


def seen(at: float, *versions: int) -> ReleasesSeen:
    return ReleasesSeen(target=SHOP, at=at, releases=tuple(release(v) for v in versions))


async def test_a_full_disk_ends_neither_the_loop_nor_the_record(bench: Bench) -> None:
    bench.store.full = True
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.engine.run()), group.create_task(bench.recorder.run())]
        bench.engine.publish(seen(1, 41))
        bench.engine.publish(Tick(at=2))
        await until(lambda: SHOP in bench.engine.decisions)
        bench.store.full = False
        bench.engine.publish(Tick(at=3))
        await until(lambda: bench.engine.inbox.empty())

        async def caught_up() -> bool:
            return await bench.kept() == ["ReleasesSeen"]

        await until(caught_up)
        for task in tasks:
            task.cancel()
    await bench.recorder.flush()

    kinds = [line.kind for line in await bench.store.record_lines(SHOP, 10)]
    assert "decision" in kinds


async def test_a_pause_counts_at_once_and_is_written_when_the_disk_takes_it(bench: Bench) -> None:
    bench.store.full = True
    await bench.engine.take(Paused(target=SHOP, at=1, until=600, by="ann", reason="x"))
    paused = bench.engine.states[SHOP].paused(2)
    bench.store.full = False
    await bench.engine.turn(Tick(at=3))

    assert paused
    assert await bench.kept() == ["Paused"]


async def test_what_loosens_is_refused_while_the_disk_is_full(bench: Bench) -> None:
    bench.store.full = True
    await bench.engine.take(Paused(target=SHOP, at=1, until=600, by="ann", reason="x"))

    with pytest.raises(TemporaryError):
        await bench.engine.take(Resumed(target=SHOP, at=2, by="ann"))

    assert bench.engine.states[SHOP].paused(3)


async def test_facts_are_written_in_their_order_when_there_is_space_again(bench: Bench) -> None:
    bench.store.full = True
    await bench.engine.turn(seen(1, 41))
    await bench.engine.take(Paused(target=SHOP, at=2, until=600, by="ann", reason="x"))
    bench.store.full = False
    await bench.engine.take(Resumed(target=SHOP, at=3, by="ann"))

    assert await bench.kept() == ["ReleasesSeen", "Paused", "Resumed"]


async def test_a_rollback_waits_until_its_decision_is_on_disk(bench: Bench) -> None:
    await _go_bad(bench)
    bench.store.full = True
    await bench.engine.turn(Tick(at=146))
    begun = bench.world.effects[:]
    bench.store.full = False
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        bench.engine.publish(Tick(at=147))
        await until(lambda: bool(bench.world.effects))
        running.cancel()

    assert begun == []


async def _go_bad(bench: Bench) -> None:
    async def check(at: float, outcome: CheckOutcome) -> None:
        probe = ProbeName("health")
        await bench.engine.turn(
            Sample(target=SHOP, probe=probe, at=at, measure=Check(outcome=outcome))
        )

    await bench.engine.turn(seen(0, 41))
    for at in range(5, 96, 10):
        await check(at, CheckOutcome.OK)
        await bench.engine.turn(Tick(at=at + 1))
    await bench.engine.turn(seen(100, 42, 41))
    await check(105, CheckOutcome.OK)
    for at in (115, 125, 135, 145):
        await check(at, CheckOutcome.FAILED)
    bench.clock.advance(146 - bench.clock.now())
