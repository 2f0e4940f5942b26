"""A rollback a person asks for: no verdict and no mode stops it, sense still does."""

from dataclasses import replace

from rollbackd.core.facts import Paused, RollbackStarted
from rollbackd.core.manual import manual
from rollbackd.core.model import Hold, HoldReason, ReleaseStatus, RollBack, RollbackOutcome
from rollbackd.core.rules import Mode
from tests.integration_fly.walking import target_policy
from tests.unit.core.world import SHOP, World, breached_world, down, release, target, trigger


def ask(world: World, to: int | None = None) -> RollBack | Hold:
    return manual(
        world.policy, world.state, 150, to_version=to, plan="app", reason="bug: carts", by="eva"
    )


def held(world: World, to: int | None = None) -> Hold:
    answer = ask(world, to)
    assert isinstance(answer, Hold)
    return answer


def test_a_person_rolls_back_to_the_known_good_release() -> None:
    answer = ask(breached_world())

    assert isinstance(answer, RollBack)
    assert (answer.bad, answer.good, answer.plan) == (release(42), release(41), "app")
    assert (answer.trigger, answer.automatic) == (None, False)
    assert (answer.requested_by, answer.why, answer.at) == ("eva", "bug: carts", 150)
    assert answer.evidence == {"goal_standing": "good"}
    assert [v.trigger for v in answer.verdicts] == ["health-down"]
    assert answer.target == SHOP


def test_neither_mode_pause_lock_cooldown_budget_nor_history_stops_a_person() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.OBSERVE))
    world.tell(Paused(target=SHOP, at=140, until=999, by="bob", reason=""))
    for number in range(3):
        world.started(141, release(42), release(41), name=f"r{number}")
        world.ended(142, RollbackOutcome.FAILED, name=f"r{number}")

    assert isinstance(ask(world), RollBack)


def test_in_peace_a_person_may_roll_back_too() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(42), release(41))

    answer = ask(world)

    assert isinstance(answer, RollBack)
    assert answer.evidence == {"goal_standing": "unknown"}


def test_a_person_may_name_the_version_even_a_quarantined_or_a_newer_one() -> None:
    world = breached_world()
    world.releases(147, release(42), release(41), release(40))
    world.state.ledger.quarantined.add(release(40))
    world.releases(148, release(43, status=ReleaseStatus.RUNNING), release(42), release(41))

    for version in (40, 43):
        answer = ask(world, version)
        assert isinstance(answer, RollBack)
        assert answer.good.version == version


def test_not_while_another_rollback_runs() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))

    answer = held(world)

    assert (answer.reason, answer.why) == (HoldReason.ROLLING_BACK, "r1 is under way")
    assert (answer.bad, answer.target, answer.at) == (release(42), SHOP, 150)


def test_not_to_a_version_that_does_not_exist() -> None:
    answer = held(breached_world(), 7)

    assert answer.reason is HoldReason.NO_GOOD_RELEASE
    assert answer.why == "there is no release v7"
    assert (answer.target, answer.at, answer.bad) == (SHOP, 150, release(42))


def test_not_to_what_runs_already() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(42, "image-41"), release(41))

    answer = held(world, 41)

    assert answer.reason is HoldReason.NO_GOOD_RELEASE
    assert answer.why == "v41 has the content that v42 runs already"
    assert (answer.at, answer.bad) == (150, release(42, "image-41"))


def test_not_without_a_release_to_go_back_to() -> None:
    world = World(target(trigger(down())))
    assert held(world).why == "no release is known yet"
    assert (held(world).bad, held(world).at) == (None, 150)

    world.releases(0, release(1))

    assert held(world).why == "no earlier release than v1 is fit to go back to"
    assert held(world).bad == release(1)


def test_a_failed_deploy_that_reached_no_machine_is_no_reason_to_stand_back() -> None:
    world = breached_world()
    world.releases(148, release(43, status=ReleaseStatus.FAILED), release(42), release(41))

    asked = ask(world)
    decided = world.decide(149)

    assert isinstance(asked, RollBack)
    assert isinstance(decided, RollBack)
    assert (asked.bad, asked.later_version) == (release(42), 43)
    assert (decided.bad, decided.later_version) == (release(42), 43)


def test_a_deploy_under_way_is_never_passed_over() -> None:
    world = breached_world()
    world.releases(148, release(43, status=ReleaseStatus.RUNNING), release(42), release(41))

    asked = ask(world)

    assert isinstance(asked, RollBack)
    assert asked.later_version is None


def of_the_database(
    world: World, to: int | None = None, steps: str = "database"
) -> RollBack | Hold:
    app = target_policy().plans["app"]
    policy = replace(world.policy.targets[SHOP], plans={"app": replace(app, steps=(steps,))})
    return manual(
        replace(world.policy, targets={SHOP: policy}), world.state, 150,
        to_version=to, plan="app", reason="bug", by="eva",
    )  # fmt: skip


def test_the_database_follows_an_app_that_is_back_already() -> None:
    """With v43 as the bad one the content of v41 would be quarantined, which is what runs."""
    world = World(target(trigger(down())))
    back = replace(release(43), content=release(41).content)
    world.releases(0, back, release(42), release(41), release(40))

    for to in (None, 41):
        answer = of_the_database(world, to)
        assert isinstance(answer, RollBack)
        assert (answer.bad.version, answer.good.version, answer.later_version) == (42, 41, 43)
    further = of_the_database(world, 40)
    assert isinstance(further, RollBack)
    assert (further.bad.version, further.good.version) == (43, 40)
    assert isinstance(of_the_database(world, 41, steps="app"), Hold)


def test_where_nothing_lies_between_the_database_follows_nothing() -> None:
    world = World(target(trigger(down())))
    world.releases(0, replace(release(42), content=release(41).content), release(41), release(40))

    answer = of_the_database(world)

    assert isinstance(answer, RollBack)
    assert (answer.bad.version, answer.good.version) == (42, 40)
    plain = World(target(trigger(down())))
    plain.releases(0, release(42), release(41))
    answer = of_the_database(plain)
    assert isinstance(answer, RollBack)
    assert (answer.bad.version, answer.good.version) == (42, 41)


def test_where_only_data_is_put_back_the_release_that_runs_stays_and_is_not_blamed() -> None:
    """Else a release would be quarantined for rows that a person has deleted."""
    world = World(target(trigger(down())))
    world.releases(0, release(1))
    answer = of_the_database(world, steps="data")
    assert isinstance(answer, RollBack)
    assert (answer.bad, answer.good) == (release(1), release(1))

    before = world.state.ledger.standing(release(1))
    started = RollbackStarted(
        target=SHOP, at=151, rollback=answer.id, bad=answer.bad, good=answer.good, automatic=False
    )
    world.tell(started)
    assert world.state.ledger.standing(release(1)) is before
