"""Every gate holds for its reason and lets pass without it; the decision names the first."""

from dataclasses import replace

import pytest

from rollbackd.core.facts import Approved, Paused, Rejected, Resumed, Unlocked
from rollbackd.core.gates import GATES
from rollbackd.core.model import (
    HoldReason,
    ReleaseStatus,
    RollbackId,
    RollbackOutcome,
    TriggerState,
)
from rollbackd.core.policy import TargetPolicy, TimeWindow
from rollbackd.core.rules import DeployFailed, Mode, Severity
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    World,
    breached_world,
    down,
    failing,
    locks,
    machine,
    release,
    target,
    trigger,
)

R = HoldReason
RUNNING = ReleaseStatus.RUNNING


def shop(**changes: object) -> TargetPolicy:
    return target(trigger(down()), safety=replace(SAFETY, **changes))  # type: ignore[arg-type]  # fields


def says(world: World, reason: HoldReason, now: float = 146) -> tuple[bool, str]:
    answer = world.gates(now)[reason]
    return answer.holds, answer.why


def test_the_gates_stand_in_the_order_of_the_reasons() -> None:
    reasons = [reason for reason, _ in GATES]

    assert reasons == list(HoldReason)[: len(reasons)]
    assert len(reasons) == 22


def test_a_plain_breach_passes_every_gate() -> None:
    world = breached_world()

    answers = world.gates(146)

    assert list(answers) == [reason for reason, _ in GATES]
    assert {reason for reason, answer in answers.items() if answer.holds} == set()
    assert {reason.value: answer.why for reason, answer in answers.items()} == {
        "rolling_back": "no rollback is running",
        "deploy_in_progress": "nobody is deploying",
        "blind": "control answers and the releases are seen",
        "paused": "not paused",
        "locked_out": "not locked out",
        "release_is_rollback": "the current release is no rollback",
        "already_rolled_back": "never rolled back from automatically",
        "settling": "the release has settled",
        "learning": "nothing has to be learned first",
        "not_armed": "within 60 min after the release",
        "not_since_release": "began after the release came",
        "vetoed": "nothing else is to blame",
        "mass_failure": "no mass failure",
        "cooling_down": "no rollback ended lately",
        "no_good_release": "v41 is good",
        "quarantined_only": "not all earlier releases are quarantined",
        "image_missing": "the image of v41 is not known to be gone",
        "schema_guard": "asked of the database when a plan is made",
        "budget_spent": "the budget is not spent",
        "window": "no time window is on",
        "observe_mode": "the mode is auto",
        "awaiting_approval": "nobody has to be asked",
    }


def test_a_hold_names_trigger_releases_and_both_reasons() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.OBSERVE))

    held = world.held(146)

    assert (held.trigger, held.bad, held.good) == ("health-down", release(42), release(41))
    assert (
        held.why == "shop v42 is bad: health failing in 4 of the last 4 looks; the mode is observe"
    )
    assert held.evidence["failed"] == 4
    assert held.evidence["proposal"] == "shop-v42-to-v41"
    assert [v.state for v in held.verdicts] == [TriggerState.BREACHED]
    assert world.state.decided is held


def test_one_rollback_at_a_time() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))

    assert world.reason(150) is R.ROLLING_BACK
    assert says(world, R.ROLLING_BACK, 150) == (
        True,
        "r1 is under way since 4 s, by hand: v42 -> v41",
    )

    world.ended(160, RollbackOutcome.CANCELLED)
    assert says(world, R.ROLLING_BACK, 160)[0] is False


def test_a_deploy_in_progress_is_waited_for() -> None:
    world = breached_world()
    world.releases(146, release(43, status=RUNNING), release(42), release(41))

    assert world.reason(150) is R.DEPLOY_IN_PROGRESS
    assert says(world, R.DEPLOY_IN_PROGRESS, 150) == (True, "v43 is being deployed since 4 s")
    assert says(world, R.DEPLOY_IN_PROGRESS, 146 + 899.9)[0] is True
    assert says(world, R.DEPLOY_IN_PROGRESS, 146 + 900)[0] is False


