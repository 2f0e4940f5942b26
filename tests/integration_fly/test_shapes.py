"""Apps of other shapes and other ways to roll them back."""

from collections import Counter

import pytest

from rollbackd.core.model import ReleaseStatus
from rollbackd.core.policy import Strategy, Traffic
from rollbackd.core.runbook import Phase
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import effects, rig_for, target_policy

pytestmark = pytest.mark.process
QUICK = {"boot_seconds": 0.1, "check_seconds": 0.1, "smoke_seconds": 0.1, "rate_limits": False}


async def test_our_turns_keep_us_below_the_limits_of_the_platform() -> None:
    codes: Counter[str] = Counter()

    class Count:
        def called(
            self, *, api: str, endpoint: str, method: str, code: str, seconds: float
        ) -> None:
            codes[code] += 1

        def sent_again(self, *, api: str) -> None:
            codes[f"{api} again"] += 1

    async with Sandbox(boot_seconds=0.1, check_seconds=0.1, smoke_seconds=0.1) as sandbox:
        await sandbox.ready()
        rig = rig_for(sandbox, limited=True)
        rig.client.wire._meter = Count()
        await rig.releases()
        await sandbox.deploy(image="errors-50")

        await rig.roll_back(bad=2, good=1)
        await rig.close()

    assert codes["429"] == 0
    assert codes["200"] > 30


async def test_one_machine_alone_goes_back_without_ever_being_cordoned() -> None:
    async with Sandbox(machines=1, **QUICK) as sandbox:
        await sandbox.ready()
        rig = rig_for(sandbox)
        await rig.releases()
        await sandbox.deploy(image="errors-50")

        await rig.roll_back(bad=2, good=1)
        await rig.close()

        assert "good@sha256" in sandbox.machines[0].config["image"]
        assert effects(sandbox, "machine.cordon") == []


async def test_traffic_stop_cordons_all_first_and_gives_all_back_last(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox, target=target_policy(traffic=Traffic.STOP))
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    held = sandbox.machines[0]
    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))

    await rig.walk(plan, until="give our machines back")
    cordoned = [machine.cordoned for machine in sandbox.machines]
    await rig.walk(plan)
    await rig.close()

    assert cordoned == [True, True, True]
    assert not any(machine.cordoned for machine in sandbox.machines)
    assert not any("rollbackd_cordon" in machine.metadata for machine in sandbox.machines)
    assert held.id in effects(sandbox, "machine.uncordon")


async def test_immediate_updates_all_in_one_wave_and_keeps_traffic(sandbox: Sandbox) -> None:
    target = target_policy(traffic=Traffic.KEEP, strategy=Strategy.IMMEDIATE)
    rig = rig_for(sandbox, target=target)
    await rig.releases()
    await sandbox.deploy(image="errors-50")

    plan, _ = await rig.roll_back(bad=2, good=1)
    await rig.close()

    waves = {step.params["wave"] for step in plan.steps if step.kind == "machine"}
    assert waves == {0}
    assert plan.parallel == 3
    assert effects(sandbox, "machine.cordon") == []


async def test_a_secrets_only_release_has_the_content_of_its_predecessor(
    sandbox: Sandbox,
) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    sandbox.begin_deploy(secrets={"KEY": "x"})
    early = {release.version: release for release in await rig.releases()}
    await sandbox.deploy(secrets={"KEY": "y"})

    late = {release.version: release for release in await rig.releases()}
    await rig.close()

    assert early[2].content == early[1].content
    assert late[3].content == late[2].content == late[1].content


async def test_a_failed_canary_is_brought_back_and_named(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    await sandbox.deploy(image="crash", strategy="canary-leftover")

    plan, _ = await rig.roll_back(bad=2, good=1)
    await rig.close()

    assert any("canary" in note for note in plan.notes)
    assert all("crash" not in machine.config["image"] for machine in sandbox.machines)


async def test_a_crash_loop_is_seen_and_gone_after_the_rollback(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    await sandbox.deploy(image="crash", wait_seconds=3)
    broken = [
        machine
        for machine in await rig.platform.machines()
        if machine.crash_looping or machine.state in {"failed", "stopped"}
    ]

    await rig.roll_back(bad=2, good=1)
    machines, releases = await rig.platform.machines(), await rig.releases()
    await rig.close()

    assert broken
    assert not any(machine.crash_looping for machine in machines)
    assert {machine.state for machine in machines} == {"started"}
    assert releases[0].status is ReleaseStatus.COMPLETE
    assert {machine.content for machine in machines} == {releases[0].content}


async def test_an_operation_id_does_not_outlive_the_next_deploy(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    await sandbox.deploy(image="errors-50")
    plan, _ = await rig.roll_back(bad=2, good=1)
    ours = {machine.op_id for machine in await rig.platform.machines()}
    await sandbox.deploy(image="good", env={"FIX": "1"})

    theirs = {machine.op_id for machine in await rig.platform.machines()}
    await rig.close()

    assert ours == {step.op_key for step in plan.steps if step.kind == "machine"}
    assert theirs == {None}


async def test_a_person_sees_what_changes_but_no_value_of_the_environment(
    sandbox: Sandbox,
) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    await sandbox.deploy(image="errors-50", env={"PASSWORD": "planted-secret"})

    plan = await rig.executor.plan(await rig.decide(bad=2, good=1))
    await rig.close()

    assert "app: env.PASSWORD: removed" in plan.notes
    assert "planted-secret" not in repr(plan)
    assert {step.phase for step in plan.steps} == set(Phase)


async def test_a_config_a_person_scaled_stays_scaled(sandbox: Sandbox) -> None:
    rig = rig_for(sandbox)
    await rig.releases()
    await sandbox.deploy(
        image="errors-50", guest={"cpu_kind": "shared", "cpus": 2, "memory_mb": 512}
    )

    await rig.roll_back(bad=2, good=1)
    await rig.close()

    assert [machine.config["guest"]["cpus"] for machine in sandbox.machines] == [2, 2, 2]
