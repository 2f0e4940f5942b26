"""When somebody else is at it, or somebody said stop, or nothing can be done: who is left alone."""

import asyncio
import dataclasses

import pytest

from rollbackd.core.errors import (
    LeaseHeld,
    PermanentError,
    PlanRefused,
    Stopped,
    Superseded,
    Unauthorized,
    VersionConflict,
)
from rollbackd.core.ports import Seen
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors import app_lease, app_machine
from rollbackd.executors.app_words import Kind
from rollbackd.sandbox.server import READ_TOKEN, Sandbox
from tests.integration_fly.walking import Rig, effects, in_order, rig_for

pytestmark = pytest.mark.process


def machine_steps(plan: Plan) -> list[Step]:
    return [step for step in in_order(plan) if step.kind == Kind.MACHINE]


@pytest.fixture
async def plan(sandbox: Sandbox, rig: Rig) -> Plan:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    return await rig.executor.plan(await rig.decide(bad=2, good=1))


async def test_our_own_record_posted_late_by_one_who_was_frozen_is_no_deploy(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    body = {"app_name": sandbox.name, "image": plan.settings["image"], "strategy": "ROLLING"}
    record = next(step for step in in_order(plan) if step.kind == Kind.RECORD)
    await rig.executor.apply(plan, record, {})
    late = await rig.client.create_release(body)

    await rig.executor.still_applies(plan)

    await rig.client.patch_release(str(late["id"]), "running", None)  # somebody carries it out
    with pytest.raises(Superseded):
        await rig.executor.still_applies(plan)


async def test_a_lease_that_ends_is_waited_for(sandbox: Sandbox, rig: Rig, plan: Plan) -> None:
    step = machine_steps(plan)[0]
    machine = str(step.params["machine"])
    await rig.client.acquire_lease(sandbox.name, machine, ttl_seconds=2, description="a person")

    await rig.executor.apply(plan, step, {})

    assert effects(sandbox, "machine.update") == [machine]


async def test_a_lease_that_does_not_end_wins(
    sandbox: Sandbox, rig: Rig, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_machine, "PATIENCE_SECONDS", 0.3)
    step = machine_steps(plan)[0]
    machine = str(step.params["machine"])
    await rig.client.acquire_lease(sandbox.name, machine, ttl_seconds=60, description="a person")

    with pytest.raises(LeaseHeld) as held:
        await rig.executor.apply(plan, step, {})

    assert held.value.owner
    assert held.value.expires_at is not None
    assert effects(sandbox, "machine.update") == []


async def test_our_own_lease_left_by_a_dead_process_is_taken_over(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    step = machine_steps(plan)[0]
    machine = str(step.params["machine"])
    words = f"rollbackd {plan.rollback}"
    await rig.client.acquire_lease(sandbox.name, machine, ttl_seconds=60, description=words)

    await rig.executor.apply(plan, step, {})

    assert effects(sandbox, "machine.update") == [machine]


async def test_a_machine_somebody_changed_is_left_alone(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    step = machine_steps(plan)[0]
    machine = next(m for m in sandbox.machines if m.id == step.params["machine"])
    lease = await rig.client.acquire_lease(
        sandbox.name, machine.id, ttl_seconds=5, description="a person"
    )
    config = machine.config | {"env": machine.config["env"] | {"BY": "hand"}}
    await rig.client.update_machine(sandbox.name, machine.id, {"config": config}, lease.nonce)
    await rig.client.release_lease(sandbox.name, machine.id, lease.nonce)

    seen = await rig.executor.observe(plan, step, {})
    with pytest.raises(VersionConflict):
        await rig.executor.apply(plan, step, {})

    assert seen.seen is Seen.CHANGED
    assert effects(sandbox, "machine.update") == [machine.id]


async def test_a_newer_release_of_a_person_ends_the_rollback(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    await rig.walk(plan, until="bring")
    await rig.executor.still_applies(plan)
    sandbox.begin_deploy(image="good", env={"FIX": "1"})

    with pytest.raises(Superseded):
        await rig.executor.still_applies(plan)
    with pytest.raises(Superseded):
        await rig.executor.apply(plan, machine_steps(plan)[0], {})


async def test_a_release_newer_than_the_bad_one_refuses_the_plan(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    decision = await rig.decide(bad=2, good=1)
    await sandbox.deploy(image="good", env={"FIX": "1"})

    with pytest.raises(Superseded):
        await rig.executor.plan(decision)


async def test_a_stop_lets_nothing_more_through(sandbox: Sandbox) -> None:
    stopped = asyncio.Event()

    def permit(what: str) -> None:
        if stopped.is_set():
            raise Stopped(f"not sent: {what}")

    rig = rig_for(sandbox, permit=permit)
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))
    await rig.walk(plan, until=machine_steps(plan)[1].name)
    before = len(sandbox.effects)
    stopped.set()

    with pytest.raises(Stopped):
        await rig.walk(plan)
    with pytest.raises(Stopped):
        await rig.executor.let_go(plan)

    ours = [e.action for e in sandbox.effects[before:] if e.request_id != "inside"]
    assert ours == []
    stopped.clear()
    await rig.walk(plan)
    await rig.close()
    assert len(effects(sandbox, "machine.update")) == 3


async def test_letting_go_gives_back_cordons_and_leases_and_closes_the_record(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    await rig.walk(plan, until="bring")
    one, other = sandbox.machines[:2]
    words = f"rollbackd {plan.rollback}"
    lease = await rig.client.acquire_lease(sandbox.name, one.id, ttl_seconds=60, description=words)
    await rig.client.set_metadata(sandbox.name, one.id, "rollbackd_cordon", str(plan.rollback))
    await rig.client.cordon(sandbox.name, one.id, lease.nonce)
    await rig.client.cordon(sandbox.name, other.id)  # by a person: not ours to undo

    lines = await rig.executor.let_go(plan)

    assert not one.cordoned
    assert one.lease is None
    assert other.cordoned
    assert sandbox.releases[-1].status == "failed"
    assert len(lines) == 3


async def test_a_machine_that_keeps_its_cordon_is_named_and_the_others_are_let_go(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    await rig.walk(plan, until="bring")
    one, other = sandbox.machines[:2]
    for each in (one, other):
        await rig.client.set_metadata(sandbox.name, each.id, "rollbackd_cordon", str(plan.rollback))
        await rig.client.cordon(sandbox.name, each.id)
    refused = f"/{one.id}/uncordon$"
    sandbox.faults.add("status", method="POST", path=refused, status=422, text="no", count=1)

    with pytest.raises(PermanentError, match=f"machine {one.id} could not be let go"):
        await rig.executor.let_go(plan)

    assert (one.cordoned, other.cordoned) == (True, False)
    await rig.executor.let_go(plan)
    assert not one.cordoned


async def test_an_app_without_machines_is_refused_and_never_called_done(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    decision = await rig.decide(bad=2, good=1)
    for machine in list(sandbox.machines):
        machine.state = "destroyed"

    with pytest.raises(PlanRefused, match="no machine"):
        await rig.executor.plan(decision)


async def test_an_image_that_is_gone_refuses_the_plan(sandbox: Sandbox, rig: Rig) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    decision = await rig.decide(bad=2, good=1)
    sandbox.app.gone_images.add(decision.good.image)

    with pytest.raises(PlanRefused, match="image missing"):
        await rig.executor.plan(decision)


async def test_a_group_the_good_release_did_not_have_is_left_alone(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    foreign = sandbox.machines[0]
    foreign.metadata["fly_process_group"] = "worker"

    plan, _ = await rig.roll_back(bad=2, good=1)

    assert foreign.id not in effects(sandbox, "machine.update")
    assert any("group worker is not in v1" in note for note in plan.notes)


async def test_a_read_only_token_watches_and_changes_nothing(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox, token=READ_TOKEN)
    await rig.releases()
    await sandbox.deploy(image="errors-50")

    report = await rig.platform.token_report()
    releases, machines = await rig.releases(), await rig.platform.machines()
    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))
    with pytest.raises(Unauthorized):
        await rig.executor.apply(plan, machine_steps(plan)[0], {})
    await rig.close()

    assert report.covers_app
    assert report.read_only
    assert [release.version for release in releases] == [2, 1]
    assert len(machines) == 3
    assert [e for e in sandbox.effects if e.request_id != "inside"] == []


async def test_a_deploy_token_covers_its_app_and_may_write(rig: Rig, sandbox: Sandbox) -> None:
    report = await rig.platform.token_report()

    assert report.covers_app
    assert not report.read_only
    assert [e for e in sandbox.effects if e.request_id != "inside"] == []


async def test_a_token_for_another_app_does_not_cover_this_one(sandbox: Sandbox) -> None:
    await sandbox.add_app("other", machines=1)
    rig = rig_for(sandbox)
    rig.platform.app = "other"

    report = await rig.platform.token_report()
    await rig.close()

    assert not report.covers_app
    assert app_lease.TTL_SECONDS == 30


async def test_a_failed_deploy_known_before_does_not_keep_users_hurt(
    sandbox: Sandbox, rig: Rig
) -> None:
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    record = await rig.client.create_release(
        {"app_name": sandbox.name, "image": "shop:never", "definition": {}, "strategy": "ROLLING"}
    )
    await rig.client.patch_release(str(record["id"]), "failed", None)
    decision = await rig.decide(bad=2, good=1)

    with pytest.raises(Superseded):
        await rig.executor.plan(decision)
    plan = await rig.executor.plan(dataclasses.replace(decision, later_version=3))
    await rig.walk(plan)

    newest, *_ = await rig.releases()
    assert (newest.version, newest.status.value) == (4, "complete")
    assert len(effects(sandbox, "machine.update")) == 3


async def test_a_plan_for_another_app_than_the_configured_one_touches_nothing(
    sandbox: Sandbox, rig: Rig, plan: Plan
) -> None:
    other = dataclasses.replace(plan, settings={**plan.settings, "app": "another"})
    before = len(sandbox.effects)

    with pytest.raises(PlanRefused, match="is about another, and shop is"):
        await rig.executor.still_applies(other)
    with pytest.raises(PlanRefused, match="is about another, and shop is"):
        await rig.executor.let_go(other)
    assert len(sandbox.effects) == before
