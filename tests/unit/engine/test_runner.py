"""A rollback is carried out step by step, and ends as what happened to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.core import errors
from rollbackd.core.facts import RollbackEnded, RollbackStarted, RollbackSwitched
from rollbackd.core.model import JsonObject, RollbackId, RollbackOutcome
from rollbackd.core.runbook import Journal, Phase, RollbackState, Step, StepState
from rollbackd.engine import going_on
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry import events
from tests.support import until
from tests.support_rollback import decision
from tests.support_runner import (
    LOOKS,
    MACHINES,
    SHORT,
    WHOLE,
    Crash,
    FakeExecutor,
    House,
    Shape,
    World,
    failing,
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def house(tmp_path: Path, world: World) -> AsyncIterator[House]:
    house = House(tmp_path, FakeExecutor(world))
    await house.open()
    yield house
    await house.close()


async def state_of(house: House) -> RollbackState:
    journal = await house.store.journal(decision().id)
    assert journal is not None
    return journal.state


def states(journal: Journal | None) -> list[str]:
    assert journal is not None
    return [row.state.value for row in journal.rows]


async def test_every_step_is_taken_in_its_order_and_proved(house: House, world: World) -> None:
    outcome = await house.run(decision())

    assert outcome is RollbackOutcome.RECOVERED
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]
    assert [step.kind for step in world.looks] == ["verify", "report"]
    assert house.proofs == 1
    assert states(await house.store.journal(decision().id)) == ["done"] * len(WHOLE)
    assert await state_of(house) is RollbackState.SUCCEEDED


async def test_facts_tell_of_the_start_the_switch_and_the_end(house: House) -> None:
    await house.run(decision())

    started, switched, ended = house.facts
    assert isinstance(started, RollbackStarted)
    assert (started.rollback, started.trigger) == (decision().id, "errors")
    assert isinstance(switched, RollbackSwitched)
    assert (switched.at, switched.version) == (100.0, 43)
    assert isinstance(ended, RollbackEnded)
    assert (ended.outcome, ended.at) == (RollbackOutcome.RECOVERED, 115.0)
    assert (ended.recovered_at, ended.proved_at) == (112.0, 115.0)
    assert ended in await house.store.facts(0.0)  # with the end itself: no crash comes between
    (told,) = house.events(events.ROLLBACK_ENDED)
    assert (told["recovered_at"], told["proved_at"]) == (112.0, 115.0)


async def test_started_is_on_disk_before_the_effect(house: House) -> None:
    seen: list[str] = []

    async def look(moment: str, step: Step) -> None:
        if moment == "before":
            journal = await house.store.journal(decision().id)
            seen.append(states(journal)[step.seq - 1])

    house.executor.hook = look
    await house.run(decision())

    assert set(seen) == {"started"}


async def test_machines_are_updated_side_by_side_within_the_plans_limit(
    house: House, world: World
) -> None:
    house.executor.shape = (*MACHINES, *MACHINES, (Phase.VERIFY, "verify"))
    house.executor.parallel = 2

    both = asyncio.Event()

    async def tarry(moment: str, step: Step) -> None:
        if moment == "before" and step.seq <= 2:
            if len(world.in_hand) == 2:
                both.set()
            await both.wait()

    house.executor.hook = tarry
    await house.run(decision())

    assert world.most_in_hand == 2


async def test_steps_of_another_kind_wait_for_the_steps_before_them(
    house: House, world: World
) -> None:
    house.executor.shape = ((Phase.EXECUTE, "release"), *MACHINES, (Phase.EXECUTE, "close"))
    house.executor.parallel = 5
    alone: list[int] = []

    async def look(moment: str, step: Step) -> None:
        if step.kind != "update":
            alone.append(len(world.in_hand))

    house.executor.hook = look
    await house.run(decision())

    assert [step.kind for step in world.effects] == ["release", *["update"] * 3, "close"]
    assert set(alone) <= {0, 1}


async def test_a_temporary_error_is_tried_again_after_reading_back(
    house: House, world: World
) -> None:
    house.executor.hook = failing(
        "before", 4, errors.RateLimited("slow down", retry_after_seconds=4), errors.Unreachable("x")
    )

    assert await house.run(decision()) is RollbackOutcome.RECOVERED

    assert [words["seconds"] for words in house.events(events.STEP_RETRIED)] == [4, 1.0]
    journal = await house.store.journal(decision().id)
    assert journal is not None
    assert [row.attempts for row in journal.rows][3] == 3


@pytest.mark.parametrize(
    "error",
    [errors.Ambiguous("time-out"), errors.Unreachable("late"), errors.VersionConflict("409")],
)
async def test_what_took_effect_although_it_failed_is_not_sent_again(
    house: House, world: World, error: errors.RollbackdError
) -> None:
    house.executor.hook = failing("after", 3, error)

    assert await house.run(decision()) is RollbackOutcome.RECOVERED

    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]
    (switched,) = [fact for fact in house.facts if isinstance(fact, RollbackSwitched)]
    assert switched.version == 43  # from the read-back


async def test_somebody_elses_lease_is_waited_for(house: House) -> None:
    lease = errors.LeaseHeld("held", owner="ann", expires_at=house.clock.now() + 13)
    house.executor.hook = failing("before", 4, lease)

    assert await house.run(decision()) is RollbackOutcome.RECOVERED

    assert [words["seconds"] for words in house.events(events.STEP_RETRIED)] == [13]


async def test_a_lease_that_lasts_is_not_waited_for_beyond_the_steps_time(
    house: House, world: World
) -> None:
    lease = errors.LeaseHeld("held by ann", expires_at=house.clock.now() + 3600)
    house.executor.hook = failing("before", 2, *[lease] * 9)

    assert await house.run(decision()) is RollbackOutcome.FAILED_BEFORE_EFFECT

    assert world.effects == []
    assert world.let_go == 1


async def test_what_failed_before_any_effect_may_be_tried_again(house: House, world: World) -> None:
    house.executor.hook = failing("before", 2, errors.Rejected("422: no"))

    assert await house.run(decision()) is RollbackOutcome.FAILED_BEFORE_EFFECT

    assert await state_of(house) is RollbackState.FAILED
    assert await house.run(decision(at=200.0)) is RollbackOutcome.RECOVERED


async def test_a_failure_after_an_effect_holds_for_a_person_and_lets_go(
    house: House, world: World
) -> None:
    house.executor.hook = failing("before", 5, errors.Rejected("422", hint="see the log"))

    assert await house.run(decision()) is RollbackOutcome.HOLDING

    assert await state_of(house) is RollbackState.HOLDING
    assert world.let_go == 1
    (ended,) = [fact for fact in house.facts if isinstance(fact, RollbackEnded)]
    assert (ended.outcome, ended.detail) == (RollbackOutcome.HOLDING, "422 (see the log)")


async def test_a_revoked_token_half_way_holds(house: House) -> None:
    def revoked(moment: str, step: Step) -> None:
        if step.seq >= 5:
            raise errors.Unauthorized("401")

    house.executor.hook = revoked

    assert await house.run(decision()) is RollbackOutcome.HOLDING
    assert states(await house.store.journal(decision().id))[4] == "unknown"


async def test_what_somebody_else_changed_is_left_alone(house: House, world: World) -> None:
    house.executor.hook = failing("before", 4, errors.VersionConflict("409"))
    world.changed = {4}

    assert await house.run(decision()) is RollbackOutcome.HOLDING

    assert 4 not in [step.seq for step in world.effects]
    assert states(await house.store.journal(decision().id))[3] == "unknown"


async def test_a_newer_release_makes_it_stand_back(house: House, world: World) -> None:
    def deploy(moment: str, step: Step) -> None:
        if moment == "after" and step.seq == 4:
            world.newer_release = True

    house.executor.hook = deploy
    house.executor.shape = ((Phase.EXECUTE, "release"), *MACHINES, (Phase.VERIFY, "verify"))

    assert await house.run(decision()) is RollbackOutcome.SUPERSEDED

    assert await state_of(house) is RollbackState.SUPERSEDED
    assert world.let_go == 1
    assert world.looks == []


async def test_an_unreachable_machine_is_named_and_the_others_are_rolled_back(
    house: House, world: World
) -> None:
    house.executor.hook = failing("before", 5, errors.NotFound("no such machine"))
    world.gone = {5}

    assert await house.run(decision()) is RollbackOutcome.RECOVERED

    ended = house.facts[-1]
    assert isinstance(ended, RollbackEnded)
    assert ended.detail == "partial: not reached: update 5"
    assert states(await house.store.journal(decision().id))[4] == "skipped"


async def test_not_one_machine_reached_is_never_a_success(house: House, world: World) -> None:
    def gone(moment: str, step: Step) -> None:
        if moment == "before" and step.kind == "update":
            raise errors.NotFound("gone")

    house.executor.hook = gone
    world.gone = {4, 5, 6}

    assert await house.run(decision()) is RollbackOutcome.HOLDING


async def test_a_failed_look_afterwards_brings_traffic_back_and_is_not_recovered(
    house: House, world: World
) -> None:
    house.executor.hook = failing("before", 7, errors.Rejected("m2 is critical"))

    assert await house.run(decision()) is RollbackOutcome.NOT_RECOVERED

    assert world.effects[-1].kind == "uncordon"
    ended = house.facts[-1]
    assert isinstance(ended, RollbackEnded)
    assert ended.detail == "verify 7 failed: m2 is critical"
    assert await state_of(house) is RollbackState.FAILED


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (RollbackOutcome.RECOVERED_UNPROVEN, RollbackState.SUCCEEDED),
        (RollbackOutcome.NOT_RECOVERED, RollbackState.FAILED),
    ],
)
async def test_the_proof_is_the_outcome(
    house: House, outcome: RollbackOutcome, state: RollbackState
) -> None:
    house.outcome = outcome

    assert await house.run(decision()) is outcome
    assert await state_of(house) is state


async def test_a_checklist_look_that_stays_mute_degrades_and_goes_on(house: House) -> None:
    house.executor.shape = ((Phase.CHECKLIST, "report"), *SHORT[1:])
    house.executor.hook = failing("before", 1, *[errors.TemporaryError("no logs")] * 99)

    assert await house.run(decision()) is RollbackOutcome.RECOVERED
    assert [words["error"] for words in house.events(events.ROLLBACK_DEGRADED)] == ["no logs"]


async def test_what_cannot_begin_while_shutting_down_is_left_to_the_successor(house: House) -> None:
    house.stop.drain()

    with pytest.raises(errors.Stopped):
        await house.runner.begin(decision())

    assert house.facts == []


async def test_a_person_is_answered_and_delays_no_automatic_rollback(house: House) -> None:
    house.executor.refuses = True

    with pytest.raises(errors.PlanRefused):
        await house.runner.begin(decision(by_hand=True))

    assert house.facts == []


async def test_a_plan_that_is_refused_is_told_as_an_end_before_any_effect(house: House) -> None:
    house.executor.refuses = True

    with pytest.raises(errors.PlanRefused):
        await house.runner.begin(decision())

    (ended,) = house.facts
    assert isinstance(ended, RollbackEnded)
    assert (ended.rollback, ended.outcome, ended.detail) == (
        decision().id,
        RollbackOutcome.FAILED_BEFORE_EFFECT,
        "no image",
    )
    assert await house.store.unfinished() == []


async def test_a_dry_run_writes_nothing(house: House, world: World) -> None:
    plan = await house.runner.dry_run(decision())

    assert len(plan.steps) == len(WHOLE)
    assert await house.store.unfinished() == []
    assert house.facts == []


async def test_the_deadline_binds_until_the_first_effect(house: House, world: World) -> None:
    house.executor.deadline_at = house.clock.now() - 1
    assert await house.run(decision()) is RollbackOutcome.FAILED_BEFORE_EFFECT
    assert world.effects == []

    def late(moment: str, step: Step) -> None:
        if moment == "after":
            house.clock.advance(60)

    house.executor.deadline_at = house.clock.now() + 30
    house.executor.hook = late
    assert await house.run(decision(at=300.0)) is RollbackOutcome.RECOVERED
    assert len(house.events(events.ROLLBACK_DELAYED)) == 1


async def test_a_stop_file_stands_still_and_goes_on_when_it_is_gone(
    house: House, world: World
) -> None:
    stop = house.directory / "STOP"
    looked: list[str] = []

    def touch(moment: str, step: Step) -> None:
        if moment == "after" and step.seq == 4:
            stop.touch()

    house.executor.hook = touch
    task = asyncio.create_task(house.run(decision()))
    await until(lambda: bool(house.events(events.ROLLBACK_STOPPED)))
    await until(lambda: house.clock.now() > 130)

    assert [step.seq for step in world.effects] == [2, 3, 4]  # the one in hand was ended
    assert await state_of(house) is RollbackState.HOLDING
    with pytest.raises(errors.Rejected, match="stands still for the STOP file") as refused:
        await house.runner.abort(decision().id, by="eva", reason="a sale")
    assert "let-go.sh" in refused.value.hint
    house.executor.hook = lambda moment, step: looked.append(moment)
    stop.unlink()
    assert await task is RollbackOutcome.RECOVERED

    assert looked[0] == "still_applies"
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("seq", range(1, len(WHOLE) + 1))
async def test_a_stop_at_any_step_sends_nothing_more_until_it_is_lifted(
    house: House, world: World, moment: str, seq: int
) -> None:
    stop = house.directory / "STOP"

    def touch(at: str, step: Step) -> None:
        if (at, step.seq) == (moment, seq):
            stop.touch()

    house.executor.hook = touch
    task = asyncio.create_task(house.run(decision()))
    await until(lambda: stop.exists() or task.done())
    await until(lambda: bool(house.events(events.ROLLBACK_STOPPED)) or task.done())
    last = max(n for n, (_, kind) in enumerate(WHOLE, start=1) if kind not in LOOKS)
    told = bool(house.events(events.ROLLBACK_STOPPED))
    assert told or seq >= last or not stop.exists()  # the runner takes some looks itself
    if stop.exists() and not task.done():
        assert all(step.seq <= seq for step in world.effects)
        assert await state_of(house) is RollbackState.HOLDING
        house.executor.hook = lambda at, step: None
        stop.unlink()

    assert await task is RollbackOutcome.RECOVERED
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


async def test_a_crash_while_standing_still_is_picked_up_and_stands_still_again(
    house: House, world: World
) -> None:
    stop = house.directory / "STOP"

    def touch(moment: str, step: Step) -> None:
        if (moment, step.seq) == ("after", 4):
            stop.touch()

    house.executor.hook = touch
    task = asyncio.create_task(house.run(decision()))
    await until(lambda: bool(house.events(events.ROLLBACK_STOPPED)))
    task.cancel()
    await asyncio.wait({task})
    await house.close()
    house.told.clear()
    await house.open()

    resumed = asyncio.create_task(house.resume())
    await until(lambda: bool(house.events(events.ROLLBACK_STOPPED)))
    assert [step.seq for step in world.effects] == [2, 3, 4]
    stop.unlink()

    assert await resumed == [RollbackOutcome.RECOVERED]


async def test_nothing_begins_while_the_stop_file_is_there(house: House) -> None:
    (house.directory / "STOP").touch()

    with pytest.raises(errors.Stopped, match="not sent: rollback of shop"):
        await house.runner.begin(decision())


async def test_a_drain_ends_the_call_in_hand_and_leaves_the_rest_to_the_successor(
    house: House, world: World
) -> None:
    in_hand = asyncio.Event()
    answered = asyncio.Event()

    async def slow(moment: str, step: Step) -> None:
        if moment == "before" and step.seq == 4:
            in_hand.set()
            await answered.wait()

    house.executor.hook = slow
    task = asyncio.create_task(house.run(decision()))
    await in_hand.wait()
    drained = asyncio.create_task(house.runner.drain())
    await until(lambda: house.stop.draining)
    answered.set()
    await drained

    assert await task is RollbackOutcome.HOLDING
    assert [step.seq for step in world.effects] == [2, 3, 4]
    assert world.let_go == 0
    assert await state_of(house) is RollbackState.RUNNING
    assert not any(isinstance(fact, RollbackEnded) for fact in house.facts)
    await house.close()
    await house.open()
    assert await house.resume() == [RollbackOutcome.RECOVERED]
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


async def test_a_drain_does_not_wait_for_a_proof(house: House) -> None:
    proving = asyncio.Event()

    async def never(target: object, rollback: object) -> RollbackOutcome:
        proving.set()
        await asyncio.Event().wait()
        return RollbackOutcome.RECOVERED

    house.runner.prove = never
    task = asyncio.create_task(house.run(decision()))
    await proving.wait()

    async with asyncio.timeout(5):
        await house.runner.drain()

    assert await task is RollbackOutcome.HOLDING
    await house.close()
    await house.open()
    assert await house.resume() == [RollbackOutcome.RECOVERED]


async def crashed(house: House, at: str, seq: int) -> None:
    """Die at that moment and start anew."""

    def die(moment: str, step: Step) -> None:
        if (moment, step.seq) == (at, seq):
            raise Crash

    house.executor.hook = die
    with pytest.raises(ExceptionGroup):
        await house.run(decision())
    house.executor.hook = lambda moment, step: None
    await house.close()
    await house.open()


async def test_a_resumed_rollback_stands_back_when_somebody_deployed(
    house: House, world: World
) -> None:
    await crashed(house, "after", 4)
    world.newer_release = True

    assert await house.resume() == [RollbackOutcome.SUPERSEDED]
    assert [step.seq for step in world.effects] == [2, 3, 4]


async def test_a_plan_that_kills_the_daemon_is_held_after_five_resumes(
    house: House, world: World
) -> None:
    await crashed(house, "before", 4)
    for _ in range(going_on.MOST_RESUMES):

        def die(moment: str, step: Step) -> None:
            if moment == "before" and step.seq == 4:
                raise Crash

        house.executor.hook = die
        with pytest.raises(ExceptionGroup):
            await house.resume()
        await house.close()
        await house.open()

    assert await house.resume() == [RollbackOutcome.HOLDING]
    assert await house.resume() == [RollbackOutcome.HOLDING]  # and stays with the person
    assert len([fact for fact in house.facts if isinstance(fact, RollbackEnded)]) == 1


async def test_after_a_long_absence_what_stands_as_wanted_is_finished(
    house: House, world: World
) -> None:
    await crashed(house, "after", 7)
    house.clock.advance(going_on.IDLE_SECONDS + 1)

    assert await house.resume() == [RollbackOutcome.RECOVERED]
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


async def test_after_a_long_absence_what_somebody_changed_holds(house: House, world: World) -> None:
    await crashed(house, "after", 7)
    house.clock.advance(going_on.IDLE_SECONDS + 1)
    world.changed = {5}

    assert await house.resume() == [RollbackOutcome.HOLDING]


async def test_a_process_that_was_suspended_looks_before_its_next_effect(
    house: House, world: World
) -> None:
    """A frozen process is no resumed one: it believes what it knew half an hour ago."""

    def suspended(moment: str, step: Step) -> None:
        if (moment, step.seq) == ("after", 4):
            house.clock.advance(going_on.IDLE_SECONDS + 1)
            world.changed = {6}  # not the next one: that is looked at anyway

    house.executor.hook = suspended

    assert await house.run(decision()) is RollbackOutcome.HOLDING
    assert [step.seq for step in world.effects] == [2, 3, 4]


async def test_a_process_that_was_suspended_goes_on_where_nothing_changed(
    house: House, world: World
) -> None:
    looks = []

    def suspended(now: str, step: Step) -> None:
        looks.append(now)
        if (now, step.seq) == ("after", 4):
            house.clock.advance(going_on.IDLE_SECONDS + 1)

    house.executor.hook = suspended

    assert await house.run(decision()) is RollbackOutcome.RECOVERED
    assert looks.count("observe") == 4  # each effect of the execute phase, once


async def test_a_person_lets_a_held_rollback_go_on(house: House, world: World) -> None:
    house.executor.hook = failing("before", 5, errors.Rejected("422"))
    await house.run(decision())
    journal = await house.store.journal(decision().id)
    assert journal is not None

    assert await house.runner.carry_out(journal) is RollbackOutcome.HOLDING
    outcome = await house.runner.carry_out(journal, released_by="ann")

    assert outcome is RollbackOutcome.RECOVERED
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


async def test_a_person_aborts_a_held_rollback(house: House, world: World) -> None:
    house.executor.hook = failing("before", 5, errors.Rejected("422"))
    await house.run(decision())

    await house.runner.abort(decision().id, by="ann", reason="fixed forward")

    assert await state_of(house) is RollbackState.CANCELLED
    assert world.let_go == 2
    assert await house.run(decision(at=500.0, bad=44)) is RollbackOutcome.RECOVERED


async def test_who_lost_the_rollback_to_another_daemon_touches_nothing_more(
    house: House, world: World
) -> None:
    async def taken(moment: str, step: Step) -> None:
        if moment == "after" and step.seq == 4:
            await house.store.claim(decision().id)

    house.executor.hook = taken

    assert await house.run(decision()) is RollbackOutcome.HOLDING

    assert [step.seq for step in world.effects] == [2, 3, 4]
    assert world.let_go == 0
    assert not any(isinstance(fact, RollbackEnded) for fact in house.facts)


async def test_a_mute_releases_api_degrades_and_does_not_stop_a_running_rollback(
    house: House,
) -> None:
    def mute(moment: str, step: Step) -> None:
        if moment == "still_applies":
            raise errors.TemporaryError("503")

    house.executor.hook = mute

    assert await house.run(decision()) is RollbackOutcome.RECOVERED
    assert house.events(events.ROLLBACK_DEGRADED)


async def test_a_resumed_rollback_holds_when_nobody_can_say_which_release_is_current(
    house: House, world: World
) -> None:
    await crashed(house, "after", 4)

    def mute(moment: str, step: Step) -> None:
        if moment == "still_applies":
            raise errors.TemporaryError("503")

    house.executor.hook = mute

    assert await house.resume() == [RollbackOutcome.HOLDING]
    assert [step.seq for step in world.effects] == [2, 3, 4]


class FullDisk(SqliteStore):
    """Refuses every note while `full`."""

    full = False

    async def note(
        self,
        rollback: RollbackId,
        seq: int,
        state: StepState,
        *,
        fence: int,
        result: JsonObject | None = None,
        error: str = "",
    ) -> None:
        if self.full:
            raise errors.TemporaryError("no space left")
        await super().note(rollback, seq, state, fence=fence, result=result, error=error)


@pytest.mark.parametrize("seq", range(1, len(WHOLE) + 1))
@pytest.mark.parametrize("at", ["before", "after"])
async def test_a_full_disk_is_waited_for_and_nothing_is_done_without_its_line(
    house: House, world: World, at: str, seq: int
) -> None:
    await house.close()
    store = FullDisk(house.directory, house.clock)
    await house.open(store)

    def fill(moment: str, step: Step) -> None:
        if (moment, step.seq) == (at, seq):
            store.full = True

    house.executor.hook = fill
    task = asyncio.create_task(house.run(decision()))
    await until(lambda: store.full or task.done())
    if store.full:  # the runner's own looks ask nobody
        await until(lambda: house.clock.now() > 250)
        assert len(world.effects) + len(world.looks) <= seq
    store.full = False

    assert await task is RollbackOutcome.RECOVERED
    assert [step.seq for step in world.effects] == [2, 3, 4, 5, 6, 9]


@pytest.mark.parametrize("shape", [SHORT, WHOLE])
async def test_a_second_pass_over_a_finished_journal_does_nothing(
    house: House, world: World, shape: Shape
) -> None:
    house.executor.shape = shape
    await house.run(decision())
    journal = await house.store.journal(decision().id)
    assert journal is not None

    assert await house.runner.carry_out(journal) is RollbackOutcome.HOLDING  # told as fenced

    assert len(world.effects) == len({step.op_key for step in world.effects})
    assert all(row.state is StepState.DONE for row in journal.rows)


STOPPING: Shape = (
    (Phase.STOP_TRAFFIC, "cordon"),
    (Phase.STOP_TRAFFIC, "cordon"),
    (Phase.EXECUTE, "update"),
)


async def test_a_failure_before_the_point_of_no_return_is_undone_and_may_be_tried_again(
    house: House, world: World
) -> None:
    house.executor.shape, house.executor.undoes = STOPPING, True
    house.executor.hook = failing("before", 2, errors.Rejected("no"))

    assert await house.run(decision()) is RollbackOutcome.FAILED_BEFORE_EFFECT

    assert await state_of(house) is RollbackState.COMPENSATED
    assert world.effects == []
    house.executor.hook = failing("before", 99)
    assert await house.run(decision(at=200.0)) is RollbackOutcome.RECOVERED_UNPROVEN


async def test_what_cannot_be_undone_is_a_persons_and_named(house: House, world: World) -> None:
    house.executor.shape = STOPPING
    house.executor.hook = failing("before", 2, errors.Rejected("no"))

    assert await house.run(decision()) is RollbackOutcome.HOLDING

    (held,) = house.events(events.ROLLBACK_HELD)
    assert "not undone: cordon 1" in held["detail"]


async def test_after_the_point_of_no_return_nothing_is_undone(house: House, world: World) -> None:
    house.executor.shape, house.executor.undoes = STOPPING, True
    lost = errors.Ambiguous("no answer")

    def hook(moment: str, step: Step) -> None:
        if step.seq == 3 and moment in {"after", "observe"}:
            raise lost

    house.executor.hook = hook

    assert await house.run(decision()) is RollbackOutcome.HOLDING
    assert await state_of(house) is RollbackState.HOLDING


async def test_a_crash_while_undoing_goes_on_undoing(house: House, world: World) -> None:
    """Without it the successor would stop traffic again."""
    house.executor.shape, house.executor.undoes = STOPPING, True
    house.executor.hook = failing("before", 2, errors.Rejected("no"))
    house.executor.dies_letting_go = True
    with pytest.raises(Crash):
        await house.run(decision())
    await house.close()
    await house.open()
    sent = len(house.events(events.STEP_STARTED))

    assert await house.resume() == [RollbackOutcome.FAILED_BEFORE_EFFECT]

    assert await state_of(house) is RollbackState.COMPENSATED
    assert len(house.events(events.STEP_STARTED)) == sent
