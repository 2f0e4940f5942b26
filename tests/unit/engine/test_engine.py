"""The loop: one recorded decision per target and tick, and nothing begun before it is on disk."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rollbackd.clock import FakeClock
from rollbackd.core.decide import decide
from rollbackd.core.errors import ImageMissing
from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Fact,
    Paused,
    ReleasesSeen,
    Sample,
    Tick,
)
from rollbackd.core.model import Hold, HoldReason, ProbeName, RollBack
from rollbackd.core.rules import Mode
from rollbackd.engine.engine import Engine
from rollbackd.engine.recorder import Recorder
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry.metrics import Metrics
from tests.support import until
from tests.support_runner import FakeExecutor, World
from tests.unit.core.world import SHOP, down, policy_of, release, target, trigger


class Bench:
    """An engine over a real store, a real runner and a fake platform."""

    def __init__(self, directory: Path, mode: Mode = Mode.AUTO) -> None:
        self.clock = FakeClock(0.0)
        self.metrics = Metrics(CollectorRegistry())
        self.store = SqliteStore(directory, self.clock)
        self.world = World()
        self.executor = FakeExecutor(self.world)
        self.recorder = Recorder(self.store)
        inbox: asyncio.Queue[Fact] = asyncio.Queue()
        self.stop = StopSwitch(directory)
        runner = Runner(
            clock=self.clock,
            store=self.store,
            executor_for=lambda _target: self.executor,
            publish=inbox.put_nowait,
            prove=lambda target, rollback: self.engine.prove(target, rollback),
            stop=self.stop,
            events=lambda _event, _words: None,
        )
        self.engine = Engine(
            clock=self.clock,
            store=self.store,
            runner=runner,
            recorder=self.recorder,
            metrics=self.metrics,
            policy=policy_of(target(trigger(down())), mode),
            inbox=inbox,
        )

    async def open(self) -> None:
        await self.store.open()
        await self.engine.remember()

    async def tick(self, at: float) -> None:
        self.clock.advance(at - self.clock.now())
        await self.engine.turn(Tick(at=at))

    async def check(self, at: float, outcome: str) -> None:
        measure = Check(outcome=CheckOutcome(outcome))
        fact = Sample(target=SHOP, probe=ProbeName("health"), at=at, measure=measure)
        await self.engine.turn(fact)

    async def go_bad(self) -> None:
        """v41 seen well, v42 deployed at 100 and failing from 115 on."""
        await self.engine.turn(ReleasesSeen(target=SHOP, at=0, releases=(release(41),)))
        for at in range(5, 96, 10):
            await self.check(at, "ok")
            await self.tick(at + 1)
        news = ReleasesSeen(target=SHOP, at=100, releases=(release(42), release(41)))
        await self.engine.turn(news)
        await self.check(105, "ok")
        await self.tick(106)
        for at in (115, 125, 135, 145):
            await self.check(at, "failed")

    @property
    def decision(self) -> Hold | RollBack:
        return self.engine.decisions[SHOP]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.store.close()


async def lines(bench: Bench, kind: str) -> list[dict[str, object]]:
    return [r.data for r in await bench.store.record_lines(SHOP, 1000) if r.kind == kind]


async def test_a_tick_decides_and_a_sample_does_not(bench: Bench) -> None:
    await bench.check(5, "ok")
    assert SHOP not in bench.engine.decisions

    await bench.tick(6)

    assert isinstance(bench.decision, Hold)


async def test_a_hold_is_recorded_when_it_changes_and_not_again(bench: Bench) -> None:
    for at in (1, 2, 3):
        await bench.tick(at)
    await bench.recorder.flush()

    assert len(await lines(bench, "decision")) == 1


async def test_a_decision_to_roll_back_is_on_disk_before_anything_begins(bench: Bench) -> None:
    await bench.go_bad()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        bench.engine.publish(Tick(at=146))
        await until(lambda: isinstance(bench.engine.decisions.get(SHOP), RollBack))
        recorded = [d for d in await lines(bench, "decision") if d["decision"] == "roll_back"]
        running.cancel()

    assert len(recorded) == 1


async def test_the_next_tick_begins_no_second_one(bench: Bench) -> None:
    await bench.go_bad()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        for at in (146, 147, 148):
            bench.engine.publish(Tick(at=at))
        await until(lambda: bench.engine.inbox.empty())
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is not None)
        running.cancel()

    assert len(await bench.store.history(SHOP, 10)) == 1


async def test_a_missing_image_is_remembered_and_held_for(bench: Bench) -> None:
    async def refuse(_decision: RollBack) -> None:
        raise ImageMissing("image missing: image-41")

    bench.executor.plan = refuse  # type: ignore[assignment, method-assign]  # one bad answer
    await bench.go_bad()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        bench.engine.publish(Tick(at=146))
        await until(lambda: bool(bench.engine.states[SHOP].missing_images))
        bench.engine.publish(Tick(at=152))  # once the short pause after a refusal is over

        def held() -> bool:
            now = bench.engine.decisions[SHOP]
            return isinstance(now, Hold) and now.reason is HoldReason.IMAGE_MISSING

        await until(held)
        running.cancel()


async def test_a_pause_is_on_disk_when_it_was_taken(bench: Bench) -> None:
    await bench.engine.take(Paused(target=SHOP, at=1, until=600, by="ann", reason="migration"))

    (kept,) = await bench.store.facts(0.0)
    assert isinstance(kept, Paused)


async def test_what_was_good_is_still_good_after_a_restart(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    await first.open()
    await first.go_bad()
    await first.store.close()

    second = Bench(tmp_path)
    await second.open()
    standing = second.engine.states[SHOP].ledger.standing(release(41))
    await second.store.close()

    assert standing == "good"


async def test_the_ceiling_observe_holds_what_a_crash_left_and_touches_nothing(
    tmp_path: Path,
) -> None:
    first = Bench(tmp_path)
    await first.open()
    await first.go_bad()
    decided = decide(first.engine.policy, first.engine.states[SHOP], 146)
    assert isinstance(decided, RollBack)
    await first.engine.runner.begin(decided)
    await first.store.close()

    second = Bench(tmp_path, Mode.OBSERVE)
    await second.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(second.engine.run())

        async def holding() -> bool:
            return [r["state"] for r in await second.store.history(SHOP, 10)] == ["holding"]

        await until(holding)
        running.cancel()
    await second.store.close()

    assert second.world.effects == []
    assert second.world.let_go == 1


async def test_another_policy_keeps_what_it_does_not_change(bench: Bench) -> None:
    await bench.go_bad()
    policy = bench.engine.policy
    longer = replace(policy, tick_seconds=2)

    bench.engine.adopt(longer)

    assert bench.engine.states[SHOP].current is not None
    assert bench.engine.policy.tick_seconds == 2


async def test_a_target_that_is_gone_is_forgotten(bench: Bench) -> None:
    await bench.tick(1)

    bench.engine.adopt(replace(bench.engine.policy, targets={}))

    assert bench.engine.states == {}
    assert bench.engine.decisions == {}
