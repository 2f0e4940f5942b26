"""What counts as a resume that led nowhere: a plan that kills its daemon, not a daemon killed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.model import RollbackId
from rollbackd.core.runbook import Phase, StepState
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision, plan


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state", clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def rollback(store: SqliteStore) -> RollbackId:
    """A plan whose second step works and whose third one waits."""
    made = plan(decision())
    phases = Phase.CHECKLIST, Phase.EXECUTE, Phase.MONITOR
    first = made.steps[0]
    steps = [
        replace(first, seq=seq, phase=phase, op_key=f"{decision().id}:{seq}")
        for seq, phase in enumerate(phases, start=1)
    ]
    return (await store.begin(decision(), replace(made, steps=tuple(steps)))).plan.rollback


async def life(store: SqliteStore, clock: FakeClock, rollback: RollbackId, step: int = 0) -> int:
    """Claimed, gone as far as into that step, and killed; the resumes it was told of."""
    clock.advance(1)
    journal = await store.claim(rollback)
    if step:
        await store.note(rollback, step, StepState.STARTED, fence=journal.fence)
    return journal.resumes


async def finish(store: SqliteStore, clock: FakeClock, rollback: RollbackId, step: int) -> None:
    clock.advance(1)
    journal = await store.claim(rollback)
    await store.note(rollback, step, StepState.STARTED, fence=journal.fence)
    clock.advance(1)
    await store.note(rollback, step, StepState.DONE, fence=journal.fence)


async def test_one_that_was_never_resumed_has_none(
    store: SqliteStore, rollback: RollbackId
) -> None:
    journal = await store.journal(rollback)

    assert journal is not None
    assert journal.resumes == 0


async def test_every_life_that_ended_in_a_step_counts(
    store: SqliteStore, clock: FakeClock, rollback: RollbackId
) -> None:
    counted = [await life(store, clock, rollback, step=1) for _ in range(6)]

    assert counted == [1, 2, 3, 4, 5, 6]


async def test_five_lives_that_ended_before_a_step_count_as_one(
    store: SqliteStore, clock: FakeClock, rollback: RollbackId
) -> None:
    """A start takes two seconds: who is killed every other second seldom gets to a step."""
    counted = [await life(store, clock, rollback) for _ in range(11)]

    assert counted == [1] * 5 + [2] * 5 + [3]


async def test_a_life_that_ended_while_a_step_waited_counts_as_little(
    store: SqliteStore, clock: FakeClock, rollback: RollbackId
) -> None:
    for step in (1, 2):
        await finish(store, clock, rollback, step)

    counted = [await life(store, clock, rollback, step=3) for _ in range(6)]

    assert counted == [1] * 5 + [2]


async def test_an_end_of_a_step_begins_the_count_anew(
    store: SqliteStore, clock: FakeClock, rollback: RollbackId
) -> None:
    """A machine that reboots again and again gets to the end; a poison plan does not move."""
    for step in (1, 2):
        for _ in range(4):
            await life(store, clock, rollback, step)
        await finish(store, clock, rollback, step)

    assert await life(store, clock, rollback) == 1


async def test_resumes_are_counted_within_ten_minutes(
    store: SqliteStore, clock: FakeClock, rollback: RollbackId
) -> None:
    for _ in range(5):
        await life(store, clock, rollback, step=1)
    clock.advance(601)

    assert await life(store, clock, rollback) == 1
