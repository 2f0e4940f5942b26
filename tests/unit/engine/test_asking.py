"""A plan that only a person may say yes to is never begun by itself, whatever the mode."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rollbackd.core.asked import NeedsApproval
from rollbackd.core.errors import PlanRefused, Rejected
from rollbackd.core.model import Hold, HoldReason, JsonObject, RollBack, RollbackOutcome
from rollbackd.core.noting import Note
from rollbackd.core.ports import Observation
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Phase, Plan, RollbackState, Step, StepState
from tests.integration_fly.walking import target_policy
from tests.support import until
from tests.support_rollback import decision
from tests.support_runner import Crash, FakeExecutor, House, World
from tests.unit.core.world import SHOP, down, policy_of, target, trigger
from tests.unit.engine.test_control import ID, ask, asked, bench_at, ends, pump, turning
from tests.unit.engine.test_engine import Bench, lines

ASKS = "the database loses 1,234 rows of agent_queries"


class Costly(FakeExecutor):
    """Its plan has a cost that only a person may agree to."""

    digest: str = "abcd"
    left: str = ""

    async def plan(self, decision: RollBack) -> Plan:
        plan = await super().plan(decision)
        settings = {**plan.settings, "digest": self.digest}
        made = replace(plan, asks=ASKS, hash=self.digest, settings=settings)
        return replace(made, refuses=self.left)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench_at(tmp_path, Mode.AUTO)
    made.executor = Costly(made.world)
    await made.open()
    yield made
    await made.store.close()


async def test_in_mode_auto_it_is_proposed_and_waits(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        for at in range(147, 160):
            await pump(bench, at)
        held, shown = bench.decision, desk.target("shop")["proposal"]

    assert isinstance(held, Hold)
    assert held.reason is HoldReason.AWAITING_APPROVAL
    assert held.why.endswith(f"needs approval: {ASKS}")
    assert isinstance(shown, dict)
    assert (shown["id"], shown["hash"]) == (ID, "abcd")
    assert bench.world.effects == []
    assert len(await lines(bench, "proposed")) == 1
    assert await bench.store.history(SHOP, 10) == []


async def test_approved_it_is_done_by_the_plan_that_was_seen(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        with pytest.raises(Rejected, match="is abcd now"):
            await desk.approve("shop", seen="other", reason="", by="eva")
        answer = await desk.approve("shop", seen="abcd", reason="it may", by="eva")
        await until(ends(bench, None))

    assert answer["result"] == "began"
    (row,) = await bench.store.history(SHOP, 10)
    assert (row["plan_hash"], row["requested_by"]) == ("abcd", "eva")


async def test_an_approval_of_what_changed_since_begins_nothing(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        assert isinstance(bench.executor, Costly)
        bench.executor.digest = "efgh"
        with pytest.raises(PlanRefused, match="not the plan that was approved"):
            await desk.approve("shop", seen="abcd", reason="", by="eva")
        await until(lambda: not asked(bench))

    assert bench.world.effects == []


async def test_by_hand_it_needs_the_hash_of_what_was_seen(bench: Bench) -> None:
    order = {"to": None, "plan": None, "reason": "x", "kind": "", "by": "eva"}
    known = target(trigger(down()), mode=Mode.AUTO)
    bench.engine.adopt(policy_of(replace(known, plans={"app": target_policy().plans["app"]})))
    async with turning(bench) as desk:
        await bench.go_bad()
        seen = await desk.order_rollback("shop", dry_run=True, **order)  # type: ignore[arg-type]
        for said in ("", "efgh"):
            with pytest.raises(NeedsApproval, match="1,234 rows"):
                await desk.order_rollback("shop", dry_run=False, plan_hash=said, **order)  # type: ignore[arg-type]
        begun = await desk.order_rollback("shop", dry_run=False, plan_hash="abcd", **order)  # type: ignore[arg-type]
        await until(lambda: bool(bench.world.effects))

    assert (seen["asks"], seen["hash"]) == (ASKS, "abcd")
    assert begun["rollback"]


async def test_what_a_plan_refuses_nobody_is_asked_for_and_no_hash_begins_it(bench: Bench) -> None:
    order = {"to": None, "plan": None, "reason": "x", "kind": "", "by": "eva"}
    assert isinstance(bench.executor, Costly)
    bench.executor.left = "a function is left over"
    known = target(trigger(down()), mode=Mode.AUTO)
    bench.engine.adopt(policy_of(replace(known, plans={"app": target_policy().plans["app"]})))
    async with turning(bench) as desk:
        await bench.go_bad()
        seen = await desk.order_rollback("shop", dry_run=True, **order)  # type: ignore[arg-type]
        with pytest.raises(PlanRefused, match="left over"):
            await desk.order_rollback("shop", dry_run=False, plan_hash="abcd", **order)  # type: ignore[arg-type]
        assert not asked(bench)

    assert seen["refuses"] == "a function is left over"
    assert bench.world.effects == []


ONCE = ((Phase.STOP_TRAFFIC, "cordon"), (Phase.EXECUTE, "database"), (Phase.EXECUTE, "update"))


class Once(FakeExecutor):
    """Step 2 may be tried once only."""

    seen_noted: JsonObject | None = None
    fails: bool = False

    async def plan(self, decision: RollBack) -> Plan:
        plan = await super().plan(decision)
        steps = [
            replace(s, params={**s.params, "once": True}) if s.kind == "database" else s
            for s in plan.steps
        ]
        return replace(plan, steps=tuple(steps))

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        if step.kind == "database":
            await note({"xid": "731"})
            if self.fails:
                raise Rejected("a reader holds the lock")
        return await self.apply(plan, step, results)

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        self.seen_noted = dict(results[step.seq]) if step.seq in results else None
        return await super().observe(plan, step, results)


async def test_one_that_failed_once_locks_although_nothing_was_left_behind(tmp_path: Path) -> None:
    """As FAILED_BEFORE_EFFECT it would be tried again by itself, three times."""
    executor = Once(World(), shape=ONCE, undoes=True)
    executor.fails = True
    house = House(tmp_path, executor)
    await house.open()

    outcome = await house.run(decision())

    journal = await house.store.journal(decision().id)
    await house.close()
    assert outcome is RollbackOutcome.FAILED
    assert journal is not None
    assert journal.state is RollbackState.COMPENSATED
    assert executor.world.effects == []
    assert executor.seen_noted == {"xid": "731"}


async def test_what_was_noted_is_there_for_who_reads_it_back_after_a_death(tmp_path: Path) -> None:
    executor = Once(World(), shape=ONCE)

    def die(moment: str, step: Step) -> None:
        if moment == "before" and step.kind == "database":
            raise Crash

    executor.hook = die
    house = House(tmp_path, executor)
    await house.open()
    with pytest.raises(BaseExceptionGroup):
        await house.run(decision())
    await house.close()
    executor.hook = lambda moment, step: None
    again = House(tmp_path, executor)
    await again.open()

    journal = (await again.store.unfinished())[0]
    outcomes = await again.resume()

    await again.close()
    row = next(r for r in journal.rows if r.step.kind == "database")
    assert (row.state, dict(row.result)) == (StepState.STARTED, {"xid": "731"})
    assert executor.seen_noted is None or executor.seen_noted == {"xid": "731"}
    assert outcomes == [RollbackOutcome.RECOVERED_UNPROVEN]


async def test_who_lost_the_rollback_learns_it_before_anything_is_final(tmp_path: Path) -> None:
    executor = Once(World(), shape=ONCE)
    house = House(tmp_path, executor)
    await house.open()
    begun = await house.runner.begin(decision())

    async def deposed(moment: str, step: Step) -> None:
        if moment == "after" and step.kind == "cordon":
            await house.store.claim(begun.plan.rollback)

    executor.hook = deposed
    outcome = await house.runner.carry_out(begun)

    await house.close()
    assert outcome is RollbackOutcome.HOLDING
    assert [s.kind for s in executor.world.effects] == ["cordon"]
