"""From facts to a decision: one bad release, and everything that keeps it from being acted on."""

from dataclasses import replace

from rollbackd.core.decide import decide, explain
from rollbackd.core.model import Hold, HoldReason, RollBack
from rollbackd.core.rules import Mode
from tests.unit.core.world import (
    SHOP,
    World,
    breached_world,
    down,
    failing,
    locks,
    release,
    target,
    trigger,
)


def test_a_release_that_breaks_a_healthy_app_is_rolled_back_to_the_one_before() -> None:
    world = breached_world()

    decision = world.rolled(146)

    assert (decision.bad.version, decision.good.version) == (42, 41)
    assert decision.trigger == "health-down"
    assert decision.onset_at == 115
    assert decision.why == "shop v42 is bad: health failing in 4 of the last 4 looks"
    assert decision.automatic
    assert decision.evidence["goal_standing"] == "good"


def test_three_failed_looks_of_four_are_only_pending() -> None:
    world = breached_world()
    world.ok(155)

    assert world.reason(156) is HoldReason.PENDING


def test_a_rollback_carries_everything_a_runner_and_a_reader_need() -> None:
    plan = replace(trigger(down()), plan="app-and-database")
    world = breached_world(target(plan))

    assert world.decide(146) == RollBack(
        target=SHOP,
        at=146,
        trigger=plan.name,
        bad=release(42),
        good=release(41),
        plan="app-and-database",
        why="shop v42 is bad: health failing in 4 of the last 4 looks",
        requested_by="rollbackd",
        onset_at=115,
        evidence={
            "onset_at": 115,
            "failed": 4,
            "looks": 4,
            "goal_standing": "good",
            "proposal": "shop-v42-to-v41",
        },
        verdicts=(world.verdict(146),),
    )


def test_a_hold_over_a_breach_carries_as_much() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.OBSERVE))

    assert world.decide(146) == Hold(
        target=SHOP,
        at=146,
        reason=HoldReason.OBSERVE_MODE,
        why="shop v42 is bad: health failing in 4 of the last 4 looks; the mode is observe",
        trigger=world.target.triggers[0].name,
        bad=release(42),
        good=release(41),
        evidence={
            "onset_at": 115,
            "failed": 4,
            "looks": 4,
            "goal_standing": "good",
            "proposal": "shop-v42-to-v41",
        },
        verdicts=(world.verdict(146),),
    )


def test_a_hold_in_peace_says_what_it_saw() -> None:
    world = World(target(trigger(down())))
    world.fail(5)

    assert world.decide(6) == Hold(
        target=SHOP,
        at=6,
        reason=HoldReason.PENDING,
        why="health failing in 1 of 1 look",
        trigger=world.target.triggers[0].name,
        evidence={"onset_at": 5, "failed": 1, "looks": 1},
        verdicts=(world.verdict(6),),
    )


def test_a_hold_without_triggers_has_no_evidence() -> None:
    assert World(target()).held(5).evidence == {}


def test_unless_told_otherwise_there_is_no_mass_failure() -> None:
    world = breached_world()

    assert isinstance(decide(world.policy, world.state, 146), RollBack)
    for failing_everywhere in (False, True):
        answers = explain(world.policy, world.state, 146, mass_failing=failing_everywhere)
        holding = [answer.reason for answer in answers if answer.holds]
        assert holding == ([HoldReason.MASS_FAILURE] if failing_everywhere else [])
    assert not any(answer.holds for answer in explain(world.policy, world.state, 146))


def test_explain_prefers_the_trigger_that_passes_every_gate() -> None:
    world = breached_world(
        target(
            trigger(down(), name="first", mode=Mode.OBSERVE),
            trigger(failing(), name="second"),
        )
    )

    assert not any(answer.holds for answer in world.gates(146).values())


def test_in_peace_explain_does_not_look_for_the_easiest_trigger() -> None:
    world = World(
        target(
            trigger(locks(), name="first", mode=Mode.OBSERVE),
            trigger(failing(), name="second", mode=Mode.AUTO),
        )
    )
    world.good_start()
    world.bad_deploy()

    assert world.gates(106)[HoldReason.OBSERVE_MODE].holds
