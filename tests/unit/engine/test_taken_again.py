"""What keeps machines out of traffic was given back while a rollback held: it is taken again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.core import errors
from rollbackd.core.model import JsonObject, RollbackOutcome
from rollbackd.core.runbook import Journal, Phase, Step
from rollbackd.engine.stop import FILE_NAME
from tests.support_rollback import decision
from tests.support_runner import Crash, FakeExecutor, Hook, House, Shape, World, failing

SHAPE: Shape = (
    (Phase.STOP_TRAFFIC, "stop"),
    (Phase.STOP_TRAFFIC, "stop"),
    (Phase.EXECUTE, "database"),
    (Phase.EXECUTE, "update"),
    (Phase.EXECUTE, "update"),
    (Phase.POST_VERIFICATION, "prove"),
)
ID = decision().id


class Fenced(FakeExecutor):
    """Steps 1 and 2 stop the machines that 4 and 5 change; the database is nobody's machine."""

    def _for_its_time(self, one: Step) -> Step:
        machine = {1: "m1", 2: "m2", 4: "m1", 5: "m2"}.get(one.seq)
        params: JsonObject = {} if machine is None else {"machine": machine}
        return Step(
            seq=one.seq, phase=one.phase, kind=one.kind, name=one.name, op_key=one.op_key,
            mutates=one.mutates, params=params,
        )  # fmt: skip


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, Fenced(World(), shape=SHAPE, undoes=True))
    await house.open()
    yield house
    await house.close()


def done(house: House) -> list[int]:
    return [step.seq for step in house.executor.world.effects]


async def let_go_on(house: House) -> RollbackOutcome:
    journal = await house.store.journal(ID)
    assert journal is not None
    return await house.runner.carry_out(journal, released_by="ann")


async def test_a_held_rollback_fences_again_before_it_changes_the_database(house: House) -> None:
    """Without it (`_open_again`) the database changes while the app writes."""
    await house.runner.carry_out(await held_before_the_database(house))
    assert done(house) == []

    house.executor.hook = lambda moment, step: None
    assert await let_go_on(house) is RollbackOutcome.RECOVERED

    assert done(house) == [1, 2, 3, 4, 5]
    steps = (await house.store.history(None, 1))[0]["steps"]
    assert isinstance(steps, list)
    assert [s["attempts"] for s in steps if isinstance(s, dict)] == [2, 2, 2, 1, 1, 1]


async def held_before_the_database(house: House) -> Journal:
    journal = await house.runner.begin(decision())
    house.executor.hook = failing("before", 3, errors.Fenced("killed here"))
    await house.runner.carry_out(journal)
    await house.runner.hold(ID, reason="ROLLBACKD_MODE is observe")
    held = await house.store.journal(ID)
    assert held is not None
    return held


async def test_only_what_is_not_changed_yet_is_fenced_again(house: House) -> None:
    house.executor.hook = failing("before", 5, errors.Rejected("422"))
    assert await house.run(decision()) is RollbackOutcome.HOLDING
    assert done(house) == [3, 4]

    assert await let_go_on(house) is RollbackOutcome.RECOVERED

    assert done(house) == [3, 4, 2, 5]


async def test_what_stands_is_not_touched_again(house: House) -> None:
    house.executor.undoes = False
    house.executor.hook = failing("before", 5, errors.Rejected("422"))
    await house.run(decision())

    assert await let_go_on(house) is RollbackOutcome.RECOVERED

    assert done(house) == [1, 2, 3, 4, 5]


async def test_a_death_while_it_fences_again_loses_nothing(house: House) -> None:
    await held_before_the_database(house)
    house.executor.hook = dying_before(2)
    with pytest.raises(ExceptionGroup):
        await let_go_on(house)
    assert done(house) == [1]

    house.executor.hook = lambda moment, step: None
    await house.close()
    await house.open()

    assert await house.resume() == [RollbackOutcome.RECOVERED]
    assert done(house) == [1, 2, 3, 4, 5]


def dying_before(seq: int) -> Hook:
    def die(moment: str, step: Step) -> None:
        if (moment, step.seq) == ("before", seq):
            raise Crash

    return die


async def test_what_the_script_let_go_while_it_was_stopped_is_fenced_again(
    house: House, tmp_path: Path
) -> None:
    stop = tmp_path / FILE_NAME

    async def stopped(moment: str, step: Step) -> None:
        if (moment, step.seq) == ("after", 2) and not stop.exists():
            stop.touch()
            house.executor.hook = lambda moment, step: None

    async def nobody_listens(_seconds: float) -> None:
        await house.executor.let_go(None)  # type: ignore[arg-type]  # let-go.sh, by a person
        stop.unlink(missing_ok=True)

    house.executor.hook = lambda moment, step: stopped(moment, step)
    house.runner._pauses.sleep = nobody_listens  # type: ignore[method-assign]  # while it stands

    assert await house.run(decision()) is RollbackOutcome.RECOVERED

    assert done(house) == [1, 2, 3, 4, 5]