def test_a_pending_deploy_is_one_in_progress_and_a_failed_one_is_not() -> None:
    for status, held in ((ReleaseStatus.PENDING, True), (ReleaseStatus.FAILED, False)):
        world = breached_world()
        world.releases(146, release(43, status=status), release(42), release(41))
        assert says(world, R.DEPLOY_IN_PROGRESS, 150)[0] is held


def test_foreign_leases_keep_an_old_deploy_in_progress() -> None:
    world = breached_world()
    world.releases(146, release(43, status=RUNNING), release(42), release(41))
    world.machines(147, machine("m1", "image-42", 42), foreign=1)
    assert says(world, R.DEPLOY_IN_PROGRESS, 5000)[0] is True

    world.machines(148, machine("m1", "image-42", 42), foreign=0)

    assert says(world, R.DEPLOY_IN_PROGRESS, 5000)[0] is False


def test_the_age_of_a_deploy_goes_by_the_platform_and_never_below_zero() -> None:
    world = breached_world()
    world.releases(146, release(43, status=RUNNING, created_at=-800), release(42), release(41))
    assert says(world, R.DEPLOY_IN_PROGRESS, 99)[1] == "v43 is being deployed since 15 min"
    assert says(world, R.DEPLOY_IN_PROGRESS, 100)[0] is False

    world.releases(147, release(44, status=RUNNING, created_at=9999), release(42), release(41))
    assert says(world, R.DEPLOY_IN_PROGRESS, 146)[1] == "v44 is being deployed since 0 s"


def test_blind_without_control() -> None:
    world = breached_world()
    world.control(146, ok=False)
    assert world.reason(146) is R.BLIND
    assert says(world, R.BLIND) == (True, "our own connectivity is in doubt: control failed")

    world.control(147, ok=True)

    assert says(world, R.BLIND, 147)[0] is False


def test_blind_when_the_releases_were_not_seen_for_long() -> None:
    world = breached_world(shop(blind_after_seconds=60))

    assert says(world, R.BLIND, 160)[0] is False
    assert says(world, R.BLIND, 161) == (True, "the releases were not seen for 61 s")


def test_paused_until_its_end_or_until_resumed() -> None:
    world = breached_world()
    world.tell(Paused(target=SHOP, at=140, until=150, by="eva", reason="migration"))
    assert world.reason(146) is R.PAUSED
    assert says(world, R.PAUSED) == (True, "paused for 4 s more by eva: migration")
    assert target_view(world.state, world.policy, 146).paused_until == 150
    assert says(world, R.PAUSED, 150)[0] is False
    assert target_view(world.state, world.policy, 150).paused_until is None

    world.tell(Resumed(target=SHOP, at=147, by="eva"))

    assert says(world, R.PAUSED, 147)[0] is False


@pytest.mark.parametrize(
    ("outcome", "locks_out"),
    [
        (RollbackOutcome.FAILED, True),
        (RollbackOutcome.NOT_RECOVERED, True),
        (RollbackOutcome.HOLDING, True),
        (RollbackOutcome.RECOVERED, False),
        (RollbackOutcome.RECOVERED_UNPROVEN, False),
        (RollbackOutcome.FAILED_BEFORE_EFFECT, False),
        (RollbackOutcome.SUPERSEDED, False),
        (RollbackOutcome.CANCELLED, False),
    ],
)
def test_a_rollback_that_did_not_help_locks_out_until_unlocked(
    outcome: RollbackOutcome, locks_out: bool
) -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.ended(150, outcome)
    assert says(world, R.LOCKED_OUT, 151)[0] is locks_out
    assert target_view(world.state, world.policy, 151).locked_out is locks_out

    world.started(152, release(42), release(41), name="r2", automatic=False)
    world.ended(153, name="r2")
    assert says(world, R.LOCKED_OUT, 153)[0] is locks_out  # a later success does not unlock

    world.tell(Unlocked(target=SHOP, at=154, by="eva", reason="seen"))
    assert says(world, R.LOCKED_OUT, 154) == (False, "not locked out")


def test_a_release_that_brings_an_older_one_back_is_not_rolled_back() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(42), release(41))
    world.ok(*range(5, 96, 10))
    world.releases(100, release(43, "image-41"), release(42), release(41))
    world.ok(105)
    world.fail(115, 125, 135, 145)

    assert world.reason(146) is R.RELEASE_IS_ROLLBACK
    assert says(world, R.RELEASE_IS_ROLLBACK)[1] == "v43 brings back the content of v41"


