"""Killed at each point, deposed, or kept out by a reader: nothing half done, nobody left fenced."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from rollbackd.clock import SystemClock
from rollbackd.core.model import JsonObject, RollbackOutcome
from rollbackd.core.noting import Note
from rollbackd.core.policy import Traffic
from rollbackd.core.runbook import Plan, RollbackState, Step, StepState
from rollbackd.executors.app import AppExecutor
from rollbackd.sandbox.proxy import routable
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import effects, rig_for
from tests.postgres.dying import POINTS, Dying
from tests.postgres.shop import (
    BACK,
    CHEAPER,
    LOUD,
    QUIET,
    Shop,
    executor_of,
    house,
    order,
    reading,
    target_of,
    versions,
)
from tests.support import until
from tests.support_runner import FakeExecutor, House, World

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path / "reverse")


@pytest.mark.parametrize("point", POINTS)
async def test_a_successor_finishes_what_was_killed_and_commits_once(
    shop: Shop, tmp_path: Path, point: str
) -> None:
    """With the id noted after COMMIT the last two would be taken back twice, or held."""
    state = tmp_path / "state"
    async with house(shop, state):
        shop.release("2", "cheaper", CHEAPER, BACK)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.postgres.dying", shop.url, str(state), point), cwd=ROOT
    )
    assert await process.wait() == -9

    async with house(shop, state, observed=False) as made:
        (left,) = await made.store.unfinished()
        row = next(r for r in left.rows if r.step.kind == "database_reverse")
        outcomes = await made.resume()

    assert row.state is StepState.STARTED
    assert ("xid" in row.result) == (point in POINTS[2:])
    assert outcomes == [RollbackOutcome.RECOVERED]
    assert (versions(shop.url), shop.price()) == (["1"], 1)


class Deposed(Dying):
    """Another daemon takes the rollback over a moment before the id is written down."""

    def __init__(self, executor: Any, made: House) -> None:
        super().__init__(executor, "")
        self._made = made

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        async def noted(word: JsonObject) -> None:
            await self._made.store.claim(plan.rollback)
            await note(word)

        return await self._executor.apply_noting(plan, step, results, noted)


async def test_of_two_daemons_one_wins(shop: Shop, tmp_path: Path) -> None:
    """With the fence asked after COMMIT both would have taken it back."""
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        begun = await made.runner.begin(order())
        plain, made.executor = made.executor, cast(FakeExecutor, Deposed(made.executor, made))
        outcome = await made.runner.carry_out(begun)
        assert (outcome, versions(shop.url)) == (RollbackOutcome.HOLDING, ["1", "2"])

        made.executor = plain
        assert await made.resume() == [RollbackOutcome.RECOVERED]
    assert versions(shop.url) == ["1"]


@pytest.mark.parametrize(
    ("steps", "held"),
    [(("database", "app"), False), (("database", "app"), True), (("database",), False)],
)
async def test_behind_the_fence_and_back_whether_a_reader_is_in_the_way_or_not(
    shop: Shop, tmp_path: Path, steps: tuple[str, ...], held: bool
) -> None:
    """With `started_again` left out of letting go the app would stay down. A plan of the database
    alone fences too, and starts what it stopped.
    """
    shop.policy = replace(shop.policy, lock_timeout_seconds=0.2, lock_budget_seconds=0.6)
    quick: dict[str, Any] = {
        "boot_seconds": 0.05,
        "check_seconds": 0.1,
        "grace_seconds": 0.1,
        "smoke_seconds": 0.1,
    }
    async with Sandbox(machines=2, rate_limits=False, **quick) as box:
        await box.ready()
        rig = rig_for(box)
        await rig.releases()
        made = House(tmp_path / "state", FakeExecutor(World()))
        made.clock = cast(Any, SystemClock())
        await made.open()
        target = target_of(shop, steps, Traffic.STOP)
        app = AppExecutor(rig.platform, made.store, target)
        executor = executor_of(shop, target, made.store, tmp_path, app=app, platform=rig.platform)
        made.executor = cast(FakeExecutor, executor)
        good = (await rig.releases())[0]
        await shop.observe(made.store, replace(order(), good=good))
        shop.release("2", "loud", LOUD, QUIET)
        await box.deploy(image="errors-60", strategy="immediate")
        decided = replace(await rig.decide(bad=2, good=1), plan="database")
        plan = await made.runner.dry_run(decided)
        begun = await made.runner.begin(replace(decided, plan_hash=plan.hash))
        if held:
            with reading(shop.url, "products"):
                outcome = await made.runner.carry_out(begun)
        else:
            outcome = await made.runner.carry_out(begun)
        done = await made.store.journal(decided.id)

        await until(lambda: all(routable(machine) for machine in box.machines))
        stopped = effects(box, "machine.stop")
        images = {machine.config["image"].partition(":")[2][:6] for machine in box.machines}
        await made.close()
        await rig.close()

    assert done is not None
    assert len(stopped) == 2
    assert not any("rollbackd_stopped" in machine.metadata for machine in box.machines)
    if held:
        assert (outcome, done.state) == (RollbackOutcome.FAILED, RollbackState.COMPENSATED)
        assert (versions(shop.url), images) == (["1", "2"], {"errors"})
    else:
        assert outcome is RollbackOutcome.RECOVERED
        assert (versions(shop.url), images) == (
            ["1"],
            {"good@s"} if "app" in steps else {"errors"},
        )
