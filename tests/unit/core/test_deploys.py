"""Which release is current, since when, and what a deploy has done so far."""

from dataclasses import replace

import pytest

from rollbackd.core.model import HoldReason, ReleaseStatus, TriggerState
from rollbackd.core.rules import DeployFailed
from tests.unit.core.world import (
    SAFETY,
    World,
    breached_world,
    down,
    failing,
    machine,
    release,
    target,
    trigger,
)

RUNNING, FAILED = ReleaseStatus.RUNNING, ReleaseStatus.FAILED
INTERRUPTED = ReleaseStatus.INTERRUPTED


def world_of_41() -> World:
    world = World(target(trigger(down())))
    world.good_start()
    world.machines(98, machine("m1", "image-41", 41), machine("m2", "image-41", 41))
    return world


def current(world: World) -> int | None:
    release = world.state.current
    return None if release is None else release.version


def test_nothing_is_current_before_a_release_is_seen() -> None:
    world = World(target(trigger(down())))
    world.releases(5)
    world.machines(6, machine("m1", "a", 1))

    assert current(world) is None
    assert world.state.releases == ()


def test_a_running_release_becomes_current_with_its_first_machine() -> None:
    world = world_of_41()
    world.releases(100, release(42, status=RUNNING), release(41))
    assert current(world) == 41

    world.machines(110, machine("m1", "image-42", 42), machine("m2", "image-41", 41))

    assert current(world) == 42
    assert world.state.deploys.current_since == 110
    assert world.state.deploys.on(release(42)) == 1


def test_a_machine_tells_its_release_by_content_where_it_does_not_tell_the_version() -> None:
    world = world_of_41()
    world.releases(100, release(42, status=RUNNING), release(41))
    world.machines(110, machine("m1", "image-42"), machine("m2", "image-41"))

    assert current(world) == 42


def test_a_machine_without_a_version_runs_the_current_release_by_its_content() -> None:
    world = world_of_41()
    world.machines(99, machine("m1", "image-41"), machine("m2", "other"))

    assert world.state.deploys.on(release(41)) == 1


def test_a_machine_seen_before_its_release_is_recognised_once_the_release_is_seen() -> None:
    world = world_of_41()
    world.machines(110, machine("m1", "image-42", 42))
    assert current(world) == 41

    world.releases(110, release(42, status=RUNNING), release(41))

    assert current(world) == 42


def test_a_secrets_only_release_is_told_by_its_version_alone() -> None:
    world = world_of_41()
    world.releases(100, release(42, "image-41", RUNNING), release(41))
    world.machines(110, machine("m1", "image-41"), machine("m2", "image-41", 41))
    assert current(world) == 41

    world.machines(120, machine("m1", "image-41", 42), machine("m2", "image-41", 41))

    assert current(world) == 42


def test_a_complete_release_is_current_without_machines() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.releases(100, release(42), release(41))

    assert (current(world), world.state.deploys.current_since) == (42, 100)


def test_what_was_there_when_we_came_is_current_since_it_was_made() -> None:
    world = World(target(trigger(down())))
    world.releases(50, release(41, created_at=-500), release(40, created_at=-900))
    assert world.state.deploys.current_since == -500

    later = World(target(trigger(down())))
    later.releases(50, release(41, created_at=60))
    assert later.state.deploys.current_since == 50


def test_an_unfinished_release_at_our_arrival_leaves_the_complete_one_current() -> None:
    world = World(target(trigger(down())))
    world.releases(50, release(42, status=RUNNING), release(41), release(40))

    assert current(world) == 41


def test_an_older_look_changes_nothing() -> None:
    world = world_of_41()
    world.releases(100, release(42), release(41))
    world.releases(99, release(43), release(42))
    world.machines(110, machine("m1", "image-42", 42))
    world.machines(109, machine("m1", "image-41", 41))

    assert current(world) == 42
    assert world.state.releases == (release(42), release(41))
    assert world.state.deploys.on(release(42)) == 1


def test_a_lower_version_never_becomes_current() -> None:
    world = world_of_41()
    world.releases(100, release(40))

    assert current(world) == 41
    assert [r.version for r in world.state.deploys.known] == [41, 40]


def test_a_release_no_longer_listed_is_still_known_but_memory_is_bounded() -> None:
    world = World(target(trigger(down())))
    for version in range(1, 300):
        world.releases(version, release(version))

    known = [r.version for r in world.state.deploys.known]
    assert known == list(range(299, 99, -1))
    assert set(world.state.deploys._first_seen) == set(known)
    assert current(world) == 299


def test_the_current_release_is_kept_up_to_date() -> None:
    world = world_of_41()
    exact = replace(release(41), content="sha256:41+config:a")
    world.releases(100, exact)

    assert world.state.current == exact


def test_the_newest_look_without_a_switched_machine_dates_the_release() -> None:
    world = world_of_41()
    world.releases(100, release(42, status=RUNNING), release(41))
    deploys = world.state.deploys
    assert deploys.came_at(release(42)) == 98
    assert deploys.came_at(release(42, created_at=99)) == 99
    world.machines(105, machine("m1", "image-41", 41))
    assert deploys.came_at(release(42, created_at=99)) == 105

    world.machines(110, machine("m1", "image-42", 42))
    assert deploys.came_at(release(42)) == 105