def test_a_release_with_its_predecessors_content_is_no_rollback() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41), release(40))
    world.ok(*range(5, 96, 10))
    world.releases(100, release(42, "image-41"), release(41), release(40))
    world.ok(105)
    world.fail(115, 125, 135, 145)

    held = world.held(146)

    assert (held.reason, held.good) == (R.AWAITING_APPROVAL, release(40))
    assert held.evidence["secrets_drift"] is True


def test_our_own_rollback_is_not_rolled_back() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(150)
    world.ended(160)
    world.fail(165, 175, 185, 195)

    assert world.reason(196) is R.RELEASE_IS_ROLLBACK
    assert says(world, R.RELEASE_IS_ROLLBACK, 196)[1] == "v41 was put back by rollbackd"


def test_a_content_is_rolled_back_from_once() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(150)
    world.ended(160)
    world.releases(500, release(44, "image-42"), release(42), release(41))
    world.ok(505)
    world.fail(515, 525, 535, 545)

    assert world.reason(546) is R.ALREADY_ROLLED_BACK
    assert says(world, R.ALREADY_ROLLED_BACK, 546)[1] == (
        "v44 has the content of v42 that was rolled back from: once is all"
    )


def test_a_person_may_roll_back_without_spending_the_automatic_one() -> None:
    world = breached_world()
    world.started(146, release(42), release(41), automatic=False)
    world.ended(150, RollbackOutcome.CANCELLED)

    assert says(world, R.ALREADY_ROLLED_BACK, 151)[0] is False
    assert says(world, R.COOLING_DOWN, 151)[0] is True


def test_what_failed_before_any_effect_may_be_tried_three_times_more() -> None:
    world = breached_world(shop(cooldown_seconds=0))
    for attempt in range(4):
        assert says(world, R.ALREADY_ROLLED_BACK)[0] is False, attempt
        world.started(146, release(42), release(41), name=f"r{attempt}")
        assert says(world, R.ALREADY_ROLLED_BACK)[0] is True
        world.ended(146, RollbackOutcome.FAILED_BEFORE_EFFECT, name=f"r{attempt}")

    assert says(world, R.ALREADY_ROLLED_BACK)[0] is True
    assert world.state.rollbacks.budget_left(146, SAFETY) == 2


def test_a_persons_rollback_that_failed_before_any_effect_frees_nothing() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.ended(147, RollbackOutcome.CANCELLED)
    world.started(148, release(42), release(41), name="r2", automatic=False)
    world.ended(149, RollbackOutcome.FAILED_BEFORE_EFFECT, name="r2")

    assert says(world, R.ALREADY_ROLLED_BACK)[0] is True
    assert world.state.rollbacks.budget_left(150, SAFETY) == 1


def test_a_failed_deploy_needs_no_time_to_settle() -> None:
    world = World(target(trigger(DeployFailed(), name="deploy"), trigger(down())))
    world.good_start()
    world.ok(98)
    world.machines(99, machine("m1", "image-41", 41), machine("m2", "image-41", 41))
    world.releases(100, release(42, status=RUNNING), release(41))
    world.machines(105, machine("m1", "image-42", 42), machine("m2", "image-41", 41))
    assert world.reason(106) is R.NO_DATA
    world.releases(110, release(42, status=ReleaseStatus.FAILED), release(41))

    decision = world.rolled(111)

    assert (decision.trigger, decision.bad.version) == ("deploy", 42)
    assert decision.why == "shop v42 is bad: 1 of 2 machines run v42, which failed"
    assert decision.onset_at == 100
    assert decision.evidence["machines_on_it"] == 1
    assert says(world, R.SETTLING, 111) == (False, "a failed deploy needs no time to settle")
    assert world.state.ledger.standing(release(42)) == "bad"


def test_many_targets_at_once_are_not_one_bad_release() -> None:
    world = breached_world()

    assert world.reason(146, mass_failing=True) is R.MASS_FAILURE
    assert world.held(146, mass_failing=True).why.endswith("that is not one bad release")


