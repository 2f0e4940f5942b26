"""Many at once is not one bad release."""

import pytest

from rollbackd.core.mass import mass_failing, onsets
from rollbackd.core.policy import MassSafety
from tests.unit.core.world import World, breached_world, down, target, trigger

POLICY = MassSafety(targets=3, share=0.3, within_seconds=60)


@pytest.mark.parametrize(
    ("onsets", "targets", "failing"),
    [
        ([], 10, False),
        ([100.0], 1, False),
        ([100.0], 3, False),
        ([100.0, 99.0], 2, True),
        ([100.0, 99.0], 10, False),
        ([100.0, 99.0, 98.0], 10, True),
        ([100.0, 99.0, 98.0], 1000, True),
        ([100.0, 41.0], 2, True),
        ([100.0, 39.0], 2, False),
        ([40.0, 40.0], 2, True),
    ],
)
def test_enough_targets_within_the_time_are_a_mass_failure(
    onsets: list[float], targets: int, failing: bool
) -> None:
    assert mass_failing(POLICY, onsets, targets, 100.0) is failing


def test_a_share_counts_from_exactly_the_share() -> None:
    policy = MassSafety(targets=100, share=0.2, within_seconds=60)

    assert mass_failing(policy, [100.0, 100.0], 10, 100.0)
    assert not mass_failing(policy, [100.0, 100.0], 11, 100.0)


def test_what_is_breached_began_once_per_target() -> None:
    broken, well = breached_world(), World(target(trigger(down())))
    two = breached_world(target(trigger(down()), trigger(down(), name="again")))

    found = onsets([broken.decide(146), well.decide(146), two.decide(146)])

    assert found == [145, 145]
