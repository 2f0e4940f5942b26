"""A whole rollback against the sandbox, step by step."""

import pytest

from rollbackd.core.errors import Ambiguous
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Seen
from rollbackd.fly.wire import Api, Call
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Rig, effects, in_order, rig_for
from tests.support import until

pytestmark = pytest.mark.process


async def test_three_machines_go_back_to_the_good_release(sandbox: Sandbox, rig: Rig) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50", env={"FLAG": "new"})

    await rig.roll_back(bad=2, good=1)

    assert [machine.config["image"].split("@")[0] for machine in sandbox.machines] == [
        sandbox.releases[0].image_ref
    ] * 3
    assert all("@sha256:" in machine.config["image"] for machine in sandbox.machines)
    assert all("FLAG" not in machine.config["env"] for machine in sandbox.machines)
    assert not any(machine.cordoned for machine in sandbox.machines)
    assert not any(machine.lease for machine in sandbox.machines)
    newest = sandbox.releases[-1]
    assert (newest.version, newest.status) == (3, "complete")
    assert newest.definition == sandbox.releases[0].definition
    assert all(m.metadata["fly_release_version"] == "3" for m in sandbox.machines)
    assert len(effects(sandbox, "machine.update")) == 3
    after = {release.version: release for release in await rig.releases()}
    assert after[3].content == after[1].content != after[2].content


