"""From facts to a decision: one bad release, and everything that keeps it from being acted on."""

from rollbackd.core.model import HoldReason
from tests.unit.core.world import breached_world


def test_a_release_that_breaks_a_healthy_app_is_rolled_back_to_the_one_before() -> None:
    world = breached_world()

    decision = world.rolled(146)

    assert (decision.bad.version, decision.good.version) == (42, 41)
    assert decision.trigger == "health-down"
    assert decision.onset_at == 115
    assert decision.why == "health failing in 4 of the last 4 looks"
    assert decision.automatic
    assert decision.evidence["goal_standing"] == "good"


def test_three_failed_looks_of_four_are_only_pending() -> None:
    world = breached_world()
    world.ok(155)

    assert world.reason(156) is HoldReason.PENDING
