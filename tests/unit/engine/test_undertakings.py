"""Rollbacks across reloads and restarts: none ends the watch, none is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from rollbackd.clock import FakeClock
from rollbackd.core.errors import PermanentError, Rejected, Unauthorized
from rollbackd.core.facts import Fact, Paused, ReleasesSeen, Tick
from rollbackd.core.model import Json, JsonObject, RollbackOutcome, TargetName
from rollbackd.core.policy import PlanPolicy, Policy, Strategy, Traffic
from rollbackd.core.ports import Executor
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Journal, RollbackState, Step
from rollbackd.engine.desk import Desk
from rollbackd.engine.engine import Engine
from rollbackd.engine.recorder import Recorder
from rollbackd.engine.reloader import Reloader
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry.metrics import Metrics
from tests.support import until
from tests.support_rollback import decision
from tests.support_runner import SHORT, FakeExecutor, Hook, World
from tests.unit.core.world import SHOP, down, policy_of, release, target, trigger

PLAN = PlanPolicy(
    name="app",
    steps=("app",),
    traffic=Traffic.DRAIN,
    strategy=Strategy.ROLLING,
    max_unavailable=1,
    deadline_seconds=300,
    step_deadline_seconds=60,
)


class Life:
    """One life of an engine over a directory, and the platform that outlives it."""

    def __init__(self, directory: Path, world: World, mode: Mode = Mode.AUTO) -> None:
        self.clock = FakeClock(100.0)
        self.world = world
        self.hook: Hook = lambda moment, step: None
        self.store = SqliteStore(directory, self.clock)
        self.known = True
        inbox: asyncio.Queue[Fact] = asyncio.Queue()
        self.stop = StopSwitch(directory)
        runner = Runner(
            clock=self.clock,
            store=self.store,
            executor_for=self._executor,
            publish=inbox.put_nowait,
            prove=lambda target, rollback: self.engine.prove(target, rollback),
            stop=self.stop,
            events=lambda _event, _words: None,
        )
        watched = replace(target(trigger(down())), plans={"app": PLAN})
        policy = policy_of(watched, Mode.AUTO)
        self.engine = Engine(
            clock=self.clock,
            store=self.store,
            runner=runner,
            recorder=Recorder(self.store),
            metrics=Metrics(CollectorRegistry()),
            policy=replace(policy, mode_ceiling=mode),
            inbox=inbox,
        )

    def _executor(self, target: TargetName) -> Executor:
        if not self.known:
            raise PermanentError(f"{target} is not in the configuration")
        return FakeExecutor(self.world, shape=SHORT, hook=lambda m, s: self.hook(m, s))

    async def open(self) -> None:
        await self.store.open()
        await self.engine.remember()

    async def state(self) -> list[str]:
        return [str(row["state"]) for row in await self.store.history(None, 10)]

    async def until_state(self, wanted: RollbackState) -> None:
        async def reached() -> bool:
            return await self.state() == [wanted.value]

        await until(reached)

    @property
    def nothing(self) -> Policy:
        return replace(self.engine.policy, targets={})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def life(tmp_path: Path, world: World) -> AsyncIterator[Life]:
    made = Life(tmp_path, world)
    await made.open()
    yield made
    await made.store.close()


async def turning(life: Life) -> asyncio.Task[None]:
    return asyncio.create_task(life.engine.run())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_rollback_whose_target_is_not_configured_does_not_end_the_watch(
    life: Life,
) -> None:
    await life.engine.runner.begin(decision(target=SHOP))
    life.engine.adopt(life.nothing)
    life.known = False
    task = asyncio.create_task(life.engine.run())
    life.engine.publish(Tick(at=101))
    await until(lambda: life.engine.turned_at is not None)
    await until(lambda: SHOP not in life.engine._rollbacks)

    assert not task.done()
    assert life.world.effects == []
    await ended(task)


async def test_a_target_that_comes_back_goes_on_with_its_rollback(
    tmp_path: Path, world: World
) -> None:
    life = Life(tmp_path, world)
    await life.open()
    await life.engine.runner.begin(decision(target=SHOP))
    await life.store.close()
    second = Life(tmp_path, world)
    whole = second.engine.policy
    second.engine.policy = second.nothing
    await second.open()
    task = await turning(second)
    await until(lambda: second.engine._rollbacks._group is not None)
    await until(lambda: SHOP not in second.engine._rollbacks)

    await second.engine.recall(whole)
    second.engine.adopt(whole)
    await second.engine.resume()

    await until(lambda: len(world.effects) == 2)
    await ended(task)
    await second.store.close()


async def test_a_target_that_comes_back_remembers_what_was_kept_of_it(life: Life) -> None:
    engine, whole = life.engine, life.engine.policy
    await engine.take(Paused(target=SHOP, at=100, until=900, by="ann", reason="x"))
    engine.states[SHOP].ledger.good.add(release(41))
    await engine.turn(Tick(at=101))

    engine.adopt(life.nothing)
    await engine.recall(whole)
    engine.adopt(whole)
    await engine.turn(Tick(at=102))

    assert engine.states[SHOP].paused(103)
    assert release(41) in engine.states[SHOP].ledger.good


async def test_a_rollback_whose_target_is_taken_out_ends_unproven(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)
    await life.engine.order(decision(target=SHOP, by_hand=True))
    await until(lambda: life.engine._proving.begun(SHOP))

    life.engine.adopt(life.nothing)

    await life.until_state(RollbackState.SUCCEEDED)
    (past,) = await life.store.history(None, 1)
    assert past["outcome"] == RollbackOutcome.RECOVERED_UNPROVEN
    await ended(task)


async def test_a_stopped_rollback_is_held_when_the_ceiling_is_observe(
    tmp_path: Path, world: World
) -> None:
    first = Life(tmp_path, world)
    await first.open()
    task = await turning(first)
    await until(lambda: first.engine._rollbacks._group is not None)

    def stop(moment: str, _step: object) -> None:
        if moment == "before":
            (tmp_path / "STOP").touch()

    first.hook = stop
    await first.engine.order(decision(target=SHOP, by_hand=True))
    await first.until_state(RollbackState.HOLDING)
    await ended(task)
    await first.store.close()
    done = len(world.effects)
    (tmp_path / "STOP").unlink()

    second = Life(tmp_path, world, Mode.OBSERVE)
    await second.open()
    task = await turning(second)
    await until(lambda: second.engine._rollbacks._group is not None)
    await until(lambda: SHOP not in second.engine._rollbacks)

    assert len(world.effects) == done
    assert await second.state() == ["holding"]
    await ended(task)
    await second.store.close()


async def holding(life: Life) -> Journal:
    """A rollback whose second effect was refused: it stands still for a person."""
    refusals = [Unauthorized("401")]

    def refuse(moment: str, step: Step) -> None:
        if moment == "before" and step.seq == 3 and refusals:
            raise refusals.pop()

    life.hook = refuse
    await life.engine.order(decision(target=SHOP, by_hand=True))
    await life.until_state(RollbackState.HOLDING)
    await until(lambda: SHOP not in life.engine._rollbacks)
    await until(lambda: life.engine.states[SHOP].rollbacks.running is None)
    (journal,) = await life.store.unfinished()
    return journal


def desk(life: Life) -> Desk:
    return Desk(
        clock=life.clock,
        engine=life.engine,
        store=life.store,
        reloader=cast(Reloader, None),  # not asked
        apps=lambda _target: "shop",
        started_at=0.0,
    )


async def order(life: Life, *, to: int | None = None, dry_run: bool = False) -> JsonObject:
    return await desk(life).order_rollback(
        SHOP, to=to, plan=None, reason="finish it", kind="", dry_run=dry_run, by="ann"
    )


async def test_a_person_can_have_the_rest_of_a_rollback_that_holds(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)
    held = await holding(life)
    done = len(life.world.effects)

    planned = await order(life, dry_run=True)
    asked = await order(life, to=held.plan.to_version)
    running = life.engine.states[SHOP].rollbacks.running
    await until(lambda: life.engine._proving.begun(SHOP))

    assert planned["rollback"] == asked["rollback"] == held.plan.rollback
    assert (done, len(life.world.effects)) == (1, 2)
    assert running is not None
    assert not running.automatic
    await ended(task)


async def test_what_holds_is_not_finished_for_who_wants_another_release(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)
    await holding(life)

    with pytest.raises(Rejected):
        await order(life, to=7)

    assert await life.state() == ["holding"]
    await ended(task)


async def test_unlocking_ends_what_holds_and_names_it(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)
    held = await holding(life)

    told = [await desk(life).unlock(SHOP, reason="looked", by="ann") for _ in range(2)]

    assert [each["ended"] for each in told] == [[held.plan.rollback], []]
    assert await life.state() == ["cancelled"]
    await ended(task)


async def test_one_that_holds_again_still_holds_after_a_restart(
    tmp_path: Path, world: World
) -> None:
    first = Life(tmp_path, world)
    await first.open()
    task = await turning(first)
    await until(lambda: first.engine._rollbacks._group is not None)
    await holding(first)

    def refuse(moment: str, step: Step) -> None:
        if moment == "before" and step.mutates:
            raise Unauthorized("401")

    first.hook = refuse
    await order(first)
    await until(lambda: first.engine.states[SHOP].rollbacks.running is None)
    await ended(task)
    await first.store.close()

    second = Life(tmp_path, world)
    await second.open()

    assert second.engine.states[SHOP].rollbacks.running is None
    assert second.engine.states[SHOP].rollbacks.locked_out
    await second.store.close()


async def test_of_many_orders_at_once_one_begins_and_is_proved(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)

    orders = [life.engine.order(decision(target=SHOP, by_hand=True, at=100 + n)) for n in range(20)]
    answers = await asyncio.gather(*orders, return_exceptions=True)
    await until(lambda: life.engine._proving.begun(SHOP))

    assert sum(isinstance(a, Rejected) for a in answers) == 19
    assert SHOP in life.engine._rollbacks
    await ended(task)


async def test_a_refused_order_does_not_end_the_proof_of_the_one_that_runs(life: Life) -> None:
    task = await turning(life)
    await until(lambda: life.engine._rollbacks._group is not None)
    await life.engine.order(decision(target=SHOP, by_hand=True))
    await until(lambda: life.engine._proving.begun(SHOP))

    with pytest.raises(Rejected):
        await life.engine.runner.begin(decision(target=SHOP, by_hand=True, at=101))
    life.engine.turned_at = None
    life.engine.publish(Tick(at=102))  # judged after what the refusal told
    await until(lambda: life.engine.turned_at is not None)

    assert life.engine._proving.begun(SHOP)
    await ended(task)


async def test_a_target_taken_out_while_another_is_judged_ends_nothing(life: Life) -> None:
    engine = life.engine
    other = replace(target(trigger(down())), name=TargetName("other"))
    both = replace(engine.policy, targets={SHOP: engine.policy.targets[SHOP], other.name: other})
    engine.adopt(both)
    kept = life.store.put_blobs

    async def reload_meanwhile(values: Mapping[str, Json]) -> None:
        engine.adopt(replace(both, targets={SHOP: both.targets[SHOP]}))
        await kept(values)

    life.store.put_blobs = reload_meanwhile  # type: ignore[method-assign, assignment]

    await engine.turn(Tick(at=101))

    assert set(engine.states) == {SHOP}


async def test_a_fact_of_a_target_taken_out_while_it_is_kept_is_dropped(life: Life) -> None:
    engine = life.engine
    keep = life.store.keep

    async def reload_meanwhile(fact: ReleasesSeen) -> None:
        engine.adopt(life.nothing)
        await keep(fact)

    life.store.keep = reload_meanwhile  # type: ignore[method-assign, assignment]

    await engine.turn(ReleasesSeen(target=SHOP, at=101, releases=(release(41),)))

    assert engine.states == {}
