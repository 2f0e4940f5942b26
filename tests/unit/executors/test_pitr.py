"""A project goes back to a moment: approved, asked for once, waited for, told as it ended."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import RollBack, RollbackOutcome
from rollbackd.core.ports import Platform, Store
from rollbackd.core.runbook import Journal, RollbackState, StepState
from rollbackd.executors.combined import Combined
from rollbackd.executors.pitr import BEFORE_SECONDS, PitrExecutor
from rollbackd.plugins import ExecutorContext, SupabaseAccess
from tests.integration_fly.walking import target_policy
from tests.support_management import EARLIEST, ManagementFake
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, House, World
from tests.support_supabase import PROJECT, TOKEN
from tests.unit.probes.loopback import Loopback

CAME_AT = 1_800_000_000.0


def wanted() -> RollBack:
    made = decision(at=CAME_AT + 300, by_hand=True)
    return replace(made, plan="pitr", bad=replace(made.bad, created_at=CAME_AT))


@asynccontextmanager
async def house(
    directory: Path, fake: ManagementFake, seen: list[str] | None = None
) -> AsyncIterator[House]:
    policy = target_policy()
    plan = replace(policy.plans["app"], name="pitr", steps=("pitr",), deadline_seconds=3000)
    target = replace(
        policy, plans={"pitr": plan}, database=DatabasePolicy(supabase_project=PROJECT)
    )
    async with Loopback(fake) as server:
        made = House(directory, FakeExecutor(World()), clock=FakeClock(CAME_AT + 300))
        context = ExecutorContext(
            target=target,
            platform=cast(Platform, None),
            store=cast(Store, None),
            clock=made.clock,
            supabase=SupabaseAccess(url=server.url, token=SecretStr(TOKEN)),
            permit=(seen if seen is not None else []).append,
        )
        made.executor = cast(FakeExecutor, Combined({"pitr": PitrExecutor.build(context)}, target))
        await made.open()
        yield made
        await made.close()


async def approved(made: House) -> RollBack:
    plan = await made.runner.dry_run(wanted())
    return replace(wanted(), plan_hash=plan.hash)


async def journal(made: House) -> Journal:
    found = await made.store.journal(wanted().id)
    assert found is not None
    return found


async def test_it_always_asks_and_says_what_is_lost(tmp_path: Path) -> None:
    fake = ManagementFake()
    async with house(tmp_path, fake) as made:
        plan = await made.runner.dry_run(wanted())
        with pytest.raises(PlanRefused, match="needs approval"):
            await made.runner.begin(wanted())

    at = "2027-01-15 07:59:00 UTC"
    assert plan.asks.endswith(f"{PROJECT} goes back to {at}: everything written since is lost")
    assert any("360 s of it" in note for note in plan.notes)
    assert fake.restores == []


async def test_approved_it_is_asked_for_once_and_waited_for(tmp_path: Path) -> None:
    fake, permits = (
        ManagementFake("RESTORING", "RESTORING", "COMING_UP", "ACTIVE_HEALTHY"),
        list[str](),
    )
    async with house(tmp_path, fake, permits) as made:
        outcome = await made.run(await approved(made))

    assert outcome is RollbackOutcome.RECOVERED
    assert fake.restores == [int(CAME_AT) - BEFORE_SECONDS]
    assert permits == ["the restore"]


async def test_one_that_fails_stands_still_for_a_person(tmp_path: Path) -> None:
    fake = ManagementFake("RESTORING", "RESTORE_FAILED")
    async with house(tmp_path, fake) as made:
        outcome = await made.run(await approved(made))
        found = await journal(made)

    assert (outcome, found.state) == (RollbackOutcome.HOLDING, RollbackState.HOLDING)
    assert "RESTORE_FAILED" in found.reason


async def test_an_answer_that_is_lost_is_looked_for_and_not_asked_for_again(tmp_path: Path) -> None:
    """With the POST sent again `restores` has two."""
    fake = ManagementFake("RESTORING", "RESTORING", "ACTIVE_HEALTHY")
    fake.hangs = True
    async with house(tmp_path, fake) as made:
        outcome = await made.run(await approved(made))

    assert outcome is RollbackOutcome.RECOVERED
    assert len(fake.restores) == 1


async def test_one_that_nothing_comes_of_is_a_persons(tmp_path: Path) -> None:
    fake = ManagementFake()
    fake.takes = False
    async with house(tmp_path, fake) as made:
        outcome = await made.run(await approved(made))
        found = await journal(made)

    assert outcome is RollbackOutcome.HOLDING
    assert "not asked for again" in found.reason
    assert len(fake.restores) == 1


async def test_a_refusal_is_no_doubt_and_locks(tmp_path: Path) -> None:
    fake = ManagementFake()
    async with house(tmp_path, fake) as made:
        order = await approved(made)
        fake.permissions.discard("backups_write")
        outcome = await made.run(order)

    assert outcome is RollbackOutcome.FAILED
    assert fake.restores == []


@pytest.mark.parametrize("status", ["RESTORING", "RESTORE_FAILED", "ACTIVE_HEALTHY"])
async def test_a_successor_of_one_that_died_after_the_call_looks_first(
    tmp_path: Path, status: str
) -> None:
    fake = ManagementFake(status, "ACTIVE_HEALTHY" if status == "RESTORING" else status)
    async with house(tmp_path, fake) as made:
        begun = await made.runner.begin(await approved(made))
        # What is on disk when the process dies between the note and the answer.
        row = next(r for r in begun.rows if r.step.kind == "pitr_request")
        for one in begun.rows:
            if one.step.seq < row.step.seq:
                await made.store.note(
                    begun.plan.rollback, one.step.seq, StepState.STARTED, fence=begun.fence
                )
                await made.store.note(
                    begun.plan.rollback, one.step.seq, StepState.DONE, fence=begun.fence
                )
        await made.store.note(
            begun.plan.rollback, row.step.seq, StepState.STARTED, fence=begun.fence
        )
        await made.store.checkpoint(
            begun.plan.rollback, row.step.seq, {"requested_at": 1.0}, fence=begun.fence
        )
        made.runner._begun.clear()
        fake.restores.append(0)
        fake.status = status
        outcomes = await made.resume()

    assert fake.restores == [0]
    expected = RollbackOutcome.RECOVERED if status == "RESTORING" else RollbackOutcome.HOLDING
    assert outcomes == [expected]


Change = Callable[[ManagementFake], Any]
REFUSED: list[tuple[Change, str]] = [
    (lambda f: setattr(f, "pitr", False), "not enabled"),
    (lambda f: setattr(f, "earliest", int(CAME_AT)), "before the oldest"),
    (lambda f: setattr(f, "status", "UPGRADING"), "is UPGRADING"),
]


@pytest.mark.parametrize(("change", "why"), REFUSED)
async def test_what_cannot_be_done_is_not_planned(tmp_path: Path, change: Change, why: str) -> None:
    fake = ManagementFake()
    change(fake)
    async with house(tmp_path, fake) as made:
        with pytest.raises(PlanRefused, match=why):
            await made.runner.dry_run(wanted())
        unknown = wanted()
        with pytest.raises(PlanRefused, match="nobody knows when"):
            await made.runner.dry_run(replace(unknown, bad=replace(unknown.bad, created_at=None)))
    assert EARLIEST < CAME_AT