async def test_a_config_only_release_on_the_same_image_goes_back(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(env={"ROLLBACKD_SANDBOX_BEHAVIOUR": "errors-50"})
    decision = await rig.decide(bad=2, good=1)

    plan = await rig.executor.plan(decision)
    await rig.walk(plan)

    assert decision.bad.content != decision.good.content
    assert all("ROLLBACKD_SANDBOX_BEHAVIOUR" not in m.config["env"] for m in sandbox.machines)
    assert len(effects(sandbox, "machine.update")) == 3


async def test_a_daemon_that_never_saw_the_good_release_reads_it_from_the_machines(
    sandbox: Sandbox, rig: Rig
) -> None:
    await sandbox.deploy(image="errors-50", env={"FLAG": "new"})

    await rig.roll_back(bad=2, good=1)

    assert all("FLAG" not in machine.config["env"] for machine in sandbox.machines)
    after = {release.version: release for release in await rig.releases()}
    assert after[3].content == after[1].content


async def test_a_blue_green_deploy_that_took_the_old_machines_with_it_goes_back(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    blues = {machine.id for machine in sandbox.machines}
    await sandbox.deploy(image="errors-50", env={"FLAG": "new"}, strategy="bluegreen")

    await rig.roll_back(bad=2, good=1)

    assert not blues & {machine.id for machine in sandbox.machines}
    assert all("FLAG" not in machine.config["env"] for machine in sandbox.machines)
    assert all("good@sha256" in machine.config["image"] for machine in sandbox.machines)


async def test_only_machines_that_differ_are_touched(sandbox: Sandbox, rig: Rig) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50", outcome="failed", after=1)
    touched = [m.id for m in sandbox.machines if "errors-50" in m.config["image"]]

    await rig.roll_back(bad=2, good=1)

    assert len(touched) == 1
    assert effects(sandbox, "machine.update") == touched


async def test_a_stopped_machine_gets_the_good_config_and_stays_stopped(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    asleep = sandbox.machines[0]
    await rig.client.wire.send_once(_stop(sandbox.name, asleep.id))
    await until(lambda: asleep.state == "stopped")

    await rig.roll_back(bad=2, good=1)

    assert asleep.state in {"stopped", "created"}
    assert "good@sha256" in asleep.config["image"]


async def test_a_stopped_sibling_is_woken_before_the_only_serving_machine_is_touched(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    sleepers, serves = sandbox.machines[:2], sandbox.machines[2]
    for machine in sleepers:
        await rig.client.wire.send_once(_stop(sandbox.name, machine.id))
        await until(lambda machine=machine: machine.state == "stopped")  # type: ignore[misc]

    await rig.roll_back(bad=2, good=1)

    order = effects(sandbox, "machine.update")
    assert order[0] in {machine.id for machine in sleepers}
    assert order[1] == serves.id
    assert effects(sandbox, "machine.cordon") == [serves.id]


async def test_the_last_serving_machine_is_never_cordoned(rig: Rig, sandbox: Sandbox) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    for machine in sandbox.machines[1:]:
        machine.host_status = "unreachable"

    _, results = await rig.roll_back(bad=2, good=1)

    assert effects(sandbox, "machine.update") == [sandbox.machines[0].id]
    assert effects(sandbox, "machine.cordon") == []
    assert {"said": "complete except 2 unreachable"}.items() <= _said(results).items()


async def test_an_answer_lost_after_the_update_does_not_restart_the_machine_twice(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    machine_path = r"^/v1/apps/shop/machines/[0-9a-f]+$"
    sandbox.faults.add("status", method="POST", path=machine_path, when="after", count=1)
    sandbox.faults.add("reset", method="POST", path=machine_path, when="after", count=1)
    sandbox.faults.add("truncated", method="POST", path=machine_path, when="after", count=1)

    await rig.roll_back(bad=2, good=1)

    updated = effects(sandbox, "machine.update")
    assert sorted(updated) == sorted(machine.id for machine in sandbox.machines)  # type: ignore[type-var]


async def test_an_update_that_failed_before_it_took_effect_is_sent_again(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    path = r"^/v1/apps/shop/machines/[0-9a-f]+$"
    sandbox.faults.add("status", method="POST", path=path, when="before", status=503)

    await rig.roll_back(bad=2, good=1)

    assert len(effects(sandbox, "machine.update")) == 3


async def test_a_release_record_whose_answer_was_lost_is_not_posted_twice(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    sandbox.faults.add("status", method="POST", path="^/api/v1/releases$", when="after")

    await rig.roll_back(bad=2, good=1)

    assert [release.version for release in sandbox.releases] == [1, 2, 3]
    assert sandbox.releases[-1].status == "complete"


async def test_without_the_releases_api_the_machines_go_back_all_the_same(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    sandbox.faults.add("status", method="POST", path="^/api/v1/releases", count=99, status=404)

    plan, results = await rig.roll_back(bad=2, good=1)

    record = next(step for step in plan.steps if step.kind == "release_record")
    assert results[record.seq]["degraded"] == "no release record"
    assert all(m.metadata["fly_release_version"] == "1" for m in sandbox.machines)
    assert all("good@sha256" in machine.config["image"] for machine in sandbox.machines)


async def test_walking_a_finished_plan_again_changes_nothing(sandbox: Sandbox, rig: Rig) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    plan, _ = await rig.roll_back(bad=2, good=1)
    before = len(sandbox.effects)

    await rig.walk(plan)

    assert [e.action for e in sandbox.effects[before:]] == []


async def test_a_crash_between_update_and_traffic_is_taken_up_where_it_was(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))
    sandbox.faults.add("status", method="POST", path="/uncordon$", status=500, count=1)
    with pytest.raises(Ambiguous):
        await rig.walk(plan)
    successor = rig_for(sandbox, blobs=rig.blobs)

    await successor.walk(plan)
    await successor.close()

    assert len(effects(sandbox, "machine.update")) == 3
    assert not any(machine.cordoned for machine in sandbox.machines)
    assert not any("rollbackd_cordon" in machine.metadata for machine in sandbox.machines)


@pytest.mark.parametrize("cordoned", [False, True])
async def test_a_lease_left_after_the_update_is_given_back_and_delays_nothing(
    sandbox: Sandbox, rig: Rig, cordoned: bool
) -> None:
    """Without it the machine could not be given back to traffic until the lease ran out."""
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))
    step = next(step for step in in_order(plan) if step.kind == "machine")
    results = await rig.walk(plan, until="bring")
    await rig.executor.apply(plan, step, results)
    machine = str(step.params["machine"])
    words = f"rollbackd {plan.rollback}"
    await rig.client.acquire_lease(sandbox.name, machine, ttl_seconds=60, description=words)
    if cordoned:
        mark = str(plan.rollback)
        await rig.client.set_metadata(sandbox.name, machine, "rollbackd_cordon", mark)

    seen = await rig.executor.observe(plan, step, results)
    await rig.executor.apply(plan, step, results)

    assert seen.seen is Seen.NOT_DONE
    assert (await rig.executor.observe(plan, step, results)).seen is Seen.DONE
    left = next(one for one in sandbox.machines if one.id == machine)
    assert left.lease is None
    assert "rollbackd_cordon" not in left.metadata
    assert effects(sandbox, "machine.update") == [machine]


def _stop(app: str, machine: str) -> Call:
    return Call(
        api=Api.MACHINES,
        method="POST",
        endpoint="/v1/apps/{app}/machines/{machine}/stop",
        fills={"app": app, "machine": machine},
        turn=("stop", machine),
        mutates=True,
    )


def _said(results: dict[int, JsonObject]) -> JsonObject:
    return next(result for result in results.values() if "said" in result)
