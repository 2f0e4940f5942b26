"""A release that was on its way before we saw it must not cost its predecessor its good name."""

from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.model import HoldReason
from tests.unit.core.world import World, down, machine, release, target, trigger


def failing_before_the_news(created_at: float) -> World:
    """v42 is made at `created_at` and seen at 150; everything fails from 115 on."""
    world = World(target(trigger(down())))
    world.good_start()
    world.machines(96, machine("a", "image-41", 41))
    world.fail(115, 125, 135, 145)
    world.decide(146)
    world.machines(150, machine("a", "image-42", 42))
    world.releases(150, release(42, created_at=created_at), release(41))
    return world


def test_what_went_bad_with_the_successor_is_not_the_predecessors_fault() -> None:
    world = failing_before_the_news(created_at=100)

    assert world.state.ledger.standing(release(41)) is Standing.GOOD


def test_what_was_bad_before_the_successor_was_made_stays_the_predecessors_fault() -> None:
    world = failing_before_the_news(created_at=140)

    assert world.state.ledger.standing(release(41)) is Standing.BAD


def test_the_late_seen_release_is_rolled_back_to_its_predecessor() -> None:
    world = failing_before_the_news(created_at=100)
    world.ok(155)
    world.fail(165, 175, 185, 195)

    assert world.rolled(196).good.version == 41


def test_the_release_before_is_never_gone_back_from_by_mistake() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41), release(40))
    world.ok(*range(5, 96, 10))
    world.fail(115, 125, 135, 145)

    assert world.reason(146) is HoldReason.AWAITING_APPROVAL


def test_what_began_the_moment_the_successor_came_is_the_successors() -> None:
    ledger = Ledger()
    ledger.accuse(release(41), 100)

    ledger.acquit(release(41), 100)

    assert ledger.standing(release(41)) is Standing.UNKNOWN


def test_a_release_that_is_bad_for_another_reason_is_not_acquitted() -> None:
    ledger = Ledger()
    ledger.bad.add(release(41))

    ledger.acquit(release(41), 100)

    assert ledger.standing(release(41)) is Standing.BAD


def test_the_first_onset_counts_and_not_the_newest() -> None:
    ledger = Ledger()
    ledger.accuse(release(41), 90)
    ledger.accuse(release(41), 110)

    ledger.acquit(release(41), 100)

    assert ledger.standing(release(41)) is Standing.BAD