def test_without_machines_a_release_is_dated_by_its_first_look_or_its_making() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.releases(100, release(42), release(41))
    deploys = world.state.deploys

    assert deploys.came_at(release(42)) == 100
    assert deploys.came_at(release(42, created_at=90)) == 90
    assert deploys.came_at(release(42, created_at=101)) == 100


def test_a_machine_on_other_content_without_a_version_counts_as_switched() -> None:
    world = world_of_41()
    world.machines(105, machine("m1", "image-42"), machine("m2", "image-41"))
    assert world.state.deploys._unswitched_at == 98

    world.machines(106, machine("m1", "image-41"))
    assert world.state.deploys._unswitched_at == 106


# Our own rollback ------------------------------------------------------------------------------


def rolled_back(*, version: int | None = None) -> World:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(160, version=version)
    world.ok(165)
    return world


def test_after_the_switch_what_was_put_back_is_current_and_nothing_settles() -> None:
    world = rolled_back()

    assert current(world) == 41
    assert world.state.deploys.current_since == 160
    assert not world.state.deploys.settling(161, SAFETY)
    assert world.state.rollbacks.switched_at == 160


def test_after_the_switch_windows_hold_only_what_came_after_it() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.fail(155)
    world.switched(160)
    assert world.verdict(160).state is TriggerState.NO_DATA
    world.fail(160)
    assert world.verdict(160).state is TriggerState.NO_DATA

    world.ok(161)

    assert world.verdict(161).state is TriggerState.OK


def test_when_the_database_alone_went_back_the_release_that_runs_stays() -> None:
    """As a rollback of the app a bad release would count as put back by us, never to be blamed."""
    world = breached_world()
    world.started(146, release(42), release(41), automatic=False)
    world.switched(160, app=False)
    world.ended(170)

    assert current(world) == 42
    assert not world.gates(171)[HoldReason.RELEASE_IS_ROLLBACK].holds
    assert world.verdict(160).state is TriggerState.NO_DATA


def test_the_record_of_our_rollback_changes_no_window() -> None:
    world = rolled_back()
    world.releases(170, release(43, "image-41"), release(42), release(41))

    assert (current(world), world.state.deploys.current_since) == (43, 160)
    assert world.verdict(171).state is TriggerState.OK
    assert world.gates(171)[HoldReason.RELEASE_IS_ROLLBACK].why == "v43 was put back by rollbackd"


def test_our_record_is_recognised_by_its_version_too() -> None:
    world = rolled_back(version=43)
    world.releases(170, release(43, "image-41-rebuilt"), release(42), release(41))

    assert world.gates(171)[HoldReason.RELEASE_IS_ROLLBACK].why == "v43 was put back by rollbackd"


def test_our_record_seen_before_the_switch_stays_current() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.releases(150, release(43, "image-41"), release(42), release(41))
    world.switched(160)

    assert current(world) == 43
    assert world.state.deploys.put_back is None
    assert world.gates(161)[HoldReason.RELEASE_IS_ROLLBACK].why == "v43 was put back by rollbackd"


def test_a_release_after_our_rollback_is_a_release_like_any_other() -> None:
    world = rolled_back()
    world.releases(200, release(44), release(42), release(41))

    assert (current(world), world.state.deploys.current_since) == (44, 200)
    assert world.state.deploys.settling(201, SAFETY)
    assert not world.gates(201)[HoldReason.RELEASE_IS_ROLLBACK].holds


def test_a_look_at_the_releases_leaves_what_was_put_back_current() -> None:
    world = rolled_back()
    world.releases(170, release(42), release(41))

    assert current(world) == 41


def test_another_rollbacks_switch_or_end_is_not_ours() -> None:
    world = breached_world()
    world.switched(145)
    world.started(146, release(42), release(41))
    world.switched(150, name="other")
    world.ended(151, name="other")

    assert current(world) == 42
    assert world.reason(152) is HoldReason.ROLLING_BACK
    assert world.state.rollbacks.ended_at is None


def test_an_operation_of_ours_on_the_machines_of_a_release_makes_it_a_rollback() -> None:
    world = world_of_41()
    world.machines(110, machine("m1", "image-42", 42, op_id="op1"))
    world.releases(110, release(42), release(41))

    assert world.gates(111)[HoldReason.RELEASE_IS_ROLLBACK].holds


def test_an_operation_carried_over_by_a_persons_deploy_does_not() -> None:
    world = world_of_41()
    world.machines(99, machine("m1", "image-41", 41, op_id="op1"))
    world.machines(110, machine("m1", "image-42", 42, op_id="op1"))
    world.releases(110, release(42), release(41))

    assert not world.gates(111)[HoldReason.RELEASE_IS_ROLLBACK].holds


def test_an_operation_at_our_arrival_tells_nothing() -> None:
    world = World(target(trigger(down())))
    world.machines(5, machine("m1", "image-42", 42, op_id="op1"))
    world.releases(5, release(42), release(41))

    assert not world.gates(6)[HoldReason.RELEASE_IS_ROLLBACK].holds


