"""Whether a breach can be laid at the current release's door."""

from dataclasses import replace

import pytest

from rollbackd.core.model import HoldReason, ReleaseStatus, TriggerName, TriggerState
from rollbackd.core.rules import (
    Composite,
    DeployFailed,
    Mode,
    NoData,
    RatioBound,
    Severity,
    TriggerRef,
)
from tests.unit.core.world import (
    SAFETY,
    World,
    below,
    breached_world,
    down,
    error_rate,
    failing,
    locks,
    machine,
    release,
    target,
    trigger,
)

RUNNING = ReleaseStatus.RUNNING


def doubts(world: World, now: float) -> object:
    held = world.held(now)
    assert held.reason is HoldReason.AWAITING_APPROVAL
    return held.evidence["caps"]


UNSEEN = "it is not known whether it was well before the release"


def test_what_was_breached_before_the_release_is_not_blamed_on_it() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(*range(105, 150, 10))
    world.bad_deploy(150)
    world.fail(165, 175, 185, 195)

    held = world.held(196)

    assert held.reason is HoldReason.NOT_SINCE_RELEASE
    assert held.why.endswith("was wrong 45 s before the release came, and not well since")


def test_what_was_only_pending_before_the_release_is_not_blamed_on_it_either() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(105)
    world.bad_deploy(110)
    world.fail(125, 135, 145, 155)

    assert world.reason(156) is HoldReason.NOT_SINCE_RELEASE


def test_what_was_well_again_under_the_release_is_blamed_on_it() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41, created_at=-5000))
    world.fail(*range(105, 150, 10))
    world.bad_deploy(150)
    world.ok(165, 175, 185)
    world.fail(195, 205, 215, 225)

    assert doubts(world, 226) == ["v41 was never seen well"]
    assert world.gates(226)[HoldReason.NOT_SINCE_RELEASE].holds is False


def test_three_good_looks_of_four_do_not_yet_make_it_well_again() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(*range(105, 150, 10))
    world.bad_deploy(150)
    world.ok(165, 175)
    world.fail(185, 195, 205, 215)

    assert world.reason(216) is HoldReason.NOT_SINCE_RELEASE


def test_a_good_look_after_a_failed_one_is_well_enough_before_a_release() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(105)
    world.ok(115)
    world.bad_deploy(120)
    world.fail(135, 145, 155, 165)

    assert world.rolled(166).good.version == 41
    world2 = World(target(trigger(failing(for_seconds=30))))
    world2.good_start()
    world2.fail(105)
    world2.ok(115)
    world2.bad_deploy(120)
    world2.fail(135, 145, 155, 165)
    assert world2.rolled(166).bad.version == 42


@pytest.mark.parametrize("created_at", [None, 101])
def test_the_restart_of_the_only_machine_is_since_the_release(created_at: float | None) -> None:
    """The old machine is gone before the new one is seen: failures of that moment are no alibi."""
    world = World(target(trigger(down())))
    world.good_start()
    world.machines(98, machine("m1", "image-41", 41))
    world.fail(105, 110)
    world.machines(113, machine("m1", "image-42", 42))
    world.releases(113, release(42, created_at=created_at), release(41))
    world.ok(115)
    world.fail(125, 135, 145, 155)

    assert world.rolled(156).bad.version == 42


def test_a_breach_before_the_first_machine_was_seen_switched_is_not_since_the_release() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.releases(100, release(42, status=RUNNING), release(41))
    world.machines(100, machine("m1", "image-41", 41))
    world.fail(105)
    world.machines(110, machine("m1", "image-41", 41))
    world.fail(115)
    world.machines(120, machine("m1", "image-42", 42))
    world.releases(121, release(42), release(41))
    world.ok(122)
    world.fail(125, 135, 145, 155)

    assert world.reason(156) is HoldReason.NOT_SINCE_RELEASE


def test_nothing_seen_before_the_release_needs_a_person() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.releases(125, release(42), release(41))
    world.ok(130)
    assert world.verdict(130).state is TriggerState.OK  # well under the release: no doubt is left
    world.fail(140)
    assert world.rolled(141).bad.version == 42

    silent = World(target(trigger(failing(), name="f"), trigger(down("machines"), name="m")))
    silent.good_start()
    silent.releases(100, release(42), release(41))
    silent.ok(105)
    silent.fail(*range(106, 146, 10), name="machines")
    assert silent.held(140).trigger == "m"
    assert doubts(silent, 140) == [UNSEEN]


