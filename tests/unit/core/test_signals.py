"""What a signal says of its samples: pending, breached, clear, or that it cannot know."""

import math

import pytest

from rollbackd.core.facts import Check, CheckOutcome, Value
from rollbackd.core.model import TriggerState
from rollbackd.core.rules import (
    Bound,
    Breaches,
    Comparison,
    Failing,
    FailingMachines,
    NoData,
    RatioBound,
    Signal,
    ValueBound,
)
from tests.unit.core.world import (
    World,
    above,
    below,
    down,
    error_rate,
    failing,
    locks,
    release,
    signal,
    slow,
    target,
    trigger,
)

OK, PENDING, BREACHED = TriggerState.OK, TriggerState.PENDING, TriggerState.BREACHED
NO_DATA, ERROR = TriggerState.NO_DATA, TriggerState.ERROR


def watching(rule: Signal) -> World:
    """Watching since long ago, nothing seen in between."""
    return World(target(trigger(rule)))


def state(world: World, now: float) -> TriggerState:
    return world.verdict(now).state


def test_nothing_seen_is_no_data() -> None:
    world = watching(failing())

    verdict = world.verdict(7)

    assert (verdict.state, verdict.why, verdict.since) == (NO_DATA, "health: no sample for 7 s", 0)


def test_a_plain_failing_check_is_breached_at_its_first_failure() -> None:
    world = watching(failing())
    world.ok(10)
    assert (state(world, 10), world.verdict(10).since) == (OK, 10)

    world.fail(20)

    verdict = world.verdict(20)
    assert (verdict.state, verdict.since, verdict.why) == (BREACHED, 20, "health failing")


def test_a_check_may_be_asked_to_fail() -> None:
    world = watching(signal("health", Failing(failing=False)))
    world.fail(10)
    assert (state(world, 10), world.verdict(10).why) == (OK, "health not passing")

    world.ok(20)

    assert (state(world, 20), world.verdict(20).why) == (BREACHED, "health passing")


def test_m_of_n_is_breached_by_the_mth_failure_and_cleared_below_it() -> None:
    world = watching(down(at_least=2, of_last=3))
    world.ok(5)
    world.fail(15)
    assert state(world, 15) is PENDING
    world.ok(25)
    assert state(world, 25) is PENDING

    world.fail(35)
    assert state(world, 35) is BREACHED
    assert world.verdict(35).evidence == {"onset_at": 15, "failed": 2, "looks": 3}
    assert world.verdict(35).threshold == 2

    world.ok(45)
    assert state(world, 45) is PENDING
    world.ok(55, 65)
    assert state(world, 65) is OK
    assert world.verdict(65).why == "health failing in 0 of the last 3 looks"


def test_only_samples_younger_than_one_and_a_half_times_n_intervals_count() -> None:
    world = watching(down(at_least=3, of_last=3, max_age_seconds=100))
    world.fail(0, 20, 44.9)
    assert state(world, 44.9) is BREACHED

    other = watching(down(at_least=3, of_last=3, max_age_seconds=100))
    other.fail(0, 20, 45)
    assert state(other, 45) is PENDING


def test_looks_that_grow_too_old_between_two_samples_end_a_breach() -> None:
    world = watching(down(at_least=3, of_last=3, max_age_seconds=100))
    world.fail(0, 20, 40)

    assert [state(world, 44.9), state(world, 45)] == [BREACHED, PENDING]
    assert state(world, 90) is PENDING  # the last look itself is not too old to be known


def test_a_clear_condition_keeps_a_breach_over_looks_that_grow_old() -> None:
    clear = Failing(failing=False)
    world = watching(down(at_least=3, of_last=3, max_age_seconds=100, clear=clear))
    world.fail(0, 20, 40)
    assert state(world, 60) is BREACHED

    world.ok(61)

    assert state(world, 61) is PENDING


def test_a_for_clock_needs_its_time_covered_by_bad_samples() -> None:
    world = watching(failing(for_seconds=30))
    world.fail(10, 20, 30)
    verdict = world.verdict(30)
    assert (verdict.state, verdict.since) == (PENDING, 10)
    assert verdict.why == "health failing, for 20 s of 30 s"

    world.fail(40)

    assert (state(world, 40), world.verdict(40).since) == (BREACHED, 40)
    assert world.verdict(40).evidence == {"onset_at": 10}


