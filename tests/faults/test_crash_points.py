"""A crash at any boundary of any step, twice in a row: nothing lost, nothing twice, no overlap."""

from itertools import product
from pathlib import Path

import pytest

from rollbackd.core.model import JsonObject, RollbackId, RollbackOutcome
from rollbackd.core.runbook import Phase, RollbackState, StepState
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision
from tests.support_runner import SHORT, WHOLE, Crash, FakeExecutor, House, Shape, World

BOUNDARIES = ("before started", "after started", "after effect", "after done")
Point = tuple[str, int]


class CrashingStore(SqliteStore):
    """Dies once, right before or right after one line is on disk."""

    point: Point | None = None

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
        self.die_at("before", state, seq)
        await super().note(rollback, seq, state, fence=fence, result=result, error=error)
        self.die_at("after", state, seq)

    def die_at(self, side: str, state: StepState, seq: int) -> None:
        if self.point == (f"{side} {state.value}", seq):
            self.point = None
            raise Crash


async def start(house: House, point: Point | None) -> CrashingStore:
    store = CrashingStore(house.directory, house.clock)
    store.point = point
    await house.open(store)

    def die_after_effect(moment: str, step: object) -> None:
        seq = getattr(step, "seq", 0)
        if moment == "after" and store.point == ("after effect", seq):
            store.point = None
            raise Crash

    house.executor.hook = die_after_effect
    return store


async def live(house: House, *, first: bool) -> list[RollbackOutcome]:
    """One life of the daemon: begin or resume; [] when it died."""
    try:
        outcomes = [await house.run(decision())] if first else await house.resume()
    except* Crash:
        outcomes = []
    finally:
        await house.close()
    return outcomes


async def check(directory: Path, shape: Shape, points: list[Point], parallel: int) -> None:
    await check_plan(directory, FakeExecutor(World(), shape=shape, parallel=parallel), points)


async def check_plan(directory: Path, executor: FakeExecutor, points: list[Point]) -> None:
    """Die at each point in turn; every effect of the plan is there once, in its order."""
    world = executor.world
    house = House(directory, executor)
    outcomes: list[RollbackOutcome] = []
    for number, point in enumerate([*points, None]):
        await start(house, point)
        outcomes += await live(house, first=number == 0)

    assert outcomes == [RollbackOutcome.RECOVERED], points
    await start(house, None)
    journal = await house.store.journal(decision().id)
    assert journal is not None
    wanted = [row.step.seq for row in journal.rows if row.step.mutates]
    assert sorted(step.seq for step in world.effects) == wanted, points
    order = [list(Phase).index(step.phase) for step in world.effects]
    assert order == sorted(order), points
    assert journal.state is RollbackState.SUCCEEDED
    assert await house.store.record_broken_at() is None
    await house.close()


def points(shape: Shape) -> list[Point]:
    return [(boundary, seq) for seq in range(1, len(shape) + 1) for boundary in BOUNDARIES]


@pytest.mark.parametrize(
    ("seq", "parallel"),
    [(seq, 1) for seq in range(1, len(WHOLE) + 1)] + [(seq, 3) for seq in (4, 5, 6)],
)
async def test_one_crash_anywhere_in_the_whole_runbook(
    tmp_path: Path, seq: int, parallel: int
) -> None:
    for number, boundary in enumerate(BOUNDARIES):
        await check(tmp_path / str(number), WHOLE, [(boundary, seq)], parallel)


@pytest.mark.parametrize("seq", range(1, len(SHORT) + 1))
async def test_two_crashes_in_a_row_anywhere_in_a_short_runbook(tmp_path: Path, seq: int) -> None:
    firsts = [point for point in points(SHORT) if point[1] == seq]
    for number, pair in enumerate(product(firsts, points(SHORT))):
        await check(tmp_path / str(number), SHORT, list(pair), 2)
