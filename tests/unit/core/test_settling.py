"""A start may take its time, a refusal is not a failure, and sleep is neither."""

from dataclasses import replace

import pytest

from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import Hold, HoldReason, RollBack, TriggerState
from tests.unit.core.world import (
    SAFETY,
    World,
    breached_world,
    down,
    error_rate,
    failing,
    locks,
    machine,
    probe,
    release,
    slow,
    target,
    trigger,
)


def one_machine(boots: int, *, triggers: tuple[str, ...] = ()) -> World:
    """v42 replaces the only machine at 100; the app answers again `boots` seconds later."""
    world = World(target(trigger(down()), trigger(error_rate(), name="errors")))
    world.releases(0, release(41))
    world.machines(0, machine("m1", "image-41", 41))
    for at in range(5, 96, 10):
        world.ok(at)
        world.ratio(at, 0, 100)
    world.releases(100, release(42), release(41))
    world.machines(100, machine("m1", "image-42", 42))
    for at in range(105, 300, 5):
        answers = at >= 100 + boots
        world.check(at, "ok" if answers else "failed")
        world.ratio(at + 1, 0 if answers else 50, 50)
        decision = world.decide(at + 1)
        assert isinstance(decision, Hold) or not answers, (at, decision)
        if isinstance(decision, RollBack):
            break
    return world


def test_a_healthy_release_that_boots_for_45_seconds_on_its_only_machine_is_left_alone() -> None:
    world = one_machine(45)

    assert world.reason(297) is HoldReason.OK


def test_a_release_that_never_answers_is_judged_once_its_time_is_over() -> None:
    world = one_machine(1000)

    decision = world.rolled(180)

    assert (decision.trigger, decision.bad.version) == ("health-down", 42)
    assert decision.onset_at == 165  # the first failure after the 60 s it was given


def test_while_it_settles_failed_looks_are_said_and_not_counted() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.fail(105, 115, 125, 135, 145)

    held = world.held(146)

    assert held.reason is HoldReason.SETTLING
    assert held.why == "5 failed looks not counted, the release may settle 14 s more"
    assert world.gates(146)[HoldReason.SETTLING].holds
    assert world.gates(146)[HoldReason.SETTLING].why == (
        "the release may settle for 14 s more, or until its first success"
    )


def test_settling_ends_by_itself_without_a_sample() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.fail(105)

    assert world.gates(159.9)[HoldReason.SETTLING].holds
    assert not world.gates(160)[HoldReason.SETTLING].holds
    assert world.reason(161) is HoldReason.NO_DATA


def test_the_first_success_ends_settling_and_counts() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.fail(105)
    world.ok(115)
    assert world.verdict(115).state is TriggerState.OK
    world.fail(125)

    assert world.rolled(125).onset_at == 125


def test_the_old_process_answering_before_its_machine_restarts_ends_nothing() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.machines(99, machine("m1", "image-41", 41))
    world.releases(100, release(42), release(41))
    world.machines(100, machine("m1", "image-42", 42, state="replacing"))
    world.ok(101)
    world.fail(105, 115, 125, 135, 145)

    assert world.reason(146) is HoldReason.SETTLING


def test_a_success_counts_when_one_machine_of_the_release_is_started() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.releases(100, release(42), release(41))
    world.machines(
        100, machine("m1", "image-42", 42, state="starting"), machine("m2", "image-42", 42)
    )
    world.ok(105)

    assert not world.state.deploys.settling(106, SAFETY)


def test_a_success_counts_when_no_machine_is_known_to_run_the_release() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.machines(99, machine("m1", "image-41", 41))
    world.bad_deploy()

    assert not world.state.deploys.settling(106, SAFETY)


def test_a_sample_taken_as_the_release_came_ends_nothing() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.ok(100)

    assert world.state.deploys.settling(101, SAFETY)


def test_settling_may_be_told_to_last_its_full_time() -> None:
    safety = replace(SAFETY, settle_until_first_success=False, settle_at_most_seconds=30)
    world = World(target(trigger(failing()), safety=safety))
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125)
    assert isinstance(world.decide(130), Hold)

    world.fail(135)

    assert world.rolled(135).onset_at == 135


@pytest.mark.parametrize(
    ("boots", "allowance"),
    [((), 60), ((20,), 60), ((40,), 80), ((40, 200), 180), ((-5, float("nan")), 60)],
)
def test_auto_is_twice_the_slowest_boot_within_its_bounds(
    boots: tuple[float, ...], allowance: float
) -> None:
    world = World(target(trigger(down())))
    for at, seconds in enumerate(boots):
        world.machines(at, machine("m1", "a", boot_seconds=seconds, started_at=float(at)))

    assert world.state.deploys.allowance(SAFETY) == allowance