def test_a_good_sample_sets_the_for_clock_back() -> None:
    world = watching(failing(for_seconds=30))
    world.fail(10, 20, 30)
    world.ok(40)
    world.fail(50, 60, 70)

    assert state(world, 70) is PENDING
    assert world.verdict(70).evidence == {"onset_at": 50}


def test_time_without_data_stops_the_for_clock() -> None:
    world = watching(failing(for_seconds=30))
    world.fail(10, 20)
    world.fail(40)  # one look is missing: 10 s more are known, not 20
    assert state(world, 40) is PENDING

    world.fail(50)

    assert state(world, 50) is BREACHED


def test_a_sample_that_comes_a_little_late_covers_its_time() -> None:
    world = watching(failing(for_seconds=30))
    world.fail(10, 25, 40)

    assert state(world, 40) is BREACHED


def test_a_gap_longer_than_max_age_drops_pending_to_no_data_and_starts_afresh() -> None:
    world = watching(failing(for_seconds=30))
    world.fail(10, 20, 30)

    assert [state(world, 50), state(world, 50.1)] == [PENDING, NO_DATA]
    assert world.verdict(50.1).since == 30

    world.fail(51)
    assert world.verdict(51).evidence == {"onset_at": 51}


def test_a_gap_of_exactly_max_age_is_none() -> None:
    world = watching(failing(for_seconds=20))
    world.fail(10, 30, 40)

    assert world.verdict(40).evidence == {"onset_at": 10}


def test_a_breach_whose_data_ends_is_no_data_and_not_a_breach() -> None:
    world = watching(failing())
    world.fail(10)

    assert [state(world, 30), state(world, 31)] == [BREACHED, NO_DATA]


def test_no_data_may_be_declared_ok() -> None:
    world = watching(failing(no_data=NoData.OK))
    assert state(world, 100) is OK

    world.miss(100, reason="source_error")

    assert state(world, 101) is OK


def test_a_miss_from_a_broken_source_is_an_error_once_the_data_is_old() -> None:
    world = watching(failing())
    world.ok(10)
    world.miss(20, reason="source_unauthorized")
    assert state(world, 30) is OK

    verdict = world.verdict(31)
    assert (verdict.state, verdict.evidence) == (ERROR, {"reason": "source_unauthorized"})
    assert verdict.why == "health: cannot be looked at (source unauthorized)"

    world.miss(32, reason="dns_failed")
    assert state(world, 33) is NO_DATA
    world.ok(40)
    assert state(world, 40) is OK
    assert state(world, 61) is NO_DATA


def test_a_late_miss_or_one_of_a_stranger_changes_nothing() -> None:
    world = watching(failing())
    world.ok(40)
    world.miss(10, reason="source_error")
    world.miss(50, name="stranger", reason="source_error")

    assert state(world, 100) is NO_DATA


def test_an_error_rate_is_bad_of_total_over_the_window() -> None:
    world = watching(error_rate(for_seconds=0))
    world.ratio(10, 51, 1004)

    verdict = world.verdict(10)

    assert verdict.state is BREACHED
    assert verdict.why == "errors 5.1 % (51 of 1,004) above 5 %"
    assert verdict.value == pytest.approx(51 / 1004)
    assert (verdict.threshold, verdict.samples) == (0.05, 1004)
    assert verdict.evidence == {"onset_at": 10, "bad": 51, "total": 1004}


def test_an_error_rate_below_its_bound_says_so() -> None:
    world = watching(error_rate(for_seconds=0))
    world.ratio(10, 5, 100)

    assert (state(world, 10), world.verdict(10).why) == (OK, "errors 5 % (5 of 100) not above 5 %")


def test_too_few_samples_are_no_data_even_after_a_breach() -> None:
    world = watching(error_rate(for_seconds=0, window_seconds=20))
    world.ratio(10, 49, 49)
    assert (state(world, 10), world.verdict(10).why) == (NO_DATA, "errors: 49 of 50 samples needed")
    world.ratio(20, 1, 1)
    assert state(world, 20) is BREACHED

    world.ratio(30, 1, 1)

    assert state(world, 30) is NO_DATA