def test_a_probe_that_fell_silent_before_the_release_leaves_a_doubt() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.releases(115.1, release(42), release(41))
    world.fail(176)

    assert doubts(world, 176) == [UNSEEN]


def test_a_probe_seen_just_in_time_before_the_release_leaves_none() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.releases(115, release(42), release(41))
    world.fail(176)

    assert world.rolled(176).bad.version == 42


def test_between_breach_and_clear_it_is_not_known_to_be_well() -> None:
    clear = RatioBound(bound=below(0.02))
    rule = error_rate(for_seconds=0, window_seconds=10, clear=clear)
    world = World(target(trigger(rule)))
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.ratio(at, 3, 100)
    world.ok(95)
    world.bad_deploy()
    for at in (105, 115, 125):
        world.ratio(at, 50, 100)

    assert UNSEEN in list(doubts(world, 126))  # type: ignore[call-overload]  # a list of lines


def test_a_second_release_before_the_first_was_judged_inherits_what_was_known() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.releases(100, release(42), release(41))
    world.fail(105)
    world.releases(110, release(43), release(42), release(41))
    world.fail(115, 175)

    assert world.rolled(175).bad.version == 43
    assert world.rolled(175).good.version == 41


def test_a_second_release_inherits_the_guilt_of_the_first() -> None:
    world = breached_world()
    world.releases(150, release(43), release(42), release(41))
    world.ok(155)
    world.fail(165, 175, 185, 195)

    assert world.reason(196) is HoldReason.NOT_SINCE_RELEASE

    world.releases(200, release(44), release(43), release(42), release(41))
    world.ok(205)
    world.fail(215, 225, 235, 245)
    assert world.reason(246) is HoldReason.NOT_SINCE_RELEASE


def test_guilt_is_inherited_over_a_release_that_was_never_judged() -> None:
    world = breached_world()
    world.releases(150, release(43), release(42), release(41))
    world.releases(152, release(44), release(43), release(42), release(41))
    world.ok(155)
    world.fail(165, 175, 185, 195)

    held = world.held(196)

    assert held.reason is HoldReason.NOT_SINCE_RELEASE
    assert "was wrong 37 s before the release came" in held.why


def test_a_gap_before_the_second_release_leaves_a_doubt() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.releases(100, release(42), release(41))
    world.fail(135)  # after a gap, and while it settles
    world.releases(140, release(43), release(42), release(41))
    world.fail(145, 155, 165, 175, 185, 195, 205)

    assert UNSEEN in list(doubts(world, 205))  # type: ignore[call-overload]  # a list of lines


def test_a_new_release_starts_its_windows_anew() -> None:
    world = breached_world()
    world.releases(150, release(43), release(42), release(41))
    assert world.verdict(150).state is TriggerState.NO_DATA

    world.fail(155)
    assert world.reason(156) is HoldReason.SETTLING


# Watch -----------------------------------------------------------------------------------------


def test_outside_the_watch_the_release_is_not_what_broke() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.bad_deploy()
    world.ok(*range(115, 3700, 10))
    world.fail(3700)
    assert world.rolled(3700).bad.version == 42

    held = world.held(3700.5)

    assert held.reason is HoldReason.NOT_ARMED
    assert "longer than the watch of 60 min" in held.why


# Vetoes ----------------------------------------------------------------------------------------


def vetoed_world(rule: object = None) -> World:
    veto = failing("database") if rule is None else rule
    world = World(target(trigger(down(), unless=(veto,))))  # type: ignore[arg-type]  # a signal
    world.good_start()
    world.bad_deploy()
    return world


def test_a_failing_dependency_vetoes() -> None:
    world = vetoed_world()
    world.fail(140, name="database")
    world.fail(115, 125, 135, 145)

    held = world.held(146)

    assert (held.reason, held.why.endswith("; database failing")) == (HoldReason.VETOED, True)


def test_a_dependency_that_is_well_does_not_veto() -> None:
    world = vetoed_world()
    world.ok(140, name="database")
    world.fail(115, 125, 135, 145)

    assert world.rolled(146).bad.version == 42


def test_a_dependency_that_cannot_be_looked_at_vetoes() -> None:
    world = vetoed_world()
    world.ok(100, name="database")
    world.miss(140, name="database", reason="source_unreachable")
    world.fail(115, 125, 135, 145)

    assert world.reason(146) is HoldReason.VETOED


def test_a_veto_whose_silence_is_declared_ok_stands_aside() -> None:
    world = vetoed_world(failing("database", no_data=NoData.OK))
    world.fail(115, 125, 135, 145)

    assert world.rolled(146).bad.version == 42


