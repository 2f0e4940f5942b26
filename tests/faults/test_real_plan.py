"""A death at every boundary of every step and call of a real plan, over a real sandbox; and every
pair of deaths on the shortest plan there is.

`FAULT_EVERY=1` (`make faults`) takes every point, CI every 30th.
"""

import os
from itertools import product
from pathlib import Path

import pytest

from rollbackd.core.model import JsonObject, RollBack, RollbackOutcome
from rollbackd.core.policy import Traffic
from rollbackd.core.runbook import Plan
from rollbackd.executors.app_steps import steps_of
from rollbackd.executors.app_words import Job
from rollbackd.sandbox.server import Sandbox
from tests.faults.campaign import overlaps, twice
from tests.faults.dying import Lives
from tests.faults.struck import left_on
from tests.faults.test_crash_points import BOUNDARIES, check_plan
from tests.integration_fly.walking import target_policy
from tests.process.daemons import images
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, World

EVERY = int(os.environ.get("FAULT_EVERY", "30"))


@pytest.mark.process
@pytest.mark.timeout(0)
@pytest.mark.parametrize("traffic", [Traffic.DRAIN, Traffic.STOP])
async def test_a_death_anywhere_in_a_real_rollback(tmp_path: Path, traffic: Traffic) -> None:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    async with Sandbox(machines=2, rate_limits=False, **quick) as box:
        await box.ready()
        lives = Lives(box, tmp_path, traffic)
        await lives.learn()
        points = await _survives(lives, [])

        assert len(points) > 60
        for point in points[::EVERY]:
            await _survives(lives, [point])


async def _survives(lives: Lives, points: list[str]) -> list[str]:
    """Put a bad release out and go back through these deaths; the points the last life passed."""
    box, before = lives.box, len(lives.box.effects)
    await box.deploy(image="errors-60", strategy="immediate")

    outcomes, life = await lives.roll_back(points)

    ours = [
        {"action": e.action, "machine": e.machine, "op_id": e.op_id}
        for e in box.effects[before:]
        if e.request_id != "inside"
    ]
    assert outcomes == [RollbackOutcome.RECOVERED], (points, lives.told[-5:])
    assert images(box) == {"good"}, points
    assert [*twice(ours), *left_on(box)] == [], points
    if lives.traffic is not Traffic.STOP:  # there the cordon stands around all updates
        assert overlaps(ours) == [], points
    assert box.releases[-1].status == "complete", points
    assert box.releases[-2].image_ref.endswith("errors-60"), points
    return life.passed


class Shortest(FakeExecutor):
    """The plan the real planner makes for one machine, over the platform in memory."""

    async def plan(self, decision: RollBack) -> Plan:
        job = Job(
            machine="m1", group="app", version="1", config_key="k", drain=True, wake=False,
            resting=False, wait=True, away_at_once=1,
        )  # fmt: skip
        policy = target_policy("")
        steps = tuple(steps_of(policy, policy.plans["app"], decision, [job], []))
        settings: JsonObject = {"step_deadline_seconds": 30}
        return Plan(
            rollback=decision.id,
            target=decision.target,
            name="app",
            from_version=decision.bad.version,
            to_version=decision.good.version,
            steps=steps,
            parallel=1,
            deadline_at=1e12,
            hash="abcd",
            settings=settings,
        )


@pytest.mark.timeout(0)
async def test_every_pair_of_deaths_on_the_shortest_plan(tmp_path: Path) -> None:
    plan = await Shortest(World()).plan(decision())
    points = [(boundary, step.seq) for step in plan.steps for boundary in BOUNDARIES]
    pairs = list(product(points, points))
    assert len(pairs) > 4000

    for number, pair in enumerate(pairs[:: EVERY * EVERY]):
        await check_plan(tmp_path / str(number), Shortest(World()), list(pair))