def test_too_few_samples_for_longer_than_max_age_start_the_for_clock_afresh() -> None:
    world = watching(error_rate(for_seconds=20, window_seconds=10))
    world.ratio(10, 50, 50)
    world.ratio(20, 50, 50)
    for at in (30, 40):
        world.ratio(at, 1, 1)

    world.ratio(50, 50, 50)

    assert (state(world, 50), world.verdict(50).evidence["onset_at"]) == (PENDING, 50)


def test_a_short_thin_spell_only_stops_the_for_clock() -> None:
    world = watching(error_rate(for_seconds=20, window_seconds=10))
    world.ratio(10, 50, 50)
    world.ratio(20, 1, 1)
    world.ratio(30, 50, 50)
    assert state(world, 30) is PENDING

    world.ratio(40, 50, 50)

    assert (state(world, 40), world.verdict(40).evidence["onset_at"]) == (BREACHED, 10)


def test_a_check_may_ask_for_a_number_of_looks() -> None:
    world = watching(failing(min_samples=3))
    world.fail(10, 20)
    assert state(world, 20) is NO_DATA

    world.fail(30)

    assert state(world, 30) is BREACHED


def test_a_window_with_a_gap_in_it_is_not_judged() -> None:
    world = watching(error_rate(for_seconds=0, min_samples=1, window_seconds=60))
    world.ratio(10, 0, 1000)
    world.ratio(40, 9, 10)
    assert state(world, 40) is NO_DATA
    assert world.verdict(40).why == (
        "errors: nothing was counted for too long, judged again in 60 s"
    )
    for at in (50, 60, 70, 80, 90):
        world.ratio(at, 9, 10)
    assert state(world, 90) is NO_DATA

    world.ratio(100, 9, 10)

    assert state(world, 100) is BREACHED


def test_hysteresis_keeps_a_breach_until_the_clear_condition_holds() -> None:
    clear = RatioBound(bound=below(0.02))
    world = watching(error_rate(for_seconds=0, window_seconds=10, clear=clear))
    world.ratio(10, 6, 100)
    assert state(world, 10) is BREACHED

    world.ratio(20, 3, 100)
    assert (state(world, 20), world.verdict(20).evidence["onset_at"]) == (BREACHED, 10)
    world.ratio(30, 2, 100)
    assert state(world, 30) is BREACHED
    world.ratio(40, 1, 100)
    assert state(world, 40) is OK

    world.ratio(50, 3, 100)
    assert state(world, 50) is OK


def test_without_a_clear_condition_not_breached_is_clear() -> None:
    world = watching(error_rate(for_seconds=0, window_seconds=10))
    world.ratio(10, 6, 100)
    world.ratio(20, 5, 100)

    assert state(world, 20) is OK


def test_a_quantile_is_judged_over_the_window() -> None:
    world = watching(slow(min_samples=200))
    world.buckets(10, (1.0, 900), (4.0, 1000), (math.inf, 1000))

    verdict = world.verdict(10)

    assert (verdict.state, verdict.value) == (BREACHED, 2.5)
    assert verdict.why == "latency p95 2.5 s (1,000 requests) above 2 s"
    assert (verdict.threshold, verdict.samples) == (2.0, 1000)
    assert verdict.evidence == {"onset_at": 10}


def test_a_value_is_the_newest_one() -> None:
    world = watching(locks())
    world.value(10, 23)
    assert (state(world, 10), world.verdict(10).why) == (BREACHED, "locks 23 above 20")

    world.value(20, 20)

    assert (state(world, 20), world.verdict(20).why) == (OK, "locks 20 not above 20")
    assert world.verdict(20).samples == 2


@pytest.mark.parametrize(
    ("comparison", "value", "why"),
    [
        (Comparison.AT_LEAST, 20, "locks 20 at least 20"),
        (Comparison.AT_MOST, 20, "locks 20 at most 20"),
        (Comparison.BELOW, 19, "locks 19 below 20"),
    ],
)
def test_every_comparison_has_its_words(comparison: Comparison, value: float, why: str) -> None:
    world = watching(signal("locks", ValueBound(bound=Bound(comparison=comparison, limit=20))))
    world.value(10, value)

    assert (state(world, 10), world.verdict(10).why) == (BREACHED, why)


