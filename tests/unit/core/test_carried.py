"""Trouble that was there before the release accuses nobody, however little traffic showed it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.baseline import Slack
from rollbackd.core.carried import carried
from rollbackd.core.facts import CheckOutcome, Ratio
from rollbackd.core.model import ProbeName
from rollbackd.core.regression import RegressionWatch
from tests.unit.core.world import PROBES, regression

SLACK = Slack(1.5, 0.0025)
ERRORS = ProbeName("errors")
HOUR = 3600.0
counts = st.lists(st.integers(0, 10), max_size=30)


def asked(bad: Sequence[float], rate: float, *, total: float = 10.0, usual: float = 0.001) -> bool:
    return carried(([*bad], [total] * len(bad)), rate, usual=usual, slack=SLACK)


def test_what_the_last_ticks_could_have_been_was_there() -> None:
    assert asked([0, 0, 1, 1, 1, 1], 0.3)
    assert asked([0] * 28 + [0, 2], 0.2)


def test_many_requests_leave_no_doubt_how_bad_it_was() -> None:
    assert not asked([0, 0, 100, 100, 100, 100], 0.3, total=1000)
    assert asked([0, 0, 200, 200, 200, 200], 0.3, total=1000)


def test_what_was_over_before_the_release_is_not_what_is_bad_now() -> None:
    assert not asked([400, 400, 1, 1], 0.3, total=1000)
    assert asked([400, 400], 0.3, total=1000)


def test_a_single_error_of_a_quiet_app_excuses_little() -> None:
    assert not asked([0] * 25 + [1, 0, 0, 0, 0], 0.2)
    assert not asked([0] * 29 + [1], 0.2)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.0025])
def test_a_rate_that_is_usual_needs_no_excuse(rate: float) -> None:
    assert not asked([1] * 30, rate)


def test_a_remission_too_short_to_tell_does_not_end_it() -> None:
    assert asked([2, 2, 2, 0, 0, 0], 0.15)
    assert not asked([8, 8, 8, 0, 0, 0], 0.6)


def test_no_tick_says_nothing() -> None:
    assert not asked([], 1.0)
    assert not carried(([0.0], [0.0]), 1.0, usual=0.001, slack=SLACK)


@given(counts, st.floats(0.01, 1.0))
def test_more_bad_ones_in_the_last_tick_never_take_an_excuse_away(
    bad: list[int], rate: float
) -> None:
    """Up to what is bad now: then it was as bad."""
    before = [float(k) for k in bad] or [0.0]
    worse = [*before[:-1], max(before[-1], rate * 10.0)]
    if asked(before, rate):
        assert asked(worse, rate)


def quiet(before: list[int], *, released: bool = True) -> RegressionWatch:
    """An hour of an app with a request a second; its last ticks had that many errors."""
    watch = RegressionWatch(regression(health=None, latency=None), {p.name: p for p in PROBES})
    told = [0] * (360 - len(before)) + before
    for n, bad in enumerate(told, start=1):
        watch.take(10.0 * n, ERRORS, Ratio(bad=bad, total=10), CheckOutcome.OK, counts=True)
        watch.close(10.0 * n, excused=False)
    watch.foresee(HOUR)
    if released:
        watch.begin(HOUR)
    return watch


def breached_at(watch: RegressionWatch, bad: float, total: float = 10) -> float | None:
    at = HOUR
    while at < HOUR + 900:
        at += 10
        watch.take(at, ERRORS, Ratio(bad=bad, total=total), CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)
        if watch.breached:
            return at - HOUR
    return None


def test_an_outage_a_minute_older_than_the_release_is_not_its_doing() -> None:
    watch = quiet([1, 1, 1, 1])  # one in ten would be tolerated, and a half more

    assert breached_at(watch, 3) is None
    assert watch.streams["errors"].tolerance == pytest.approx(0.45)


def test_the_same_errors_after_a_clean_hour_are_the_release() -> None:
    assert breached_at(quiet([]), 3) == 90


def test_what_gets_worse_once_more_is_accused_after_all() -> None:
    watch = quiet([1, 1, 1, 1])
    for n in range(1, 31):
        at = HOUR + 10.0 * n
        watch.take(at, ERRORS, Ratio(bad=3, total=10), CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)
    for n in range(31, 100):
        at = HOUR + 10.0 * n
        watch.take(at, ERRORS, Ratio(bad=10, total=10), CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)

    assert watch.breached


def test_what_is_known_of_the_time_before_outlives_a_restart() -> None:
    watch = quiet([1, 1, 1, 1])
    again = RegressionWatch(watch.rule, watch.probes)
    again.restore(watch.as_json())

    assert again.streams["errors"].baseline == watch.streams["errors"].baseline
    assert breached_at(again, 3) is None


def test_what_came_between_seen_and_switched_was_before_it_too() -> None:
    watch = quiet([], released=False)
    for n in range(1, 5):
        at = HOUR + 10.0 * n
        watch.take(at, ERRORS, Ratio(bad=1, total=10), CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)
    watch.begin(HOUR + 40, machines_seen=True)

    before = watch.streams["errors"].baseline
    assert before is not None
    assert before.before[0][-4:] == [1, 1, 1, 1]


def test_a_sample_older_than_the_newest_is_not_counted() -> None:
    watch, again = quiet([]), quiet([])
    for one in (watch, again):
        one.take(HOUR + 30, ERRORS, Ratio(bad=0, total=10), CheckOutcome.OK, counts=True)
    again.take(HOUR + 25, ERRORS, Ratio(bad=10, total=10), CheckOutcome.OK, counts=True)
    for one in (watch, again):
        one.close(HOUR + 60, excused=False)
    assert again.as_json() == watch.as_json()