def test_a_veto_is_not_started_anew_by_the_release_and_does_not_settle() -> None:
    world = vetoed_world(down("database", 2, 2))
    world.fail(110, name="database")
    world.releases(115, release(43), release(42), release(41))
    world.fail(120, name="database")

    says = world.gates(121)[HoldReason.VETOED]

    assert (says.holds, says.why) == (True, "database failing in 2 of the last 2 looks")


@pytest.mark.parametrize(("locked", "reason"), [(50, HoldReason.VETOED), (1, None)])
def test_another_trigger_may_be_the_veto(locked: float, reason: HoldReason | None) -> None:
    ref = TriggerRef(trigger=TriggerName("locks"))
    warning = trigger(locks(40), name="locks", severity=Severity.WARNING)
    world = World(target(trigger(down(), unless=(ref,)), warning))
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125, 135, 145)
    world.value(145, locked)

    if reason is None:
        assert world.rolled(146).trigger == "health-down"
    else:
        assert "locks: locks 50 above 40" in world.gates(146)[reason].why


# Composites ------------------------------------------------------------------------------------


def composite(*, every: bool, unless: bool = False) -> World:
    parts = (failing(), locks(20, for_seconds=10))
    veto = (TriggerRef(trigger=TriggerName("both")),)
    both = trigger(Composite(every=every, parts=parts), name="both")
    more = (trigger(down("machines"), name="other", unless=veto),) if unless else ()
    return World(target(both, *more))


@pytest.mark.parametrize(
    ("check", "value", "all_of", "any_of"),
    [
        ("ok", 1, TriggerState.OK, TriggerState.OK),
        ("failed", 1, TriggerState.OK, TriggerState.BREACHED),
        ("ok", 50, TriggerState.PENDING, TriggerState.PENDING),
        ("failed", 50, TriggerState.PENDING, TriggerState.BREACHED),
        ("failed", None, TriggerState.NO_DATA, TriggerState.BREACHED),
        ("refused", None, TriggerState.ERROR, TriggerState.ERROR),
        ("refused", 50, TriggerState.ERROR, TriggerState.ERROR),
        ("ok", None, TriggerState.NO_DATA, TriggerState.NO_DATA),
    ],
)
def test_the_worst_part_speaks_for_any_and_what_is_not_breached_for_all(
    check: str, value: float | None, all_of: TriggerState, any_of: TriggerState
) -> None:
    for every, expected in ((True, all_of), (False, any_of)):
        world = composite(every=every)
        world.check(10, check)
        if value is not None:
            world.value(10, value)
        assert world.verdict(10).state is expected, every


def test_all_is_breached_since_the_last_part_joined_and_any_since_the_first() -> None:
    for every, onset in ((True, 20), (False, 10)):
        world = composite(every=every)
        world.fail(10, 20, 30)
        world.value(20, 50)
        world.value(30, 50)

        verdict = world.verdict(30)

        assert verdict.state is TriggerState.BREACHED
        assert (verdict.evidence["onset_at"], verdict.since) == (onset, onset)
        joined = " and " if every else "; "
        assert verdict.why == f"health failing{joined}locks 50 above 20"
        assert verdict.evidence["health"] == "breached"


def test_a_composite_in_peace_is_so_as_of_now() -> None:
    world = composite(every=True)
    world.ok(10)
    world.value(10, 1)

    assert (world.verdict(12).since, world.verdict(12).samples) == (12, 2)


def test_a_composite_is_blamed_when_one_part_went_bad_since_the_release() -> None:
    world = composite(every=True)
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.ok(at)
        world.value(at, 50)
    world.bad_deploy()
    for at in (115, 125, 135):
        world.fail(at)
        world.value(at, 50)

    assert world.rolled(136).evidence["goal_standing"] == "good"


def test_a_composite_whose_every_part_was_bad_before_is_not_blamed() -> None:
    world = composite(every=True)
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.fail(at)
        world.value(at, 50)
    world.bad_deploy(answers=False)
    for at in (165, 175, 185):
        world.fail(at)
        world.value(at, 50)

    assert world.reason(186) is HoldReason.NOT_SINCE_RELEASE


