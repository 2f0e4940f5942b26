"""A burn-rate trigger: both windows must burn, a deploy forgets neither, a rollback both."""

import pytest

from rollbackd.core.model import HoldReason, RollBack, TriggerState
from rollbackd.core.rules import BurnRateBound, Signal
from tests.unit.core.world import World, above, below, release, signal, target, trigger

EVERY = 10


def burning(*, clear_below: float | None = None, limit: float = 14.4, **changes: object) -> Signal:
    """99.9 % over ten minutes and one, so that tests stay short."""
    bound = BurnRateBound(slo=0.999, bound=above(limit), long_seconds=600, short_seconds=60)
    clear = None
    if clear_below is not None:
        clear = BurnRateBound(
            slo=0.999, bound=below(clear_below), long_seconds=600, short_seconds=60
        )
    return signal("errors", bound, **{"min_samples": 100, "clear": clear, **changes})


def world(rule: Signal | None = None) -> World:
    made = World(target(trigger(rule or burning(), name="slo-burn")))
    made.releases(0, release(41))
    made.ok(5)  # the release is up: it does not settle any more
    return made


def deploy(made: World, at: float) -> None:
    made.releases(at, release(42), release(41))
    made.ok(at + 1)


def feed(made: World, first: int, last: int, bad: float, total: float = 1000) -> None:
    for at in range(first, last + 1, EVERY):
        made.ratio(at, bad, total)


def state(made: World, now: float) -> TriggerState:
    return made.verdict(now).state


def test_it_breaches_when_both_windows_burn() -> None:
    made = world()
    feed(made, 10, 600, 0)
    feed(made, 610, 700, 50)
    # 50 of 1000 is 50× over the short window; the long one is at 50 × 10/60 only.
    assert state(made, 700) is TriggerState.PENDING

    feed(made, 710, 790, 50)

    assert state(made, 790) is TriggerState.BREACHED
    verdict = made.verdict(790)
    assert verdict.value == pytest.approx(15.8, abs=0.3)
    assert verdict.threshold == 14.4
    assert "burn the budget of 99.9 % at" in verdict.why
    assert verdict.why.endswith("over 10 min and 50× over 1 min, above 14.4×")
    assert verdict.evidence["onset_at"] == 620  # since the short window burns
    assert verdict.evidence["short"] == {
        "burn_rate": pytest.approx(50), "bad": 300, "total": 6000, "covered": 1.0
    }  # fmt: skip


def test_it_is_over_as_soon_as_the_short_window_stops_burning() -> None:
    made = world()
    feed(made, 10, 600, 50)
    assert state(made, 600) is TriggerState.BREACHED

    feed(made, 610, 670, 0)

    assert state(made, 670) is TriggerState.OK


def test_with_a_limit_to_clear_both_windows_must_be_below_it() -> None:
    made = world(burning(clear_below=6))
    feed(made, 10, 600, 50)
    feed(made, 610, 900, 0)
    assert state(made, 900) is TriggerState.BREACHED

    feed(made, 910, 1160, 0)

    assert state(made, 1160) is TriggerState.OK


def test_for_counts_only_while_both_windows_burn() -> None:
    made = world(burning(for_seconds=30))
    feed(made, 10, 600, 0)
    feed(made, 610, 780, 50)
    # It smouldered for two minutes before: only the first look at which both burn starts the clock.
    assert made.verdict(780).why.endswith("above 14.4×, for 0 s of 30 s")

    feed(made, 790, 820, 50)

    assert state(made, 820) is TriggerState.BREACHED


def test_half_of_a_window_unseen_is_no_data() -> None:
    made = world()
    feed(made, 10, 290, 500)

    verdict = made.verdict(290)

    assert verdict.state is TriggerState.NO_DATA
    assert verdict.why == "errors: samples cover 47 % of its 10 min, 50 % needed"

    feed(made, 300, 310, 500)
    assert state(made, 310) is TriggerState.BREACHED


def test_fewer_than_min_samples_in_the_long_window_are_no_data() -> None:
    made = world(burning(min_samples=10_000))
    feed(made, 10, 590, 50, total=100)

    assert made.verdict(590).why == "errors: 5,800 of 10,000 samples needed"


def test_the_hour_before_a_deploy_still_counts() -> None:
    made = world()
    feed(made, 10, 600, 0)
    deploy(made, 601)
    feed(made, 610, 690, 100)

    # 900 of about 69,000 in ten minutes: without the time before it would be 100 ×.
    verdict = made.verdict(690)

    assert verdict.state is TriggerState.PENDING
    assert verdict.value == pytest.approx(13, abs=1)


def test_a_release_is_blamed_for_a_budget_that_burns_since_it_came() -> None:
    made = world()
    feed(made, 10, 600, 0)
    deploy(made, 601)
    feed(made, 610, 900, 100)

    decision = made.decide(900)

    assert isinstance(decision, RollBack), decision
    assert decision.bad.version == 42


def test_a_release_is_not_blamed_for_a_budget_that_burnt_before_it_came() -> None:
    made = world()
    feed(made, 10, 600, 0)
    feed(made, 610, 700, 50)  # the short window burns, the long one does not yet
    assert state(made, 700) is TriggerState.PENDING

    deploy(made, 701)
    feed(made, 710, 900, 50)

    assert state(made, 900) is TriggerState.BREACHED
    assert made.reason(900) is HoldReason.NOT_SINCE_RELEASE


def test_the_time_before_a_release_does_not_vouch_for_it() -> None:
    made = world()
    feed(made, 10, 600, 0)
    deploy(made, 601)
    feed(made, 610, 650, 0)
    assert 42 not in {r.version for r in made.state.releases if r in made.state.ledger.cleared}

    feed(made, 660, 680, 0)

    assert release(42) in made.state.ledger.cleared


def test_a_rollback_forgets_both_windows() -> None:
    made = world()
    feed(made, 10, 600, 50)
    deploy(made, 601)
    made.started(610, release(42), release(41))
    made.switched(620)
    feed(made, 630, 700, 50)

    verdict = made.verdict(700)

    assert verdict.state is TriggerState.NO_DATA
    assert "samples cover 12 % of its 10 min" in verdict.why


def test_a_gap_does_not_empty_the_windows_and_accuses_nobody() -> None:
    made = world()
    feed(made, 10, 400, 10)
    feed(made, 500, 600, 15)
    assert state(made, 600) is TriggerState.PENDING  # 15 × over a minute, less over ten

    whole = world()
    feed(whole, 10, 400, 10)
    feed(whole, 410, 490, 0)
    feed(whole, 500, 600, 15)
    lost, seen = made.verdict(600).value, whole.verdict(600).value
    assert lost is not None
    assert seen is not None
    assert lost <= seen


def test_windows_that_are_no_whole_units_are_told_as_they_are() -> None:
    bound = BurnRateBound(slo=0.995, bound=above(2), long_seconds=86_400, short_seconds=90)
    made = world(signal("errors", bound))
    feed(made, 10, 44_000, 50)

    assert (
        "budget of 99.5 % at 10× over 1 d and 10× over 90 s, above 2×" in made.verdict(44_000).why
    )


def test_it_goes_on_after_a_restart() -> None:
    made, again = world(), world()
    feed(made, 10, 600, 5)
    kept, gauge = (next(iter(w.state.watches.values())).gauge for w in (made, again))

    gauge.restore(kept.as_json())

    assert gauge.burn is not None
    assert kept.burn is not None
    assert gauge.burn.as_json() == kept.burn.as_json()
