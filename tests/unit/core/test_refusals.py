"""A rollback that could not even begin is tried again soon, and never in a hot loop."""

import pytest

from rollbackd.core.model import HoldReason, RollbackOutcome
from tests.unit.core.world import breached_world, release

REFUSED = RollbackOutcome.FAILED_BEFORE_EFFECT


def test_a_refusal_pauses_for_seconds_and_not_for_the_cool_down() -> None:
    world = breached_world()
    world.ended(146, REFUSED)
    world.fail(155)

    assert world.reason(150.9) is HoldReason.COOLING_DOWN
    assert world.rolled(151).bad.version == 42


@pytest.mark.parametrize(
    ("times", "pause"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (2000, 60)]
)
def test_every_refusal_in_a_row_doubles_the_pause_up_to_a_minute(times: int, pause: float) -> None:
    world = breached_world()
    for _ in range(times):
        world.ended(146, REFUSED)

    assert world.state.rollbacks.cooldown_until(world.target.safety) == 146 + pause


def test_a_rollback_that_did_its_work_forgets_the_refusals() -> None:
    world = breached_world()
    world.ended(146, REFUSED)
    world.started(160, release(42), release(41))
    world.ended(170, RollbackOutcome.RECOVERED)

    assert world.state.rollbacks.refusals == 0
    assert world.state.rollbacks.cooldown_until(world.target.safety) == 170 + 300


def test_a_cool_down_that_runs_is_not_shortened_by_a_refusal() -> None:
    world = breached_world()
    world.started(120, release(42), release(41))
    world.ended(130, RollbackOutcome.RECOVERED)
    world.ended(140, REFUSED)

    assert world.state.rollbacks.cooldown_until(world.target.safety) == 430


def test_without_any_rollback_nothing_cools_down() -> None:
    world = breached_world()

    assert world.state.rollbacks.cooldown_until(world.target.safety) is None