def test_a_composite_may_refer_to_other_triggers() -> None:
    parts = (TriggerRef(trigger=TriggerName("health-down")), locks())
    both = trigger(Composite(every=True, parts=parts), name="both", mode=Mode.AUTO)
    first = trigger(down(), mode=Mode.OBSERVE)
    world = World(target(first, both))
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.ok(at)
        world.value(at, 1)
    world.bad_deploy()
    for at in (115, 125, 135, 145):
        world.fail(at)
        world.value(at, 50)

    decision = world.rolled(146)

    assert decision.trigger == "both"
    assert decision.evidence["health-down"] == "breached"
    assert world.state.ledger.standing(release(42)) == "bad"


def test_a_composite_vetoes_unless_it_is_known_not_to_be_breached() -> None:
    for every, value, vetoes in ((True, None, False), (False, None, True), (False, 1, False)):
        world = composite(every=every, unless=True)
        world.good_start()
        world.ok(*range(6, 97, 10), name="machines")
        world.bad_deploy()
        for at in (115, 125, 135, 145):
            world.ok(at)
            world.fail(at, name="machines")
        if value is not None:
            world.value(145, value)
        assert world.gates(146)[HoldReason.VETOED].holds is vetoes, (every, value)


@pytest.mark.parametrize(("status", "vetoes"), [("complete", False), ("failed", True)])
def test_a_failed_deploy_may_be_a_veto(status: str, vetoes: bool) -> None:
    deploy = trigger(DeployFailed(), name="deploy", severity=Severity.WARNING)
    veto = TriggerRef(trigger=TriggerName("deploy"))
    world = World(target(trigger(failing(), unless=(veto,)), deploy))
    world.good_start()
    world.machines(99, machine("m1", "image-41", 41))
    world.machines(100, machine("m1", "image-42", 42))
    world.releases(100, release(42, status=ReleaseStatus(status)), release(41))
    world.ok(105)
    world.fail(115)

    assert world.gates(116)[HoldReason.VETOED].holds is vetoes


def test_a_composite_of_a_failed_deploy_and_a_signal_is_judged() -> None:
    parts = (TriggerRef(trigger=TriggerName("deploy")), failing())
    deploy = trigger(DeployFailed(), name="deploy", mode=Mode.OBSERVE)
    world = World(target(deploy, trigger(Composite(every=True, parts=parts), name="both")))
    world.good_start()
    world.machines(99, machine("m1", "image-41", 41))
    world.machines(100, machine("m1", "image-42", 42))
    world.releases(100, release(42, status=ReleaseStatus.FAILED), release(41))
    world.ok(105)
    world.fail(115)

    assert world.rolled(116).trigger == "both"


@pytest.mark.parametrize(("every", "good"), [(True, True), (False, False)])
def test_a_composite_in_trouble_as_its_successor_comes_keeps_a_release_from_being_good(
    every: bool, good: bool
) -> None:
    world = composite(every=every)
    world.releases(0, release(41))
    for at in range(5, 96, 10):
        world.ok(at)
        world.value(at, 1)
    world.fail(99)
    world.bad_deploy()

    assert (world.state.ledger.standing(release(41)) == "good") is good


def test_nobody_is_blamed_while_our_own_network_is_in_doubt() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()
    world.control(110, ok=False)
    world.fail(115, 125, 135, 145)

    assert world.reason(146) is HoldReason.BLIND
    assert world.state.ledger.standing(release(42)) == "unknown"


def test_a_breach_marks_the_release_bad_only_within_the_watch() -> None:
    for watch, standing in ((45, "bad"), (44, "unknown")):
        world = breached_world(target(trigger(down()), safety=replace(SAFETY, watch_seconds=watch)))
        assert world.state.ledger.standing(release(42)) == standing


def test_a_few_good_looks_and_never_a_bad_one_are_enough_to_blame_the_release() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.ok(5, 15)
    world.bad_deploy(20)
    world.fail(35, 45, 55, 65)

    assert world.rolled(66).bad.version == 42


def test_after_a_bad_look_a_few_good_ones_are_not_enough() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.fail(65)
    world.ok(75)
    world.bad_deploy(80, answers=False)
    world.fail(145, 155, 165, 175)

    assert UNSEEN in str(doubts(world, 176))


def test_after_a_gap_a_few_good_looks_are_not_enough() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.ok(5)
    world.ok(95)
    world.bad_deploy(100, answers=False)
    world.fail(165, 175, 185, 195)

    assert UNSEEN in str(doubts(world, 196))


def test_after_a_refusal_a_few_good_looks_are_not_enough() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.ok(5)
    world.refuse(15)
    world.ok(25)
    world.bad_deploy(30, answers=False)
    world.fail(95, 105, 115, 125)

    assert UNSEEN in str(doubts(world, 126))
