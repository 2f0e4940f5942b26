"""Nothing of the bad release runs while its database changes, and everything runs again after."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.core.policy import TargetPolicy, Traffic
from rollbackd.core.runbook import Phase, Plan
from rollbackd.executors.app_words import GONE_BACK, Kind
from rollbackd.fly.config_restore import OP
from rollbackd.sandbox.proxy import routable
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Rig, effects, in_order, rig_for, target_policy
from tests.support import until

pytestmark = pytest.mark.process


def fenced_policy(url: str) -> TargetPolicy:
    policy = target_policy(url, traffic=Traffic.STOP)
    return replace(policy, plans={"app": replace(policy.plans["app"], steps=("database", "app"))})


@pytest.fixture
async def bad(sandbox: Sandbox) -> AsyncIterator[Rig]:
    rig = rig_for(sandbox, target=fenced_policy(sandbox.urls.proxy_url))
    await rig.releases()
    await sandbox.deploy(image="errors-60", strategy="immediate")
    yield rig
    await rig.close()


async def planned(rig: Rig) -> Plan:
    return await rig.executor.plan(await rig.decide(bad=2, good=1))


async def test_every_machine_is_cordoned_before_the_first_is_stopped(bad: Rig) -> None:
    plan = await planned(bad)
    kinds = [s.kind for s in in_order(plan) if s.phase is Phase.STOP_TRAFFIC]

    await bad.walk(plan, until="write the release record")

    count = len(bad.sandbox.machines)
    assert kinds == [Kind.CORDON] * count + [Kind.STOP] * count
    assert {m.state for m in bad.sandbox.machines} == {"stopped"}
    async with httpx.AsyncClient(trust_env=False) as users:
        answer = await users.get(bad.sandbox.urls.proxy_url, timeout=20)
    assert answer.status_code >= 500
    assert {m.state for m in bad.sandbox.machines} == {"stopped"}  # a request woke nobody


async def test_the_good_release_starts_where_the_bad_one_was_stopped(bad: Rig) -> None:
    """With `stopped_by` left out of `skip_launch` no machine would ever start."""
    plan = await planned(bad)

    await bad.walk(plan)

    assert all(routable(machine) for machine in bad.sandbox.machines)
    assert not any("rollbackd_stopped" in m.metadata for m in bad.sandbox.machines)
    assert len(effects(bad.sandbox, "machine.stop")) == len(bad.sandbox.machines)


async def test_a_stop_that_is_refused_is_said_at_once_and_may_pass(bad: Rig) -> None:
    plan = await planned(bad)
    await bad.walk(plan, until="stop ")
    first = next(step for step in in_order(plan) if step.kind == Kind.STOP)
    bad.sandbox.faults.add("status", method="POST", path="/stop$", count=1, status=400)

    with pytest.raises(TemporaryError, match="was not stopped"):
        await bad.take(plan, first, {})
    again = await bad.take(plan, first, {})

    assert again["state"] == "stopped"


async def test_let_go_starts_what_we_stopped_and_leaves_what_somebody_else_did(bad: Rig) -> None:
    plan = await planned(bad)
    await bad.walk(plan, until="write the release record")
    first, *others = bad.sandbox.machines
    first.metadata.pop("rollbackd_stopped")  # somebody else's stop

    said = await bad.executor.let_go(plan)

    await until(lambda: all(routable(machine) for machine in others))
    assert first.state == "stopped"
    assert sum("is started" in line for line in said) == len(others)
    stops = [s for s in plan.steps if s.kind == Kind.STOP]
    seen = [(await bad.executor.observe(plan, step, {})).seen.value for step in stops]
    assert set(seen) == {"not_done"}  # so that the runner sees that it is undone


@pytest.mark.parametrize("good", [0, 1])
async def test_once_the_schema_is_back_the_bad_release_starts_only_where_else_nothing_runs(
    bad: Rig, good: int
) -> None:
    plan = await planned(bad)
    await bad.walk(plan, until="write the release record" if not good else "watch")
    first, *others = bad.sandbox.machines
    if good:  # as if all but the first had failed to update
        for machine in others:
            machine.config["metadata"].pop(OP)
            machine.metadata["rollbackd_stopped"] = str(plan.rollback)
            machine.state = "stopped"

    gone_back = replace(plan, settings={**plan.settings, GONE_BACK: True})
    with pytest.raises(PermanentError, match="bad release") as told:
        await bad.executor.let_go(gone_back)

    if good:
        await until(lambda: routable(first))
        assert {machine.state for machine in others} == {"stopped"}
        assert not any(routable(machine) for machine in others)
        assert "stays stopped" in told.value.message
    else:
        await until(lambda: all(routable(machine) for machine in (first, *others)))
        assert "nothing else was there to run" in told.value.message


async def test_stopped_twice_is_stopped_once(bad: Rig) -> None:
    plan = await planned(bad)
    await bad.walk(plan, until="stop ")
    step = next(s for s in plan.steps if s.kind == Kind.STOP)

    await bad.executor.apply(plan, step, {})
    await bad.executor.apply(plan, step, {})

    assert len(effects(bad.sandbox, "machine.stop")) == 1
    assert (await bad.executor.observe(plan, step, {})).seen.value == "done"