def test_only_the_last_ten_boots_count_and_each_once() -> None:
    world = World(target(trigger(down())))
    slow_boot = machine("m1", "a", boot_seconds=80.0, started_at=0.0)
    world.machines(0, slow_boot)
    for at in range(1, 10):
        world.machines(at, slow_boot, machine("m2", "a", boot_seconds=1.0, started_at=float(at)))
    assert world.state.deploys.allowance(SAFETY) == 160

    world.machines(10, machine("m2", "a", boot_seconds=1.0, started_at=10.0))

    assert world.state.deploys.allowance(SAFETY) == 60


def test_boots_remembered_are_bounded() -> None:
    world = World(target(trigger(down())))
    for at in range(300):
        world.machines(at, machine("m1", "a", boot_seconds=1.0, started_at=float(at)))

    assert len(world.state.deploys._boots) == 200


def test_a_machine_that_does_not_tell_its_start_tells_no_boot() -> None:
    world = World(target(trigger(down())))
    world.machines(0, machine("m1", "a", boot_seconds=80.0))

    assert world.state.deploys.allowance(SAFETY) == 60


def settled_by(world: World) -> bool:
    return not world.state.deploys.settling(106, SAFETY)


def test_where_checks_are_probed_only_a_check_says_that_the_app_is_up() -> None:
    world = World(target(trigger(error_rate())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.ratio(105, 0, 100)

    assert not settled_by(world)


@pytest.mark.parametrize(("bad", "settled"), [(49, True), (50, False)])
def test_without_checks_requests_that_mostly_succeed_end_settling(bad: int, settled: bool) -> None:
    errors = probe("errors", MeasureKind.RATIO)
    world = World(target(trigger(error_rate()), probes=(errors,)))
    world.releases(0, release(41))
    world.bad_deploy(answers=False)
    world.ratio(105, bad, 100)

    assert settled_by(world) is settled


def test_without_checks_any_plain_number_ends_settling() -> None:
    world = World(target(trigger(locks()), probes=(probe("locks", MeasureKind.VALUE),)))
    world.releases(0, release(41))
    world.bad_deploy(answers=False)
    world.value(105, 50)

    assert settled_by(world)
    assert world.verdict(105).state is TriggerState.BREACHED


def test_errors_of_the_boot_do_not_reach_into_the_time_after_it() -> None:
    world = World(target(trigger(error_rate(for_seconds=0, min_samples=1))))
    world.good_start()
    for at in range(6, 100, 10):
        world.ratio(at, 0, 100)
    world.bad_deploy(answers=False)
    world.ratio(106, 100, 100)
    world.ok(107)
    world.ratio(116, 100, 100)  # begun before the success: it also tells of the boot
    assert world.verdict(116).state is TriggerState.NO_DATA

    world.ratio(126, 0, 100)

    assert world.verdict(126).state is TriggerState.OK


def test_a_probe_that_speaks_late_is_not_believed_about_the_time_before() -> None:
    late = replace(probe("errors", MeasureKind.RATIO), delay_seconds=30)
    health = probe("health", MeasureKind.CHECK)
    rule = error_rate(for_seconds=0, min_samples=1)
    world = World(target(trigger(rule), probes=(health, late)))
    world.good_start()
    for at in range(5, 101, 10):
        world.ratio(at, 0, 10)
    world.ratio(100, 0, 10)
    world.bad_deploy()
    for at in (110, 120, 130, 140):
        world.ratio(at, 9, 10)
        assert world.verdict(at).state is TriggerState.NO_DATA

    world.ratio(150, 9, 10)

    assert world.verdict(150).state is TriggerState.BREACHED


# Refused ---------------------------------------------------------------------------------------


def test_a_health_route_moved_behind_a_login_is_a_misconfigured_probe() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy(answers=False)
    world.refuse(*range(105, 300, 10))

    held = world.held(296)

    assert held.reason is HoldReason.MISCONFIGURED_PROBE
    assert held.why == (
        "health answers but refuses the probe, and nothing else agrees that it is down"
    )
    assert world.verdict(296).since == 295
    assert world.reason(320) is HoldReason.NO_DATA


def test_a_refusal_alone_ends_a_breach() -> None:
    world = breached_world()
    assert world.rolled(146)

    world.refuse(155)

    assert world.reason(155) is HoldReason.MISCONFIGURED_PROBE


def test_a_refusal_counts_as_failed_when_another_check_fails() -> None:
    world = breached_world()
    world.ok(155)
    world.fail(155.5, name="machines")
    world.refuse(165)
    world.fail(168, name="machines")
    world.refuse(175)
    world.fail(178, name="machines")
    world.refuse(185)
    world.fail(188, name="machines")
    world.refuse(195)

    assert world.rolled(195).onset_at == 165


def test_a_refusal_does_not_count_by_a_look_too_old_or_by_another_refusal() -> None:
    world = World(target(trigger(failing())))
    world.fail(5, name="machines")
    world.refuse(26)
    assert world.verdict(26).state is TriggerState.ERROR

    world.refuse(30, name="machines")
    world.refuse(36)

    assert world.verdict(36).state is TriggerState.ERROR


@pytest.mark.parametrize(
    ("bad", "total", "state"),
    [
        (5, 10, TriggerState.BREACHED),
        (4, 10, TriggerState.ERROR),
        (4, 4, TriggerState.ERROR),
        (5, 5, TriggerState.BREACHED),
    ],
)
def test_a_refusal_counts_as_failed_when_half_of_the_requests_fail(
    bad: float, total: float, state: TriggerState
) -> None:
    world = World(target(trigger(failing())))
    world.ratio(5, bad, total)
    world.refuse(10)

    assert world.verdict(10).state is state


def test_a_histogram_agrees_with_nobody() -> None:
    world = World(target(trigger(failing())))
    world.buckets(5, (1.0, 0), (float("inf"), 100))
    world.refuse(10)

    assert world.verdict(10).state is TriggerState.ERROR


def test_an_answer_after_a_refusal_is_judged_again() -> None:
    world = World(target(trigger(failing())))
    world.refuse(10)
    world.fail(20)

    assert world.verdict(20).state is TriggerState.BREACHED


# Asleep ----------------------------------------------------------------------------------------


def test_an_app_asleep_is_neither_well_nor_ill() -> None:
    world = World(target(trigger(down())))
    world.ok(5)
    world.sleep(15)
    assert world.reason(16) is HoldReason.OK

    world.sleep(45)

    held = world.held(46)
    assert (held.reason, held.why) == (HoldReason.ASLEEP, "health: the app is asleep")
    assert world.state.probes[down().probe].outcome == "asleep"


def test_one_trigger_asleep_and_one_without_data_is_no_data() -> None:
    world = World(target(trigger(down()), trigger(error_rate(), name="errors")))
    world.sleep(5)

    assert world.reason(6) is HoldReason.NO_DATA


def test_a_woken_app_may_boot_before_its_failures_count() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.bad_deploy()
    world.sleep(115)
    world.fail(125, 135, 185)
    assert world.verdict(185).state is TriggerState.NO_DATA
    world.fail(186)

    assert world.verdict(186).state is TriggerState.BREACHED


def test_a_success_ends_the_boot_allowance_of_a_woken_app() -> None:
    world = World(target(trigger(failing())))
    world.good_start()
    world.bad_deploy()
    world.sleep(115)
    world.fail(125)
    world.ok(135)
    world.fail(145)

    assert world.verdict(145).state is TriggerState.BREACHED


def test_a_late_sleep_or_one_of_a_stranger_changes_nothing() -> None:
    world = World(target(trigger(failing())))
    world.ok(20)
    world.sleep(10)
    world.sleep(30, name="stranger")

    assert world.reason(50) is HoldReason.NO_DATA
    assert world.state.probes[failing().probe].outcome == "ok"


def test_sleep_is_no_gap_in_a_window() -> None:
    world = World(target(trigger(error_rate(for_seconds=0, min_samples=1))))
    for at in (5, 15, 25):
        world.ratio(at, 0, 10)
    for at in (35, 45, 55):
        world.sleep(at, "errors")
    world.ratio(65, 10, 10)

    assert world.verdict(65).state is TriggerState.BREACHED


def test_a_slow_release_is_slow_in_its_own_samples_only() -> None:
    world = World(target(trigger(slow())))
    world.good_start()
    for at in range(9, 100, 10):
        world.buckets(at, (1.0, 0), (4.0, 100), (float("inf"), 100))
    world.bad_deploy()
    world.buckets(109, (1.0, 0), (4.0, 100), (float("inf"), 100))
    assert world.verdict(109).state is TriggerState.NO_DATA

    world.buckets(119, (1.0, 100), (4.0, 100), (float("inf"), 100))

    assert world.verdict(119).state is TriggerState.OK
