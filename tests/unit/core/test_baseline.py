"""Corners of what is learned before a release that no scenario walks into."""

import math
from dataclasses import replace

import pytest

from rollbackd.core.baseline import (
    Slack,
    learn,
    longest_run,
    ordinary,
    overdispersion,
    recent,
)
from rollbackd.core.bounds import pick_bound, telling_bound
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.facts import CheckOutcome, Histogram, MeasureKind, Ratio
from rollbackd.core.frozen import Baseline, Past, baseline_of, freeze
from rollbackd.core.hard_down import HardDown, at_least, needed
from rollbackd.core.kinds import LATENCY
from rollbackd.core.model import ProbeName, TriggerState
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.regression_words import odds
from tests.unit.core.world import PROBES, probe, regression

SLACK = Slack(1.5, 0.0025)


def test_without_a_single_event_nobody_can_be_accused() -> None:
    learned = learn([0] * 10, [0] * 10, slack=SLACK, beta=1e-4, tick_seconds=10, at_least=6)

    assert learned.tolerance == math.inf
    assert learned.persistence == 6


def test_a_minute_of_history_does_not_vary() -> None:
    assert overdispersion([1, 2, 3], [10, 10, 10], 6) == 1


def test_ordinary_blocks_with_few_bad_ones_are_clean() -> None:
    assert ordinary([4] * 30, [10] * 30, 30) == pytest.approx(0.5)
    assert ordinary([0.1] * 30, [10] * 30, 30) == 0


def test_the_newest_whole_blocks_count() -> None:
    """Thirty ticks a block: five odd ones at the front belong to none."""
    assert ordinary([10] * 5 + [0] * 30, [10] * 35, 30) == 0


def test_recent_trouble_needs_more_than_chance() -> None:
    few = recent([0] * 5 + [4], [10] * 6, slack=SLACK, tick_seconds=10, many=5)
    many = recent([0] * 5 + [6], [10] * 6, slack=SLACK, tick_seconds=10, many=5)

    assert few == 0
    assert many == pytest.approx(0.15)


def test_two_bad_looks_are_many_where_looks_are_all_there_is() -> None:
    before = [0.0] * 358 + [1.0, 1.0]
    looks = learn(before, [1] * 360, slack=SLACK, beta=1e-4, tick_seconds=10, at_least=6)
    double = learn(before, [2] * 360, slack=SLACK, beta=1e-4, tick_seconds=10, at_least=6, looks=2)
    traffic = learn(before, [2] * 360, slack=SLACK, beta=1e-4, tick_seconds=10, at_least=6)

    assert looks.tolerance == pytest.approx(0.5)
    assert double.tolerance == pytest.approx(0.25)
    assert traffic.tolerance < 0.1


def test_what_is_in_no_whole_block_varies_by_nothing() -> None:
    """One sample in the half block that is left over, then silence."""
    bad, total = [3.0, *[0.0] * 12], [1000.0, *[0.0] * 12]

    assert overdispersion(bad, total, 6) == 1.0
    assert learn(bad, total, slack=SLACK, beta=1e-4, tick_seconds=10, at_least=6).rate == 0.003
    assert ordinary([], [], 30) == 0.0


def test_a_tick_without_data_neither_extends_nor_breaks_a_run() -> None:
    assert longest_run([5, 0, 5, 0, 5], [10, 0, 10, 10, 10], 0.1) == 2


def test_a_bound_that_would_be_of_no_use_gives_way_to_one_that_is() -> None:
    """All answers take 30 to 45 ms: nine in ten are over 25 ms, none over 50."""
    assert pick_bound([1000, 900, 0, 0], 1000) == 1
    bounds = (0.01, 0.025, 0.05, 0.1)
    assert telling_bound(bounds, [1000, 900, 0, 0], 1000, slack=LATENCY.slack) == 2
    assert telling_bound(bounds, [1000, 900, 800], 1000, slack=LATENCY.slack) == 2
    assert telling_bound(bounds, [300, 50, 0], 1000, slack=LATENCY.slack) == 1
    assert telling_bound((), [], 0, slack=LATENCY.slack) == 0


def test_the_bound_by_which_twice_as_slow_shows_is_taken() -> None:
    """A fifth takes longer than 100 ms: twice as slow would be three fifths, and two are tolerated.

    One in a hundred takes longer than 250 ms: twice as slow would be 15 times as many.
    """
    bounds, slower = (0.05, 0.1, 0.25, 0.5), [620, 197, 9, 0]

    assert pick_bound(slower, 1000) == 1
    assert telling_bound(bounds, slower, 1000, slack=LATENCY.slack) == 2


def test_the_bound_nearest_to_five_percent_is_kept_where_it_tells_enough() -> None:
    bounds, slower = (0.05, 0.1, 0.2, 0.5), [600, 300, 60, 8]

    assert telling_bound(bounds, slower, 1000, slack=LATENCY.slack) == pick_bound(slower, 1000) == 2


def test_where_no_bound_is_fit_the_nearest_is_kept_if_it_can_accuse() -> None:
    assert telling_bound((0.1, 0.25), [250, 0], 1000, slack=LATENCY.slack) == 0