def test_failing_machines_are_counted_where_the_probe_counts_them() -> None:
    world = watching(signal("machines", FailingMachines(bound=above(1))))
    world.check(10, "failed", "machines")
    assert (state(world, 10), world.verdict(10).why) == (
        NO_DATA,
        "machines: its samples do not tell",
    )

    world.check(20, "failed", "machines", failing_machines=2)

    assert state(world, 20) is BREACHED
    assert world.verdict(20).why == "machines: 2 machines failing, above 1"
    assert world.verdict(20).threshold == 1


def test_late_and_repeated_samples_change_nothing() -> None:
    world = watching(down(at_least=2, of_last=3))
    world.ok(10)
    world.fail(20)
    world.fail(20, 20, 15, 11)

    assert (state(world, 20), world.verdict(20).evidence["failed"]) == (PENDING, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_no_sample(value: float) -> None:
    world = watching(locks())
    world.value(10, 5)
    world.value(20, value)

    assert world.state.probes[world.target.triggers[0].rule.probe].at == 10  # type: ignore[union-attr]  # a signal


@pytest.mark.parametrize(
    ("bad", "total"), [(math.nan, 10), (1, math.nan), (-1, 10), (11, 10), (1, math.inf), (0, 0)]
)
def test_a_ratio_that_cannot_be_is_no_sample(bad: float, total: float) -> None:
    world = watching(error_rate(for_seconds=0, min_samples=0))
    world.ratio(10, bad, total)

    assert state(world, 10) is NO_DATA


@pytest.mark.parametrize(
    "buckets",
    [
        (),
        ((1.0, 5.0),),
        ((1.0, 5.0), (math.inf, math.nan)),
        ((1.0, 5.0), (math.inf, 4.0)),
        ((1.0, math.nan), (math.inf, 4.0)),
        ((1.0, -1.0), (math.inf, 4.0)),
        ((2.0, 1.0), (1.0, 2.0), (math.inf, 4.0)),
        ((1.0, 1.0), (1.0, 2.0), (math.inf, 4.0)),
        ((1.0, 0.0), (math.inf, 0.0)),
        ((1.0, 1.0), (math.inf, math.inf)),
    ],
)
def test_buckets_that_cannot_be_are_no_sample(buckets: tuple[tuple[float, float], ...]) -> None:
    world = watching(slow(0.5))
    world.buckets(10, *buckets)

    assert world.state.probes[slow().probe].at == -math.inf


def test_a_measure_of_another_kind_is_no_sample() -> None:
    world = watching(failing())
    world.sample(10, "health", Value(value=1))

    assert state(world, 10) is NO_DATA


def test_samples_of_one_machine_or_of_a_stranger_are_not_added() -> None:
    world = watching(failing())
    world.sample(10, "health", Check(outcome=CheckOutcome.FAILED), machine="m1")
    world.sample(11, "health", Check(outcome=CheckOutcome.FAILED), version=42)
    world.fail(12, name="stranger")

    assert state(world, 12) is NO_DATA


def test_a_fact_without_a_time_changes_nothing() -> None:
    world = watching(failing())
    world.fail(math.nan, math.inf)

    assert state(world, 10) is NO_DATA


def test_breaches_of_a_ratio_count_its_judgements() -> None:
    breaches = Breaches(at_least=2, of_last=2)
    world = watching(error_rate(for_seconds=0, min_samples=5, breaches=breaches))
    world.ratio(10, 2, 10)
    assert state(world, 10) is PENDING

    world.ratio(20, 2, 10)

    assert state(world, 20) is BREACHED


def test_a_signal_on_a_probe_of_another_kind_never_judges() -> None:
    world = watching(signal("health", ValueBound(bound=above(1))))
    world.fail(10)

    assert state(world, 10) is NO_DATA


def test_the_state_of_a_signal_does_not_need_a_release() -> None:
    world = watching(failing())
    world.releases(0, release(1))
    world.ok(5)

    assert state(world, 5) is OK
