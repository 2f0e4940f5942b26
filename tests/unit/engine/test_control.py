"""Approve, reject, abort, undo, set: one rollback, clear answers, and all of it kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rollbackd.core.errors import PlanRefused, Rejected, UsageError
from rollbackd.core.facts import ReleasesSeen, Tick
from rollbackd.core.model import RollBack, RollbackId
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.engine.desk import Desk
from rollbackd.telemetry import events
from tests.support import until
from tests.support_runner import FakeExecutor
from tests.unit.core.world import SHOP, down, policy_of, release, target, trigger
from tests.unit.engine.test_engine import Bench, lines
from tests.unit.engine.test_ledger_orders import desk_of

ID = "shop-v42-to-v41"


class Ground(FakeExecutor):
    """A platform whose machines somebody may change between two plans."""

    machines: str = "m1 7"

    async def plan(self, decision: RollBack) -> Plan:
        plan = await super().plan(decision)
        settings = {**plan.settings, "machines": self.machines}
        digest = "abcd" if self.machines == "m1 7" else "efgh"
        return replace(plan, settings=settings, hash=digest)


def bench_at(directory: Path, mode: Mode = Mode.APPROVE) -> Bench:
    made = Bench(directory)
    made.executor = Ground(made.world)
    made.engine.policy = policy_of(target(trigger(down()), mode=mode))
    return made


@asynccontextmanager
async def turning(bench: Bench) -> AsyncIterator[Desk]:
    """The loop runs; the desk is open."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        try:
            yield desk_of(bench)
        finally:
            running.cancel()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench_at(tmp_path)
    await made.open()
    yield made
    await made.store.close()


async def pump(bench: Bench, at: float) -> None:
    bench.clock.advance(max(0.0, at - bench.clock.now()))
    bench.engine.publish(Tick(at=at))
    await until(lambda: bench.engine.inbox.empty())


def asked(bench: Bench) -> bool:
    return bench.engine.states[SHOP].rollbacks.proposal is not None


async def ask(bench: Bench) -> None:
    await bench.go_bad()
    await pump(bench, 146)
    await until(lambda: asked(bench))


def ends(bench: Bench, *outcomes: str | None) -> Callable[[], Awaitable[bool]]:
    async def ended() -> bool:
        rows = await bench.store.history(SHOP, 10)
        return [row["outcome"] for row in rows] == [*outcomes]

    return ended


