"""Many at once is not one bad release."""

import pytest

from rollbackd.core.mass import mass_failing
from rollbackd.core.policy import MassSafety

POLICY = MassSafety(targets=3, share=0.3, within_seconds=60)


@pytest.mark.parametrize(
    ("onsets", "targets", "failing"),
    [
        ([100.0], 1, False),
        ([100.0], 3, False),
        ([100.0, 99.0], 2, True),
        ([100.0, 99.0], 10, False),
        ([100.0, 99.0, 98.0], 10, True),
        ([100.0, 99.0, 98.0], 1000, True),
        ([100.0, 40.0], 2, True),
        ([100.0, 39.0], 2, False),
        ([100.0, 160.0], 2, True),
        ([100.0, 161.0], 2, False),
    ],
)
def test_enough_targets_within_the_time_are_a_mass_failure(
    onsets: list[float], targets: int, failing: bool
) -> None:
    assert mass_failing(POLICY, 100.0, onsets, targets) is failing


def test_others_that_broke_together_are_no_excuse_for_one_that_broke_alone() -> None:
    assert not mass_failing(POLICY, 500.0, [500.0, 100.0, 101.0, 102.0], 10)


def test_a_share_counts_from_exactly_the_share() -> None:
    policy = MassSafety(targets=100, share=0.2, within_seconds=60)

    assert mass_failing(policy, 100.0, [100.0, 100.0], 10)
    assert not mass_failing(policy, 100.0, [100.0, 100.0], 11)