def test_cooling_down_after_any_rollback() -> None:
    world = breached_world()
    world.started(100, release(39), release(38), name="r0", automatic=False)
    world.ended(120, name="r0")

    assert world.reason(146) is R.COOLING_DOWN
    assert says(world, R.COOLING_DOWN) == (True, "the last rollback ended lately, 4.57 min more")
    assert says(world, R.COOLING_DOWN, 419.9)[0] is True
    assert says(world, R.COOLING_DOWN, 420)[0] is False


def test_the_first_release_has_nothing_to_go_back_to() -> None:
    world = World(target(trigger(failing())))
    world.releases(0, release(1))
    world.ok(5)
    world.fail(15)

    assert world.reason(16) is R.NO_GOOD_RELEASE
    assert says(world, R.NO_GOOD_RELEASE, 16)[1] == (
        "no earlier release than v1 is fit to go back to"
    )
    assert says(world, R.IMAGE_MISSING, 16) == (False, "no release to look an image up for")
    assert says(world, R.QUARANTINED_ONLY, 16)[0] is False


def test_no_release_known_is_no_release_to_go_back_to() -> None:
    world = World(target(trigger(failing())))
    world.fail(15)

    assert says(world, R.NO_GOOD_RELEASE, 16) == (True, "no release is known yet")
    assert says(world, R.QUARANTINED_ONLY, 16)[0] is False
    assert says(world, R.ALREADY_ROLLED_BACK, 16)[0] is False
    assert says(world, R.DEPLOY_IN_PROGRESS, 16)[0] is False
    assert says(world, R.RELEASE_IS_ROLLBACK, 16)[0] is False
    assert world.gates(16)[R.NOT_ARMED].holds is True


def test_only_quarantined_releases_are_none_to_go_back_to() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.state.ledger.quarantined.add(release(41))
    world.bad_deploy()
    world.fail(115)

    assert world.reason(116) is R.QUARANTINED_ONLY
    assert says(world, R.QUARANTINED_ONLY, 116)[1] == (
        "every earlier release of other content is quarantined"
    )
    assert says(world, R.NO_GOOD_RELEASE, 116) == (False, "there are earlier releases")


def test_an_image_that_is_gone_is_found_by_the_part_before_the_first_mark() -> None:
    world = World(target(trigger(failing())))
    good = replace(release(41), content="sha256:1+config:a+config:b")
    world.releases(0, good)
    world.bad_deploy()
    world.state.missing_images.add("sha256:1")
    world.state.missing_images.add("sha256:7")

    world.releases(107, release(42), good)
    assert says(world, R.IMAGE_MISSING, 108)[0] is True


@pytest.mark.parametrize("gone", ["image-41", "sha256:1", "sha256:1+config:a"])
def test_an_image_that_is_gone_cannot_be_gone_back_to(gone: str) -> None:
    world = World(target(trigger(failing())))
    good = replace(release(41), content="sha256:1+config:a")
    world.releases(0, good)
    world.ok(*range(5, 96, 10))
    world.releases(100, release(42), good)
    world.ok(105)
    world.fail(115)
    world.state.missing_images.add(gone)

    assert world.reason(116) is R.IMAGE_MISSING
    assert says(world, R.IMAGE_MISSING, 116)[1] == "the image of v41 is gone: image-41"


# Modes and what caps them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_target", "of_trigger", "ceiling", "reason"),
    [
        (Mode.AUTO, None, Mode.AUTO, None),
        (Mode.AUTO, Mode.APPROVE, Mode.AUTO, R.AWAITING_APPROVAL),
        (Mode.APPROVE, Mode.AUTO, Mode.AUTO, R.AWAITING_APPROVAL),
        (Mode.AUTO, Mode.OBSERVE, Mode.AUTO, R.OBSERVE_MODE),
        (Mode.OBSERVE, None, Mode.AUTO, R.OBSERVE_MODE),
        (Mode.AUTO, None, Mode.APPROVE, R.AWAITING_APPROVAL),
        (Mode.AUTO, Mode.AUTO, Mode.OBSERVE, R.OBSERVE_MODE),
    ],
)
def test_the_most_careful_mode_wins(
    of_target: Mode, of_trigger: Mode | None, ceiling: Mode, reason: HoldReason | None
) -> None:
    one = target(trigger(down(), mode=of_trigger), mode=of_target)
    world = breached_world(one, ceiling=ceiling)

    if reason is None:
        assert world.rolled(146).evidence.get("caps") is None
    else:
        assert world.reason(146) is reason
        assert says(world, reason)[0] is True