# A failed deploy -------------------------------------------------------------------------------


def deploying() -> World:
    world = World(target(trigger(DeployFailed(), name="deploy")))
    world.releases(0, release(41))
    world.machines(98, machine("m1", "image-41", 41), machine("m2", "image-41", 41))
    return world


def said(world: World, now: float) -> tuple[TriggerState, str]:
    verdict = world.verdict(now)
    return verdict.state, verdict.why


def test_before_a_release_is_seen_a_deploy_cannot_be_judged() -> None:
    world = World(target(trigger(DeployFailed())), now=3)

    assert said(world, 5) == (TriggerState.NO_DATA, "no release seen yet")
    assert world.verdict(5).since == 3


def test_a_complete_or_running_deploy_is_ok() -> None:
    world = deploying()
    assert said(world, 99) == (TriggerState.OK, "v41 is complete")

    world.releases(100, release(42, status=RUNNING), release(41))

    assert said(world, 101) == (TriggerState.OK, "v42 is running")


@pytest.mark.parametrize(("status", "how"), [(FAILED, "failed"), (INTERRUPTED, "was interrupted")])
def test_a_failed_deploy_with_a_machine_on_it_is_breached(status: ReleaseStatus, how: str) -> None:
    world = deploying()
    world.machines(105, machine("m1", "image-42", 42), machine("m2", "image-41", 41))
    world.releases(110, release(42, status=status), release(41))

    assert said(world, 111) == (TriggerState.BREACHED, f"1 of 2 machines run v42, which {how}")
    assert world.verdict(111).since == 110


def test_a_failed_deploy_that_changed_no_machine_leaves_nothing_to_undo() -> None:
    world = deploying()
    world.releases(110, release(42, status=FAILED), release(41))

    assert said(world, 111) == (
        TriggerState.OK,
        "v42 is failed, no machine runs it: nothing to undo",
    )
    assert current(world) == 41


def test_a_failed_deploy_of_unseen_machines_is_not_judged() -> None:
    world = World(target(trigger(DeployFailed())))
    world.releases(0, release(41))
    world.releases(110, release(42, status=FAILED), release(41))

    assert said(world, 111) == (TriggerState.NO_DATA, "v42 is failed, and no machine has been seen")


def test_a_deploy_running_for_too_long_counts_as_interrupted() -> None:
    world = deploying()
    world.releases(100, release(42, status=RUNNING), release(41))
    world.machines(105, machine("m1", "image-42", 42), machine("m2", "image-41", 41))
    assert said(world, 999.9)[0] is TriggerState.OK
    assert said(world, 1000) == (
        TriggerState.BREACHED,
        "1 of 2 machines run v42, which was interrupted",
    )

    world.machines(106, machine("m1", "image-42", 42), foreign=1)
    assert said(world, 1000)[0] is TriggerState.OK


def test_what_was_undone_is_not_breached_any_more() -> None:
    world = deploying()
    world.machines(105, machine("m1", "image-42", 42))
    world.releases(110, release(42, status=FAILED), release(41))
    world.started(111, release(42), release(41))
    world.machines(120, machine("m1", "image-41", 41))
    world.switched(121)

    assert said(world, 122)[0] is TriggerState.OK


def test_a_reload_keeps_what_did_not_change_and_restarts_what_did() -> None:
    old = target(
        trigger(down(), name="a"),
        trigger(down("machines"), name="b"),
        trigger(down(), name="c"),
        trigger(down(), name="gone"),
        fingerprints={"trigger:c": "1", "probe:health": "1"},
    )
    new = target(
        trigger(down(), name="a"),
        trigger(down("machines", 3), name="b"),
        trigger(down(), name="c"),
        trigger(failing(), name="new", unless=(failing("database"),)),
        fingerprints={"trigger:c": "2", "probe:health": "1"},
    )
    world = breached_world(old)
    world.fail(116, 126, 136, 146, name="machines")
    world.target = new
    world.policy = replace(world.policy, targets={new.name: new})

    world.state.carry(new, 146)

    states = [world.verdict(146, index).state for index in range(4)]
    assert states == [
        TriggerState.BREACHED, TriggerState.NO_DATA, TriggerState.NO_DATA, TriggerState.NO_DATA,
    ]  # fmt: skip
    assert {place.trigger for place in world.state.watches} == {"a", "b", "c", "new"}
    assert world.state.probes[down().probe].failures_in_a_row == 4
    counted = {p.veto: w.counts_after for p, w in world.state.watches.items() if p.trigger == "new"}
    assert counted == {False: 100, True: float("-inf")}
    world.fail(155)
    assert world.verdict(155, 3).state is TriggerState.BREACHED


def test_a_reload_restarts_everything_about_a_probe_that_changed() -> None:
    old = target(trigger(down()), fingerprints={"probe:health": "1"})
    new = target(trigger(down()), fingerprints={"probe:health": "2"})
    world = breached_world(old)

    world.state.carry(new, 146)

    assert world.verdict(146).state is TriggerState.NO_DATA
    assert world.state.probes[down().probe].failures_in_a_row == 0
