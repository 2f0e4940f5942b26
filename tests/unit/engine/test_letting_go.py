"""However a rollback ends, what it took is given back; what cannot be is named, and a person's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core import errors
from rollbackd.core.model import RollbackId, RollbackOutcome
from rollbackd.core.runbook import Phase, RollbackState, Step
from rollbackd.engine.letting_go import PATIENCE_SECONDS
from rollbackd.engine.stop import FILE_NAME
from rollbackd.telemetry import events
from tests.support import until
from tests.support_rollback import decision
from tests.support_runner import Crash, FakeExecutor, House, Shape, World, failing

SHAPE: Shape = (
    (Phase.STOP_TRAFFIC, "cordon"),
    (Phase.STOP_TRAFFIC, "cordon"),
    (Phase.EXECUTE, "update"),
    (Phase.EXECUTE, "close"),
)
ID = decision().id


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, FakeExecutor(World(), shape=SHAPE, undoes=True))
    await house.open()
    yield house
    await house.close()


def held(house: House) -> list[str]:
    return [e.name for e in house.executor.world.effects if e.phase is Phase.STOP_TRAFFIC]


async def ended(house: House) -> tuple[str, str]:
    (row,) = await house.store.history(None, 10)
    return str(row["state"]), str(row["detail"])


def die_at_its_end(house: House, state: str) -> None:
    """Once, right before it is written."""
    finish = house.store.finish

    async def dying(rollback: RollbackId, to: RollbackState, *words: Any, **more: Any) -> None:
        if to == state:
            house.store.finish = finish  # type: ignore[method-assign]  # as below
            raise Crash
        await finish(rollback, to, *words, **more)

    house.store.finish = dying  # type: ignore[method-assign]  # the fault is the point


async def superseded(house: House) -> RollbackOutcome:
    def deploy(moment: str, step: Step) -> None:
        house.executor.world.newer_release |= moment == "after" and step.seq == 2

    house.executor.hook = deploy
    return await house.run(decision())


async def superseded_late(house: House) -> RollbackOutcome:
    house.executor.hook = failing("before", 4, errors.Superseded("v44 appeared"))
    return await house.run(decision())


async def aborted_under_way(house: House) -> RollbackOutcome:
    """Asked between the second cordon and the first machine."""
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(moment: str, step: Step) -> None:
        if moment == "after" and step.seq == 2:
            reached.set()
            await gate.wait()

    house.executor.hook = lambda moment, step: wait(moment, step)
    running = asyncio.create_task(house.run(decision()))
    await reached.wait()
    asking = asyncio.create_task(house.runner.abort(ID, by="ann", reason="a sale"))
    await until(lambda: bool(house.runner._leaving._asked))
    gate.set()
    outcome, _ = await asyncio.gather(running, asking)
    return outcome


async def aborted_holding(house: House) -> RollbackOutcome:
    keeps, house.executor.keeps = house.executor.keeps, [errors.Rejected("not now")]
    house.executor.hook = failing("before", 4, errors.Rejected("422"))
    assert await house.run(decision()) is RollbackOutcome.HOLDING
    house.executor.keeps = keeps
    await house.runner.abort(ID, by="ann", reason="a sale")
    return RollbackOutcome.CANCELLED


async def held_by_the_ceiling(house: House) -> RollbackOutcome:
    journal = await house.runner.begin(decision())
    house.executor.hook = failing("before", 2, errors.Fenced("killed here"))
    await house.runner.carry_out(journal)
    await house.runner.hold(ID, reason="ROLLBACKD_MODE is observe")
    return RollbackOutcome.HOLDING


async def failed(house: House) -> RollbackOutcome:
    house.executor.hook = failing("before", 4, errors.Rejected("422"))
    return await house.run(decision())


async def failed_before_return(house: House) -> RollbackOutcome:
    house.executor.hook = failing("before", 2, errors.Rejected("422"))
    return await house.run(decision())


End = Callable[[House], Awaitable[RollbackOutcome]]
ENDS: list[tuple[End, str]] = [
    (superseded, "superseded"),
    (superseded_late, "superseded"),
    (aborted_under_way, "cancelled"),
    (aborted_holding, "cancelled"),
    (held_by_the_ceiling, "holding"),
    (failed, "holding"),
    (failed_before_return, "compensated"),
]
each_end = pytest.mark.parametrize(("end", "state"), ENDS, ids=lambda e: getattr(e, "__name__", e))


@each_end
async def test_what_was_taken_is_given_back(house: House, end: End, state: str) -> None:
    await end(house)

    assert held(house) == []
    assert (await ended(house))[0] == state


@each_end
async def test_it_is_tried_again_while_it_may_pass(house: House, end: End, state: str) -> None:
    house.executor.keeps = [errors.Unreachable("no route"), errors.LeaseHeld("by bob")]

    await end(house)

    assert held(house) == []
    assert (await ended(house))[0] == state


@each_end
async def test_what_cannot_be_let_go_is_named_and_a_persons(
    house: House, end: End, state: str
) -> None:
    house.executor.keeps = [errors.Unauthorized("machine m1: 403")]

    outcome = await end(house)

    now, detail = await ended(house)
    assert held(house) != []
    assert now == ("cancelled" if end is aborted_holding else "holding")
    assert outcome is (
        RollbackOutcome.CANCELLED if end is aborted_holding else RollbackOutcome.HOLDING
    )
    if end is failed_before_return:
        assert "not undone: cordon 1" in detail
    else:
        assert "still held: machine m1: 403; run scripts/rollback/let-go.sh" in detail
    told = [words for words in house.events(events.ROLLBACK_LET_GO) if "error" in words]
    assert [words["error"] for words in told][-1] == "machine m1: 403"


@each_end
async def test_a_death_between_giving_back_and_the_end_changes_nothing_about_it(
    house: House, end: End, state: str
) -> None:
    """Without the line before it (`end_to`) the successor goes on, with nothing out of traffic."""
    die_at_its_end(house, state)
    with pytest.raises(Crash):
        await end(house)
    assert ((await ended(house))[0], held(house)) == ("compensating", [])
    changed = list(house.executor.world.effects)

    house.executor.hook = lambda moment, step: None  # nothing is in the way of going on
    house.executor.world.newer_release = False
    await house.close()
    await house.open()
    await house.resume()

    assert (await ended(house))[0] == state
    assert house.executor.world.effects == changed


async def test_the_ceiling_holds_nothing_that_was_begun_to_be_ended(house: House) -> None:
    die_at_its_end(house, "superseded")
    with pytest.raises(Crash):
        await superseded(house)

    await house.runner.hold(ID, reason="ROLLBACKD_MODE is observe")

    assert await ended(house) == ("superseded", "v44 appeared")


async def test_a_mute_platform_is_waited_for_and_not_for_ever(house: House) -> None:
    house.executor.keeps = [errors.Unreachable("no route")] * 99
    before = house.clock.now()

    assert await superseded(house) is RollbackOutcome.HOLDING

    assert house.clock.now() - before <= PATIENCE_SECONDS
    assert 90 < len(house.executor.keeps) < 97


async def test_who_aborts_one_under_way_learns_what_is_still_held(house: House) -> None:
    house.executor.keeps = [errors.Unauthorized("machine m1: 403")]
    told: list[str] = []
    abort = house.runner.abort

    async def asked(*words: object, **more: str) -> str:
        told.append(await abort(*words, **more))  # type: ignore[arg-type]  # passed on
        return told[-1]

    house.runner.abort = asked  # type: ignore[method-assign]
    await aborted_under_way(house)

    assert told == [(await ended(house))[1]]


async def test_under_a_stop_file_nothing_is_ended_that_holds_something(
    house: House, tmp_path: Path
) -> None:
    stop = tmp_path / FILE_NAME
    house.executor.keeps = [errors.Unauthorized("403"), errors.Stopped("STOP is there")]
    assert await failed(house) is RollbackOutcome.HOLDING
    stop.touch()

    with pytest.raises(errors.Rejected, match="still holds what it took: STOP is there"):
        await house.runner.abort(ID, by="ann", reason="a sale")
    assert (await ended(house))[0] == "holding"
    stop.unlink()
    assert await house.runner.abort(ID, by="ann", reason="a sale") == ""
    assert held(house) == []


async def test_nothing_is_waited_for_where_nothing_was_touched(house: House) -> None:
    house.executor.keeps = [errors.Unreachable("no route")] * 99
    house.executor.hook = failing("still_applies", 1, errors.PlanRefused("not so any more"))
    house.executor.shape = ((Phase.CHECKLIST, "verify"), *SHAPE)
    before = house.clock.now()

    assert await house.run(decision()) is RollbackOutcome.FAILED_BEFORE_EFFECT

    assert house.clock.now() == before


async def test_on_the_way_out_letting_go_is_the_successors(house: House) -> None:
    def leave(moment: str, step: Step) -> None:
        if moment == "before" and step.seq == 4:
            house.executor.keeps = [errors.Stopped("shutting down")]
            house.stop.drain()
            raise errors.Superseded("v44 appeared")

    house.executor.hook = leave
    await house.run(decision())
    assert ((await ended(house))[0], held(house)) == ("compensating", ["cordon 1", "cordon 2"])

    house.executor.hook = lambda moment, step: None
    await house.close()
    await house.open()

    assert await house.resume() == [RollbackOutcome.SUPERSEDED]
    assert held(house) == []
