"""Watching the machines after the switch: a kill neither stretches it nor cuts it short."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.core import errors
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import Phase, Step, StepRow, StepState
from rollbackd.engine.monitor import SLICE_SECONDS
from tests.support_rollback import decision
from tests.support_runner import Crash, FakeExecutor, House, World

SECONDS = 17.0


class Watched:
    """How long each look of the watch took. `dies_at` and `fails_at` count looks from 0."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.parts: list[float] = []
        self.begun = 0
        self.dies_at: set[int] = set()
        self.fails_at: dict[int, errors.RollbackdError] = {}

    def __call__(self, moment: str, step: Step) -> None:
        if step.phase is not Phase.MONITOR or moment != "before":
            return
        number, self.begun = self.begun, self.begun + 1
        seconds = float(str(step.params["seconds"]))
        if number in self.dies_at:
            self.house.clock.advance(seconds / 2)
            raise Crash
        if number in self.fails_at:
            raise self.fails_at[number]
        self.house.clock.advance(seconds)
        self.parts.append(seconds)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    shape = ((Phase.EXECUTE, "update"), (Phase.MONITOR, "watch"))
    house = House(tmp_path, FakeExecutor(World(), shape=shape, watch_seconds=SECONDS))
    await house.open()
    yield house
    await house.close()


@pytest.fixture
def watched(house: House) -> Watched:
    watched = Watched(house)
    house.executor.hook = watched
    return watched


async def life(house: House, *, first: bool) -> RollbackOutcome | None:
    """One process; None when it died."""
    outcome = None
    try:
        outcome = await house.run(decision()) if first else (await house.resume())[0]
    except* Crash:
        pass
    return outcome


async def lives(house: House) -> RollbackOutcome:
    """Until it ends, whatever dies on the way; a fresh process after each death."""
    outcome = await life(house, first=True)
    while outcome is None:
        await house.close()
        await house.open()
        outcome = await life(house, first=False)
    return outcome


async def row(house: House) -> StepRow:
    journal = await house.store.journal(decision().id)
    assert journal is not None
    return journal.rows[1]


async def test_it_is_watched_for_its_time_in_slices(house: House, watched: Watched) -> None:
    assert await lives(house) is RollbackOutcome.RECOVERED_UNPROVEN

    assert watched.parts == [SLICE_SECONDS, SLICE_SECONDS, SLICE_SECONDS, 2.0]
    assert (await row(house)).result["seconds"] == SECONDS


async def test_a_kill_costs_one_slice_and_shortens_nothing(house: House, watched: Watched) -> None:
    watched.dies_at = {1, 3, 5}

    assert await lives(house) is RollbackOutcome.RECOVERED_UNPROVEN

    assert sum(watched.parts) == SECONDS
    assert watched.begun == len(watched.parts) + 3


async def test_what_is_kept_of_it_is_not_taken_for_an_end(house: House, watched: Watched) -> None:
    watched.dies_at = {2}
    await life(house, first=True)

    kept = await row(house)

    assert (kept.state.value, dict(kept.result)) == ("started", {"watched_seconds": 10.0})
    assert kept.attempts == 1


async def test_time_without_an_answer_is_not_counted(house: House, watched: Watched) -> None:
    watched.fails_at = {1: errors.Unreachable("no route"), 2: errors.Unreachable("no route")}

    assert await lives(house) is RollbackOutcome.RECOVERED_UNPROVEN

    assert sum(watched.parts) == SECONDS


async def test_a_long_watch_has_patience_to_its_end(house: House, watched: Watched) -> None:
    house.executor.watch_seconds = 300.0  # ten times the time of a step
    watched.fails_at = {50: errors.Unreachable("no route")}

    assert await lives(house) is RollbackOutcome.RECOVERED_UNPROVEN

    assert sum(watched.parts) == 300.0


async def test_a_machine_that_breaks_is_told_at_once(house: House, watched: Watched) -> None:
    watched.fails_at = {1: errors.Rejected("machine m1: crashed")}

    assert await lives(house) is RollbackOutcome.NOT_RECOVERED

    assert watched.parts == [SLICE_SECONDS]
    assert (await row(house)).result["passed"] is False


async def test_no_time_is_one_look(house: House, watched: Watched) -> None:
    house.executor.watch_seconds = 0.0

    await lives(house)

    assert watched.parts == [0.0]


async def test_a_deposed_process_keeps_nothing_of_its_watch(house: House) -> None:
    await house.runner.begin(decision())
    await house.store.note(decision().id, 1, StepState("started"), fence=1)
    await house.store.note(decision().id, 1, StepState("done"), fence=1)
    await house.store.note(decision().id, 2, StepState("started"), fence=1)
    await house.store.claim(decision().id)

    with pytest.raises(errors.Fenced):
        await house.store.checkpoint(decision().id, 2, {"watched_seconds": 5.0}, fence=1)
    with pytest.raises(errors.PermanentError):
        await house.store.checkpoint(decision().id, 1, {"watched_seconds": 5.0}, fence=2)
    await house.store.checkpoint(decision().id, 2, {"watched_seconds": 5.0}, fence=2)

    assert dict((await row(house)).result) == {"watched_seconds": 5.0}