async def test_the_proposal_is_frozen_kept_and_shown_with_its_hash(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        shown = desk.target("shop")["proposal"]

    (kept,) = await lines(bench, "proposed")
    assert isinstance(shown, dict)
    assert (shown["id"], shown["hash"], shown["overdue"]) == (ID, "abcd", False)
    assert (kept["rollback"], kept["at"]) == (ID, 146.0)
    assert bench.world.effects == []


async def test_approving_begins_the_frozen_plan_once_whoever_asks(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        answers = await asyncio.gather(
            desk.approve(ID, seen="abcd", reason="errors", by="eva"),
            desk.approve("shop", seen="", reason="", by="bob"),
        )
        rows = await bench.store.history(SHOP, 10)
        await until(lambda: not asked(bench))
        with pytest.raises(Rejected, match="under way already"):
            await desk.approve(ID, seen="", reason="", by="dan")

    assert [a["result"] for a in answers] == ["began", "began"]
    assert {a["rollback"] for a in answers} == {"shop-v42-146"}
    assert [row["plan_hash"] for row in rows] == ["abcd"]
    (first, *_) = await lines(bench, "approved")
    assert (first["by"], first["hash"], first["reason"]) == ("eva", "abcd", "errors")


async def test_an_approval_is_for_the_plan_that_was_seen(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        with pytest.raises(Rejected, match="is abcd now, not efgh"):
            await desk.approve(ID, seen="efgh", reason="", by="eva")
        with pytest.raises(Rejected, match="shop-v42-to-v40 is not asked any more"):
            await desk.approve("shop-v42-to-v40", seen="", reason="", by="eva")
        with pytest.raises(UsageError, match="no proposal and no target 'blog'"):
            await desk.approve("blog", seen="", reason="", by="eva")

    assert await lines(bench, "approved") == []


async def test_where_a_gate_holds_the_answer_says_which_and_how_long_it_stands(
    bench: Bench,
) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        await desk.pause("shop", seconds=60, reason="look", by="bob")
        answer = await desk.approve(ID, seen="abcd", reason="", by="eva")
        await desk.resume("shop", by="bob", reason="looked")
        await pump(bench, 150)
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is not None)

    assert (answer["result"], answer["reason"], answer["stands_until"]) == ("held", "paused", 746)
    assert "by bob: look" in str(answer["why"])
    (begun,) = await bench.store.history(SHOP, 10)
    assert (begun["plan_hash"], begun["requested_by"]) == ("abcd", "eva")


async def test_a_changed_machine_takes_the_plan_back_and_a_new_one_is_asked(bench: Bench) -> None:
    executor = bench.executor
    assert isinstance(executor, Ground)
    async with turning(bench) as desk:
        await ask(bench)
        executor.machines = "m1 8"
        with pytest.raises(PlanRefused, match="not the plan that was approved"):
            await desk.approve(ID, seen="abcd", reason="", by="eva")
        for at in range(152, 158):  # after the short pause that a refusal makes
            await bench.check(at, "failed")
            await pump(bench, at + 0.5)
        await until(lambda: asked(bench) and _hash(bench) == "efgh")
        for at in range(158, 160):
            await bench.check(at, "failed")
            await pump(bench, at + 0.5)

    assert bench.world.effects == []
    (taken,) = await lines(bench, "withdrawn")
    assert str(taken["why"]).endswith("since it was proposed, changed: machines")
    assert len(await lines(bench, "proposed")) == 2


def _hash(bench: Bench) -> str:
    proposal = bench.engine.states[SHOP].rollbacks.proposal
    return proposal.plan.hash if proposal else ""


async def test_a_newer_release_withdraws_it(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        news = (release(43), release(42), release(41))
        await bench.engine.turn(ReleasesSeen(target=SHOP, at=147, releases=news))
        await pump(bench, 148)
        await until(lambda: not asked(bench))
        with pytest.raises(Rejected, match="nothing is asked about shop"):
            await desk.approve(ID, seen="", reason="", by="eva")

    (taken,) = await lines(bench, "withdrawn")
    assert taken["why"] == "v43 appeared"


async def test_a_rejected_one_is_not_asked_again_also_not_after_a_restart(tmp_path: Path) -> None:
    first = bench_at(tmp_path)
    await first.open()
    async with turning(first) as desk:
        await ask(first)
        await desk.reject(ID, reason="a sale", by="bob")
        await pump(first, 150)
        assert not asked(first)
    await first.store.close()

    second = bench_at(tmp_path)
    await second.open()
    second.clock.advance(151)
    async with turning(second) as desk:
        await pump(second, 152)
        with pytest.raises(Rejected, match="was rejected by bob: a sale"):
            await desk.approve(ID, seen="", reason="", by="eva")
    (kept,) = await lines(second, "rejected")
    await second.store.close()

    assert (kept["by"], kept["reason"]) == ("bob", "a sale")


async def test_an_open_question_and_its_plan_survive_a_restart(tmp_path: Path) -> None:
    first = bench_at(tmp_path)
    await first.open()
    async with turning(first):
        await ask(first)
    await first.store.close()

    second = bench_at(tmp_path)
    second.clock.advance(200)
    await second.open()
    kept = second.engine.states[SHOP].rollbacks.proposal
    await second.store.close()

    assert kept is not None
    assert (kept.plan.hash, kept.decision.id, kept.at) == ("abcd", "shop-v42-146", 146)


async def test_nobody_answering_is_told_once_as_an_error(bench: Bench) -> None:
    async with turning(bench):
        await ask(bench)
        with capture_logs() as logs:
            for at in range(155, 776, 10):
                await bench.check(at, "failed")
                await pump(bench, at + 1)

    told = [line for line in logs if line["event"] == events.PROPOSAL_OVERDUE]
    assert [(line["log_level"], line["proposal"]) for line in told] == [("error", ID)]
    assert "nobody answered" in str(bench.decision.why)


# Abort and undo ----------------------------------------------------------------------------------


async def test_one_that_changed_nothing_yet_is_ended_and_let_go(bench: Bench) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(moment: str, step: Step) -> None:
        if moment == "before" and step.phase is Phase.STOP_TRAFFIC:
            reached.set()
            await gate.wait()

    bench.executor.hook = lambda moment, step: wait(moment, step)
    async with turning(bench) as desk:
        await ask(bench)
        begun = await desk.approve(ID, seen="", reason="", by="eva")
        await reached.wait()
        ending = asyncio.create_task(desk.abort(str(begun["rollback"]), reason="a sale", by="bob"))
        await until(lambda: bool(bench.engine.runner._leaving._asked))
        gate.set()
        past = await ending
        for order, said in ((desk.abort, "is over: cancelled"), (desk.undo, "ended cancelled")):
            with pytest.raises(Rejected, match=said) as refused:
                await order(str(begun["rollback"]), reason="again", by="bob")
            assert "rollbackd undo" not in refused.value.hint  # which could not be done

    assert (past["state"], past["outcome"]) == ("cancelled", "cancelled")
    assert past["detail"] == "aborted by bob: a sale"
    assert not [e for e in bench.world.effects if e.phase is Phase.EXECUTE]
    assert bench.world.let_go == 1


async def test_one_that_changed_a_machine_goes_on_and_the_answer_says_what_to_do(
    bench: Bench,
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(moment: str, step: Step) -> None:
        if moment == "before" and step.kind == "update" and not reached.is_set():
            reached.set()
            await gate.wait()

    bench.executor.hook = lambda moment, step: wait(moment, step)
    async with turning(bench) as desk:
        await ask(bench)
        begun = str((await desk.approve(ID, seen="", reason="", by="eva"))["rollback"])
        await reached.wait()
        with pytest.raises(Rejected, match="has begun to change machines") as refused:
            await desk.abort(begun, reason="a sale", by="bob")
        gate.set()

    assert f"rollbackd undo {begun}" in refused.value.hint
    assert bench.world.let_go == 0


async def test_what_is_no_rollback_or_is_over_cannot_be_aborted_or_undone(bench: Bench) -> None:
    await bench.go_bad()
    desk = desk_of(bench)
    for order in (desk.abort, desk.undo):
        with pytest.raises(UsageError, match="no rollback 'r7'"):
            await order("r7", reason="x", by="eva")


async def test_what_is_only_asked_is_approved_or_rejected_not_ended(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        for order in (desk.abort, desk.undo):
            with pytest.raises(UsageError, match="did not begin, it is asked") as refused:
                await order(ID, reason="x", by="eva")
            assert refused.value.hint == f"rollbackd approve {ID}, or reject it"


async def test_undo_puts_the_release_back_and_counts_a_false_alarm(bench: Bench) -> None:
    bench.metrics.adopt(bench.engine.policy)
    async with turning(bench) as desk:
        await ask(bench)
        begun = RollbackId(str((await desk.approve(ID, seen="", reason="", by="eva"))["rollback"]))
        with pytest.raises(Rejected, match="is not over"):
            await desk.undo(begun, reason="early", by="eva")
        await until(lambda: bench.engine.states[SHOP].rollbacks.switched_at is not None)
        for at in range(150, 240, 10):
            await bench.check(at, "ok")
            await pump(bench, at + 1)
        await until(ends(bench, "recovered"))
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is None)

        undone = await desk.undo(begun, reason="the load test", by="eva")
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is not None)
        state = bench.engine.states[SHOP]

    (row, _) = await bench.store.history(SHOP, 10)
    assert (undone["undoes"], undone["to_version"]) == (begun, 42)
    assert (row["undoes"], row["why"]) == (begun, "false alarm: the load test")
    assert state.ledger.standing(release(42)).value == "unknown"
    assert state.ledger.standing(release(41)).value == "good"
    text = bench.metrics.render("")[0].decode()
    assert 'rollbackd_false_alarms_total{target="shop"} 1.0' in text


async def test_what_was_deployed_over_cannot_be_undone(bench: Bench) -> None:
    async with turning(bench) as desk:
        await ask(bench)
        begun = RollbackId(str((await desk.approve(ID, seen="", reason="", by="eva"))["rollback"]))
        await until(lambda: bench.engine.states[SHOP].rollbacks.switched_at is not None)
        for at in range(150, 240, 10):
            await bench.check(at, "ok")
            await pump(bench, at + 1)
        await until(ends(bench, "recovered"))
        news = (release(44), release(42), release(41))
        await bench.engine.turn(ReleasesSeen(target=SHOP, at=250, releases=news))
        with pytest.raises(Rejected, match="shop runs v44, not what"):
            await desk.undo(begun, reason="x", by="eva")


# The mode ----------------------------------------------------------------------------------------


async def test_a_mode_is_set_up_to_the_ceiling_and_loosened_with_an_end_only(bench: Bench) -> None:
    await bench.go_bad()
    desk = desk_of(bench)
    with pytest.raises(UsageError, match="less careful"):
        await desk.set_mode("shop", mode="auto", seconds=None, reason="x", by="ann")
    with pytest.raises(UsageError, match="no mode 'loud'"):
        await desk.set_mode("shop", mode="loud", seconds=None, reason="x", by="ann")
    with pytest.raises(UsageError, match="up to 7 days"):
        await desk.set_mode("shop", mode="auto", seconds=8 * 86400, reason="x", by="ann")
    bench.engine.policy = replace(bench.engine.policy, mode_ceiling=Mode.APPROVE)
    with pytest.raises(Rejected, match="nothing goes beyond approve"):
        await desk.set_mode("shop", mode="auto", seconds=60, reason="x", by="ann")
    assert await lines(bench, "mode_set") == []

    tight = await desk.set_mode("shop", mode="observe", seconds=None, reason="sale", by="ann")
    back = await desk.set_mode("shop", mode="approve", seconds=None, reason="over", by="ann")

    assert (tight["mode"], back["mode"], back["until"]) == ("observe", "approve", None)
    first, second = await lines(bench, "mode_set")
    assert (first["by"], first["reason"], first["mode"]) == ("ann", "sale", "observe")
    assert second["mode"] is None


async def test_what_was_set_survives_a_restart(tmp_path: Path) -> None:
    first = bench_at(tmp_path)
    await first.open()
    answer = await desk_of(first).set_mode("shop", mode="auto", seconds=60, reason="x", by="ann")
    await first.store.close()

    second = bench_at(tmp_path)
    await second.open()
    state = second.engine.states[SHOP]
    await second.store.close()

    assert answer["until"] == 60
    assert (state.mode(59), state.mode(60)) == (Mode.AUTO, Mode.APPROVE)