def test_the_mode_itself_is_what_an_approval_is_asked_for() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.APPROVE))

    assert says(world, R.AWAITING_APPROVAL)[1] == "needs approval: the mode is approve"
    assert says(world, R.OBSERVE_MODE) == (False, "the mode is approve")


def test_a_release_never_seen_well_needs_approval() -> None:
    world = World(target(trigger(failing())))
    world.releases(0, release(42), release(41))
    world.ok(*range(5, 96, 10))
    world.fail(105)

    held = world.held(106)

    assert held.reason is R.AWAITING_APPROVAL
    assert held.why.endswith("needs approval: v41 was never seen well")
    assert held.evidence["capped_to"] == "approve"
    assert held.evidence["caps"] == ["v41 was never seen well"]


def budget_world(rollbacks: int = 2, *, mode: Mode = Mode.AUTO) -> World:
    world = breached_world(target(trigger(down()), mode=mode))
    for number in range(rollbacks):
        at = -1000.0 + number
        world.started(at, release(number), release(99), name=f"r{number}")
        world.ended(at, name=f"r{number}")
    return world


def test_a_spent_budget_needs_approval() -> None:
    world = budget_world()

    held = world.held(146)

    assert held.reason is R.BUDGET_SPENT
    assert held.why.endswith(
        "the budget of 2 rollbacks in 24 h is spent: the next one needs approval, and pages"
    )
    assert held.evidence["caps"] == ["budget spent"]
    assert target_view(world.state, world.policy, 146).budget_left == 0
    assert budget_world(1).rolled(146)
    assert target_view(world.state, world.policy, -1000 + 86400).budget_left == 1
    assert world.state.rollbacks.budget_left(-1000 + 86399.9, SAFETY) == 0


def test_a_spent_budget_changes_nothing_below_auto() -> None:
    assert budget_world(mode=Mode.OBSERVE).reason(146) is R.OBSERVE_MODE
    assert budget_world(mode=Mode.APPROVE).reason(146) is R.AWAITING_APPROVAL
    assert says(budget_world(mode=Mode.APPROVE), R.BUDGET_SPENT)[0] is False


def test_an_overspent_budget_is_not_negative() -> None:
    assert budget_world(3).state.rollbacks.budget_left(146, SAFETY) == 0


OFFICE = TimeWindow(
    name="office",
    days=frozenset(range(5)),
    from_minute=540,
    to_minute=1020,
    tz="Europe/Berlin",
    mode=Mode.APPROVE,
)
NIGHT = replace(OFFICE, name="night", from_minute=1320, to_minute=360, mode=Mode.OBSERVE)


def windowed(
    *windows: TimeWindow, weekday: int = 0, minute: int = 600, mode: Mode = Mode.AUTO
) -> World:
    world = breached_world(
        target(trigger(down()), safety=replace(SAFETY, windows=windows), mode=mode)
    )
    world.state.local_minutes = {"Europe/Berlin": (weekday, minute)}
    return world


@pytest.mark.parametrize(
    ("window", "weekday", "minute", "on"),
    [
        (OFFICE, 0, 540, True),
        (OFFICE, 0, 539, False),
        (OFFICE, 4, 1019, True),
        (OFFICE, 4, 1020, False),
        (OFFICE, 5, 600, False),
        (NIGHT, 0, 1320, True),
        (NIGHT, 0, 1319, False),
        (NIGHT, 1, 359, True),
        (NIGHT, 1, 360, False),
        (NIGHT, 5, 359, True),  # the night of Friday
        (NIGHT, 6, 359, False),
        (NIGHT, 0, 359, False),  # Sunday is no day of it
        (NIGHT, 5, 1400, False),
        (replace(NIGHT, to_minute=1320), 1, 1000, True),  # all day and night
        (replace(NIGHT, days=frozenset({6})), 0, 100, True),  # from Sunday into Monday
    ],
)
def test_a_window_is_on_by_local_weekday_and_minute(
    window: TimeWindow, weekday: int, minute: int, on: bool
) -> None:
    world = windowed(window, weekday=weekday, minute=minute)

    assert says(world, R.WINDOW)[0] is on
    if on:
        held = world.held(146)
        assert held.reason is R.WINDOW
        assert f"the window {window.name} allows {window.mode.value} only" in held.why
        assert held.evidence["caps"] == [f"window {window.name}"]
    else:
        assert world.rolled(146).bad.version == 42