def test_a_bound_below_which_nothing_is_counted_is_judged_by_itself() -> None:
    assert telling_bound((0.1,), [100], 1000, slack=LATENCY.slack) == 0
    assert telling_bound((0.0, 0.1), [1000, 150], 1000, slack=LATENCY.slack) == 1


def past(name: str, **changes: object) -> Past:
    base = Past(
        name=name,
        weight=0.45,
        slack=SLACK,
        ticks=([0.0] * 360, [100.0] * 360),
        bounds=(0.0,),
        bound=0,
        covered_seconds=3600,
        unbroken=True,
        fresh=True,
        pace_seconds=10,
        looks=1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields by name


def frozen(*pasts: Past) -> dict[str, Baseline]:
    return freeze(pasts, at=3600, tick_seconds=10, at_least_seconds=3600)


def test_a_stream_with_too_little_history_is_left_out_where_another_has_enough() -> None:
    found = frozen(past("errors"), past("health", weight=0.25, covered_seconds=600))

    assert found["errors"].weight == 1
    assert found["health"].weight == 0
    assert not found["health"].used
    assert frozen(past("errors", fresh=False), past("health"))["errors"].weight == 0


def test_what_one_source_did_not_tell_is_no_gap_while_another_one_did() -> None:
    """Two misses in a row of an hour leave the errors out of nothing."""
    found = frozen(past("errors", covered_seconds=3570, unbroken=False), past("health"))

    assert found["errors"].used
    assert found["errors"].enough
    assert found["errors"].unbroken
    assert not frozen(past("errors", covered_seconds=3200), past("health"))["errors"].used


def test_what_nobody_saw_is_a_gap() -> None:
    """But for a minute of an hour, which no one sees whole."""
    holes = frozen(*(past(name, covered_seconds=3539) for name in ("errors", "health")))
    whole = frozen(*(past(name, covered_seconds=3540) for name in ("errors", "health")))
    lately = frozen(*(past(name, unbroken=False) for name in ("errors", "health")))

    assert not any(b.enough for b in holes.values())
    assert all(b.enough for b in whole.values())
    assert not any(b.unbroken for b in lately.values())


def test_trouble_half_a_minute_old_is_tolerated() -> None:
    """It is too young to show in a minute, and it began before the release."""
    for ticks in (1, 2, 3):
        bad = [0.0] * (360 - ticks) + [20.0] * ticks
        found = frozen(past("errors", ticks=(bad, [100.0] * 360)))["errors"]
        assert found.tolerance == pytest.approx(0.3)


def test_where_all_have_too_little_all_are_kept() -> None:
    found = frozen(past("errors", covered_seconds=10), past("health", covered_seconds=10))

    assert all(b.used and not b.enough and b.weight == 0.5 for b in found.values())


def test_looks_may_fail_as_often_as_requests() -> None:
    bad = ([20.0] * 360, [100.0] * 360)
    found = frozen(past("errors", ticks=bad), past("health"))

    assert found["health"].tolerance == found["errors"].tolerance > 0.2
    left_out = frozen(past("errors", ticks=bad, covered_seconds=10), past("health"))
    assert left_out["health"].tolerance < 0.1


def test_what_was_ill_is_named_with_its_beginning() -> None:
    bad = [0.0] * 300 + [90.0] * 20 + [0.0, 0.0] + [90.0] * 38
    found = frozen(past("errors", ticks=(bad, [100.0] * 360)))["errors"]

    assert found.tolerance == math.inf
    assert found.ill_since == 3000
    assert found.ill_rate == pytest.approx(0.9)


def test_a_whole_history_that_was_ill_began_with_it() -> None:
    total = [100.0] * 358 + [0.0, 100.0]
    bad = [0.9 * n for n in total]

    assert frozen(past("errors", ticks=(bad, total)))["errors"].ill_since == 0


def test_a_raised_tolerance_never_falls_and_ends_where_it_would_be_too_much() -> None:
    healthy = frozen(past("errors"))["errors"]

    assert healthy.raised(0.0, SLACK, since=5) == healthy
    assert healthy.raised(0.2, SLACK, since=5).tolerance == pytest.approx(0.3)
    broken = healthy.raised(0.5, SLACK, since=5)
    assert broken.tolerance == math.inf
    assert (broken.ill_since, broken.ill_rate) == (5, 0.5)
    assert broken.raised(0.9, SLACK, since=7) == broken
    assert baseline_of(broken.as_json()) == broken
    assert baseline_of(healthy.as_json()) == healthy


def test_evidence_has_a_ceiling_and_crumbs_are_none() -> None:
    evidence = Evidence(cap=10, tick_seconds=10)
    for _ in range(400):
        evidence.step(1000)
    assert evidence.odds < 1e201

    quiet = Evidence(cap=10, tick_seconds=10)
    quiet.skip(10_000)
    assert quiet.odds == 0


def test_a_stake_that_was_skipped_is_smaller_than_one_that_was_seen() -> None:
    seen, skipped = (Evidence(cap=5, tick_seconds=10) for _ in range(2))
    for _ in range(4):
        seen.step(1)
    skipped.skip(4)
    skipped.step(1)
    seen.step(1)

    assert skipped.odds < seen.odds
    skipped.skip(1)
    assert skipped.odds < 0.5


def test_a_cap_lets_so_many_ticks_be_enough() -> None:
    assert 0.5 * 0.45 * cap_of(odds=2000, weight=0.45, ticks=6) ** 6 == pytest.approx(2000)


def test_how_long_everything_must_be_down() -> None:
    assert (at_least(10), at_least(15), at_least(20), at_least(1)) == (4, 3, 3, 40)
    assert needed([], [], least=4, recent_ticks=30) == 4
    assert needed([1] + [0] * 359, [1] * 360, least=4, recent_ticks=30) == 4


def test_a_streak_needs_a_source_that_was_never_silent() -> None:
    hard = HardDown(4)
    for at in range(2):
        hard.look(ok=False)
        hard.close(at, gapped=(), neutral=False)

    hard.count(10, 10)
    hard.close(2, gapped=("errors",), neutral=False)
    assert hard.streak == 3
    hard.count(10, 10)
    hard.close(3, gapped=("health",), neutral=False)
    assert hard.streak == 1
    assert not hard.fired


def test_nothing_seen_in_a_tick_leaves_a_streak_alone() -> None:
    hard = HardDown(2)
    hard.look(ok=False)
    hard.close(0, gapped=(), neutral=False)

    assert hard.close(1, gapped=(), neutral=False) is None
    hard.count(2, 4)
    assert hard.close(2, gapped=(), neutral=False) is None
    assert hard.streak == 1
    hard.look(ok=False)
    hard.count(5, 5)
    assert hard.close(3, gapped=(), neutral=True) is True
    assert hard.streak == 1
    hard.look(ok=False)
    hard.count(1, 5)
    assert hard.close(4, gapped=(), neutral=False) is False
    assert hard.streak == 0


def test_odds_are_said_so_that_they_can_be_read() -> None:
    assert [odds(n) for n in (0.5, 4611.4, 3e40)] == ["0.5 : 1", "4,611 : 1", "10^40 : 1"]


def test_an_app_seen_only_by_its_errors_can_be_down() -> None:
    errors = ProbeName("errors")
    rule = regression(health=None, latency=None)
    watch = RegressionWatch(rule, {errors: probe("errors", MeasureKind.RATIO)})
    for at in range(10, 3610, 10):
        watch.take(at, errors, Ratio(bad=0, total=1000), CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)
    watch.foresee(3600)
    watch.begin(3600)
    for at in range(3610, 3660, 10):
        watch.take(at, errors, Ratio(bad=600, total=1000), CheckOutcome.OK, counts=False)
        watch.close(at, excused=False)

    assert watch.state(3650) is TriggerState.BREACHED
    assert watch.why(3650) == "down for 50 s: 3,000 of 5,000 requests"


def test_latency_alone_is_never_down() -> None:
    rule = regression(errors=ProbeName("errors"), health=None)
    watch = RegressionWatch(replace(rule, errors=None, health=None), {p.name: p for p in PROBES})
    watch.begin(0)

    assert watch.hard.need is None
    assert watch.why(5) == "nothing was seen yet"


def test_other_bounds_than_before_are_not_compared() -> None:
    latency = ProbeName("latency")
    watch = RegressionWatch(regression(errors=None, health=None), {p.name: p for p in PROBES})

    def tell(at: float, *buckets: tuple[float, float]) -> None:
        watch.take(at, latency, Histogram(buckets=buckets), CheckOutcome.OK, counts=True)

    for at in range(10, 3610, 10):
        tell(at, (0.1, 500.0), (0.5, 950.0), (math.inf, 1000.0))
        watch.close(at, excused=False)
    watch.foresee(3600)
    watch.begin(3600, machines_seen=True)
    for at in range(3610, 4000, 10):
        tell(at, (0.2, 100.0), (math.inf, 1000.0))
        watch.close(at, excused=False)

    assert watch.odds <= 1
    assert watch.why(3990) == "nothing was counted since the release yet"
    tell(3995, (0.3, 100.0), (math.inf, 1000.0))
    assert watch.streams["latency"].row == [1000, 900]


def test_bounds_that_change_before_the_first_machine_switched_raise_nothing() -> None:
    latency = ProbeName("latency")
    watch = RegressionWatch(regression(errors=None, health=None), {p.name: p for p in PROBES})
    for at in range(10, 3610, 10):
        seen = Histogram(buckets=((0.1, 500.0), (0.5, 950.0), (math.inf, 1000.0)))
        watch.take(at, latency, seen, CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)
    watch.foresee(3600)
    slow = Histogram(buckets=((0.2, 0.0), (math.inf, 1000.0)))
    watch.take(3610, latency, slow, CheckOutcome.OK, counts=True)

    watch.begin(3610, machines_seen=True)

    assert watch.streams["latency"].tolerance == pytest.approx(0.0771, rel=0.01)
