"""Several targets at one moment: who is broken counts before anybody is rolled back."""

from dataclasses import replace

from rollbackd.core.model import Decision, Hold, HoldReason, RollBack, TargetName
from rollbackd.core.policy import MassSafety, Policy
from rollbackd.core.round import decide_all, mass_of
from rollbackd.core.rules import Mode, Severity
from rollbackd.core.state import TargetState
from tests.unit.core.world import SHOP, World, breached_world, down, target, trigger

NAMES = tuple(map(TargetName, "abc"))


def together(*worlds: World) -> tuple[Policy, dict[TargetName, TargetState]]:
    states = {}
    for name, world in zip(NAMES, worlds, strict=False):
        state = world.state
        state.policy = replace(world.target, name=name)
        states[name] = state
    policy = Policy(
        targets={name: state.policy for name, state in states.items()},
        mass=MassSafety(targets=3, share=0.9, within_seconds=60),
        mode_ceiling=Mode.AUTO,
        tick_seconds=1,
        hash="",
    )
    return policy, states


def well() -> World:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()
    world.ok(115, 125, 135, 145)
    return world


def test_those_that_break_at_this_moment_count() -> None:
    policy, states = together(breached_world(), breached_world(), breached_world())

    mass = mass_of(policy, states, {}, NAMES, 146)
    made = decide_all(policy, states, NAMES, 146, mass)

    assert mass.failing == frozenset(NAMES)
    assert mass.onsets == dict.fromkeys(NAMES, 115)
    assert {d.reason for d in made.values() if isinstance(d, Hold)} == {HoldReason.MASS_FAILURE}
    assert len(made) == 3


def test_two_of_three_are_not_many() -> None:
    policy, states = together(breached_world(), breached_world(), well())

    mass = mass_of(policy, states, {}, NAMES, 146)
    made = decide_all(policy, states, NAMES, 146, mass)

    assert not mass.failing
    assert isinstance(made[NAMES[0]], RollBack)


def test_of_those_that_are_not_due_it_counts_what_was_decided_last() -> None:
    policy, states = together(breached_world(), breached_world(), breached_world())
    first = decide_all(policy, states, NAMES[:2], 146, mass_of(policy, states, {}, (), 146))
    standing: dict[TargetName, Decision] = dict(first)

    assert mass_of(policy, states, standing, NAMES[2:], 147).failing
    assert not mass_of(policy, states, {}, NAMES[2:], 147).failing


def about_to_be() -> World:
    world = World(target(trigger(down("health", 3, 3))))
    world.good_start()
    world.bad_deploy()
    world.ok(115, 125)
    world.fail(135, 145)
    return world


def test_those_that_are_about_to_be_broken_count() -> None:
    """How long a trigger takes to be sure differs: the first must not go before the others."""
    policy, states = together(breached_world(), breached_world(), about_to_be())

    mass = mass_of(policy, states, {}, NAMES, 146)

    assert set(mass.onsets) == set(NAMES)
    assert mass.failing == frozenset(NAMES)


def test_a_warning_is_not_counted() -> None:
    warned = target(trigger(down(), severity=Severity.WARNING))
    policy, states = together(breached_world(warned), breached_world(), breached_world())

    assert set(mass_of(policy, states, {}, NAMES, 146).onsets) == set(NAMES[1:])


def test_one_target_alone_is_never_many() -> None:
    world = breached_world()

    mass = mass_of(world.policy, {SHOP: world.state}, {}, [SHOP], 146)

    assert not mass.failing
    assert mass.onsets == {}