def test_a_window_whose_local_time_is_unknown_counts_as_on() -> None:
    world = windowed(OFFICE, weekday=6)
    world.state.local_minutes = {}

    assert world.reason(146) is R.WINDOW


def test_the_most_careful_of_several_windows_counts() -> None:
    world = windowed(OFFICE, replace(OFFICE, name="freeze", mode=Mode.OBSERVE))

    assert "the window freeze allows observe only" in world.held(146).why


def test_a_window_that_allows_as_much_as_the_mode_holds_nothing() -> None:
    assert windowed(OFFICE, mode=Mode.APPROVE).reason(146) is R.AWAITING_APPROVAL
    assert windowed(replace(OFFICE, mode=Mode.AUTO)).rolled(146)


# Approval ----------------------------------------------------------------------------------------


def approve(world: World, at: float, rollback: str = "shop-v42-to-v41") -> None:
    world.tell(Approved(target=SHOP, at=at, rollback=RollbackId(rollback), by="eva"))


def approving() -> World:
    return breached_world(target(trigger(down()), mode=Mode.APPROVE))


def test_an_approved_proposal_is_carried_out_in_the_approvers_name() -> None:
    world = approving()
    approve(world, 146)

    decision = world.rolled(147)

    assert (decision.requested_by, decision.trigger) == ("eva", "health-down")
    assert says(world, R.AWAITING_APPROVAL, 147) == (False, "approved by eva")


def test_an_approval_counts_for_its_proposal_and_its_time_only() -> None:
    other = approving()
    approve(other, 146, "shop-v42-to-v40")
    assert other.reason(147) is R.AWAITING_APPROVAL

    world = approving()
    approve(world, 146)
    assert says(world, R.AWAITING_APPROVAL, 746)[0] is False
    assert says(world, R.AWAITING_APPROVAL, 746.1)[0] is True


def test_an_approval_does_not_outlive_the_breach_it_was_given_for() -> None:
    world = approving()
    approve(world, 146)
    world.ok(155)
    world.fail(165, 175, 185, 195)

    assert world.reason(196) is R.AWAITING_APPROVAL


def test_an_approval_given_at_the_breach_itself_counts() -> None:
    world = approving()
    approve(world, 145)

    assert world.rolled(146)


def test_an_approval_is_used_up_by_a_rollback() -> None:
    world = approving()
    approve(world, 146)
    world.started(147, release(42), release(41), automatic=False)
    world.ended(148, RollbackOutcome.CANCELLED)

    assert says(world, R.AWAITING_APPROVAL, 149)[0] is True


def test_a_rejection_keeps_it_until_it_is_approved_after_all() -> None:
    world = approving()
    approve(world, 146)
    world.tell(Rejected(target=SHOP, at=147, rollback=RollbackId("shop-v42-to-v41"), by="bob"))
    assert world.reason(148) is R.AWAITING_APPROVAL
    assert says(world, R.AWAITING_APPROVAL, 148) == (True, "rejected by bob")

    approve(world, 149)

    assert world.rolled(150).requested_by == "eva"


def test_an_approval_lifts_the_budget_and_an_approve_window_but_not_an_observe_one() -> None:
    spent = budget_world()
    approve(spent, 146)
    assert spent.rolled(146).requested_by == "eva"
    assert says(spent, R.BUDGET_SPENT)[0] is False

    office = windowed(OFFICE)
    approve(office, 146)
    assert office.rolled(146).requested_by == "eva"

    frozen = windowed(replace(OFFICE, mode=Mode.OBSERVE))
    approve(frozen, 146)
    assert frozen.reason(146) is R.WINDOW


def test_an_approval_opens_no_other_gate() -> None:
    world = approving()
    approve(world, 146)
    world.control(146, ok=False)

    assert world.reason(147) is R.BLIND


