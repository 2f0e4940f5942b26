"""A death at every boundary of every step and call of a real plan, over a real sandbox; and every
pair of deaths on the shortest plan there is, over the sandbox and over a platform in memory.

`FAULT_EVERY=1` (`make faults`) takes every point, CI every 30th.
"""

import asyncio
import os
import shutil
import tempfile
from collections import deque
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
from tests.faults.test_stateful import MEMORY
from tests.integration_fly.walking import target_policy
from tests.process.daemons import images
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, World

EVERY = int(os.environ.get("FAULT_EVERY", "30"))
WORLDS = 3  # side by side: mostly they wait


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


@pytest.mark.process
@pytest.mark.timeout(0)
async def test_every_pair_of_deaths_in_a_real_rollback_of_one_machine(tmp_path: Path) -> None:
    """A second life passes points that no first one does: what it passed is asked, not planned."""
    firsts: deque[str] = deque()
    pairs = 0

    async def world(number: int) -> None:
        nonlocal pairs
        at_once = {"boot_seconds": 0.0, "check_seconds": 0.02, "grace_seconds": 0.02}
        async with Sandbox(machines=1, rate_limits=False, smoke_seconds=0.02, **at_once) as box:
            await box.ready()
            (tmp_path / str(number)).mkdir()
            lives = Lives(box, tmp_path / str(number))
            await lives.learn()
            passed = await _survives(lives, [])
            if number == 0:
                firsts.extend(passed[::EVERY])
                begun.set()
            await begun.wait()
            while firsts:
                first = firsts.popleft()
                for second in (await _survives(lives, [first]))[::EVERY]:
                    await _survives(lives, [first, second])
                    pairs += 1

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(WORLDS):
            group.create_task(world(number))
    print(f"{pairs} pairs of deaths")  # noqa: T201 -- the figure of a long run
    assert pairs


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
async def test_every_pair_of_deaths_on_the_shortest_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollbackd.stores.ballast._MOST_BYTES", 0)  # in memory, 5,000 times
    plan = await Shortest(World()).plan(decision())
    points = [(boundary, step.seq) for step in plan.steps for boundary in BOUNDARIES]
    pairs = list(product(points, points))
    assert len(pairs) > 4000

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
        for pair in pairs[:: EVERY * EVERY // 4 or 1]:
            directory = Path(place) / "state"
            await check_plan(directory, Shortest(World()), list(pair))
            shutil.rmtree(directory)