def test_without_a_release_to_go_back_to_nothing_can_be_approved() -> None:
    world = World(target(trigger(failing()), mode=Mode.APPROVE))
    world.fail(15)
    approve(world, 16, "None")

    assert says(world, R.AWAITING_APPROVAL, 17)[1].startswith("needs approval")


# Several triggers --------------------------------------------------------------------------------


def two(first: Mode, second: Mode, **more: object) -> World:
    return breached_world(
        target(
            trigger(down(), name="first", mode=first),
            trigger(failing(), name="second", mode=second),
        )
    )


def test_the_first_trigger_that_passes_acts() -> None:
    assert two(Mode.AUTO, Mode.AUTO).rolled(146).trigger == "first"
    assert two(Mode.OBSERVE, Mode.AUTO).rolled(146).trigger == "second"


def test_a_hold_is_about_the_trigger_that_came_furthest() -> None:
    world = two(Mode.OBSERVE, Mode.APPROVE)
    assert (world.held(146).trigger, world.reason(146)) == ("second", R.AWAITING_APPROVAL)
    assert says(world, R.OBSERVE_MODE)[0] is False

    other = two(Mode.APPROVE, Mode.OBSERVE)
    assert (other.held(146).trigger, other.reason(146)) == ("first", R.AWAITING_APPROVAL)
    assert says(other, R.OBSERVE_MODE)[0] is False

    same = two(Mode.OBSERVE, Mode.OBSERVE)
    assert same.held(146).trigger == "first"


def test_a_warning_is_shown_and_never_acts() -> None:
    warning = trigger(failing(), name="warning", severity=Severity.WARNING)
    world = breached_world(target(warning, trigger(locks(), name="locks")))
    world.value(140, 1)

    held = world.held(146)

    assert (held.reason, held.trigger) == (R.OK, None)
    assert [v.state for v in held.verdicts] == [TriggerState.BREACHED, TriggerState.OK]
    assert target_view(world.state, world.policy, 146).healthy is True
    assert world.state.ledger.standing(release(42)) == "unknown"


def test_a_target_of_warnings_only_is_ok_whatever_they_say() -> None:
    world = breached_world(target(trigger(failing(), severity=Severity.WARNING)))

    assert world.reason(146) is R.OK
    assert world.gates(146) == {}
    assert target_view(world.state, world.policy, 146).healthy is None


def test_a_target_without_triggers_has_no_data() -> None:
    world = World(target())

    held = world.held(5)

    assert (held.reason, held.why, held.trigger) == (R.NO_DATA, "no triggers", None)


def test_in_peace_the_worst_trigger_gives_the_reason() -> None:
    world = World(
        target(
            trigger(failing(), name="health"),
            trigger(locks(for_seconds=20), name="locks"),
            trigger(failing("machines"), name="machines"),
        )
    )
    world.ok(5)
    world.value(5, 50)
    assert (world.reason(6), world.held(6).trigger) == (R.NO_DATA, "machines")
    world.ok(7, name="machines")
    assert (world.reason(8), world.held(8).trigger) == (R.PENDING, "locks")
    assert world.held(8).why == "locks 50 above 20, for 0 s of 20 s"
    world.miss(20, name="machines", reason="source_error")
    world.ok(20)
    world.value(20, 1)
    assert (world.reason(28), world.held(28).trigger) == (R.ERROR, "machines")
    world.ok(30, 31, name="machines")
    world.ok(31)
    world.value(31, 1)
    held = world.held(32)
    assert (held.reason, held.trigger, held.why) == (R.OK, None, "health not failing")


def test_in_peace_explain_speaks_of_the_first_trigger_that_acts() -> None:
    warning = trigger(failing(), name="warning", severity=Severity.WARNING)
    world = World(target(warning, trigger(locks(), name="locks", mode=Mode.OBSERVE)))

    assert world.gates(5)[R.OBSERVE_MODE].holds is True


def test_where_it_only_observes_nobody_is_asked() -> None:
    """The gate of the mode says that it observes; this one must not say it once more."""
    world = breached_world(target(trigger(down()), mode=Mode.OBSERVE))

    assert says(world, R.AWAITING_APPROVAL, 146) == (False, "nobody is asked in mode observe")
