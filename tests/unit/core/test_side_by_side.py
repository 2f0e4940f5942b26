"""A canary: machines of both releases serve, and are compared with each other."""

import json
import math
from collections.abc import Callable

import pytest

from rollbackd.core.facts import CheckOutcome, Histogram, Measure, Ratio
from rollbackd.core.model import ProbeName, TriggerState
from rollbackd.core.regression import RegressionWatch
from tests.unit.core.world import PROBES, World, regression, release, target, trigger

HOUR = 3600
ERRORS, HEALTH, LATENCY = ProbeName("errors"), ProbeName("health"), ProbeName("latency")
Rate = Callable[[float], float]


class Canary:
    """A quarter of 100 requests a second goes to v42, from `HOUR` on, until `promoted`."""

    def __init__(self, *, whole: bool = True, history: int = HOUR) -> None:
        rule = regression(health=None)
        self.watch = RegressionWatch(rule, {p.name: p for p in PROBES})
        self.whole = whole
        self.old: Rate = lambda _at: 0.001
        self.new: Rate = lambda _at: 0.001
        self.slow_new: Rate = lambda _at: 0.05
        self.silent: Callable[[float], bool] = lambda _at: False
        self.promoted = math.inf
        self.breached_at: float | None = None
        for at in range(HOUR - history + 10, HOUR + 10, 10):
            if whole:
                self._count(at, ERRORS, Ratio(bad=1, total=1000))
                self._count(at, LATENCY, _slow(50, 1000))
            self.watch.close(at, excused=False)
        self.watch.foresee(HOUR)
        self.watch.begin(HOUR)

    def run(self, until: float) -> "Canary":
        at = self.watch.next_end or HOUR + 10
        while at <= until:
            if not self.silent(at):
                self._tick(at)
            self.watch.close(at, excused=False)
            if self.breached_at is None and self.watch.state(at) is TriggerState.BREACHED:
                self.breached_at = at
            at += 10
        return self

    def _tick(self, at: float) -> None:
        share = 1.0 if at > self.promoted else 0.25
        new, old = 1000 * share, 1000 * (1 - share)
        bad_new, bad_old = new * self.new(at), old * self.old(at)
        slow_new = new * self.slow_new(at)
        if self.whole:
            self._count(at, ERRORS, Ratio(bad=bad_new + bad_old, total=1000))
            self._count(at, LATENCY, _slow(slow_new + 0.05 * old, 1000))
        self.part(at, ERRORS, Ratio(bad=bad_new, total=new), new=True)
        self.part(at, LATENCY, _slow(slow_new, new), new=True)
        if old:
            self.part(at, ERRORS, Ratio(bad=bad_old, total=old), new=False)
            self.part(at, LATENCY, _slow(0.05 * old, old), new=False)

    def part(self, at: float, probe: ProbeName, measure: Measure, *, new: bool) -> None:
        self.watch.take_part(at, probe, measure, who="new" if new else "old", new=new)

    def _count(self, at: float, probe: ProbeName, measure: Measure) -> None:
        self.watch.take(at, probe, measure, CheckOutcome.OK, counts=True)

    def since(self) -> float | None:
        return None if self.breached_at is None else self.breached_at - HOUR


def _slow(slow: float, total: float) -> Histogram:
    return Histogram(buckets=((0.1, total / 2), (0.5, total - slow), (math.inf, total)))


def test_a_dependency_that_breaks_after_the_deploy_accuses_nobody() -> None:
    canary = Canary()
    canary.old = canary.new = lambda at: 0.2 if at > HOUR + 60 else 0.001

    assert canary.run(HOUR + 1800).breached_at is None
    assert canary.watch.streams["errors"].odds == 1  # nothing is counted beside the comparison
    assert canary.watch.learning() == ""
    assert canary.watch.known_well(HOUR + 1800)


@pytest.mark.parametrize("whole", [True, False])
def test_a_worse_canary_is_found_with_and_without_history(*, whole: bool) -> None:
    canary = Canary(whole=whole)
    canary.new = lambda at: 0.051 if at > HOUR else 0.001

    canary.run(HOUR + 300)

    assert (canary.since() or math.inf) <= 170
    assert canary.watch.learning() == ""
    assert canary.watch.ill_before() is None
    why = canary.watch.why(HOUR + 300)
    assert "errors 5.1 % on the new machines (" in why
    assert "0.1 % on the old ones (" in why
    sides = canary.watch.evidence()["side_by_side"]
    assert isinstance(sides, dict)
    assert "errors" in sides
    assert canary.watch.onset == HOUR + 60
    assert canary.watch.samples > 0


def test_a_slower_canary_is_found() -> None:
    canary = Canary()
    canary.slow_new = lambda at: 0.3 if at > HOUR else 0.05

    assert (canary.run(HOUR + 600).since() or math.inf) <= 240


def test_a_difference_too_small_to_matter_is_none() -> None:
    canary = Canary()
    canary.old = lambda _at: 0.0001
    canary.new = lambda _at: 0.002

    assert canary.run(HOUR + 1800).breached_at is None


def test_before_anything_is_compared_it_says_so() -> None:
    canary = Canary().run(HOUR + 30)

    assert "about to be compared" in canary.watch.why(HOUR + 30)
    assert canary.watch.odds == 1
    assert not canary.watch.known_well(HOUR + 30)


def test_an_outage_of_both_arms_is_not_blamed_on_the_new_one_when_the_old_one_went() -> None:
    canary = Canary()
    canary.old = canary.new = lambda at: 0.2 if at > HOUR + 200 else 0.001
    canary.promoted = HOUR + 500

    assert canary.run(HOUR + 1800).breached_at is None
    assert not canary.watch.compares


def test_a_total_outage_of_both_arms_is_not_blamed_either() -> None:
    canary = Canary()
    canary.old = canary.new = lambda at: 1.0 if at > HOUR + 200 else 0.001
    canary.promoted = HOUR + 500

    assert canary.run(HOUR + 1800).breached_at is None
    assert canary.watch.hard.need is None


def test_when_the_old_machines_go_the_app_is_judged_by_itself_again() -> None:
    canary = Canary()
    canary.promoted = HOUR + 300
    canary.new = lambda at: 0.2 if at > HOUR + 400 else 0.001

    assert 400 < (canary.run(HOUR + 900).since() or math.inf) <= 600


def test_what_a_canary_was_accused_of_is_kept_when_the_old_machines_go() -> None:
    """Also where too little history would keep the app from being judged by itself."""
    canary = Canary(history=600)
    canary.new = lambda at: 0.1 if at > HOUR else 0.001
    canary.promoted = HOUR + 300

    canary.run(HOUR + 400)
    assert canary.watch.state(HOUR + 400) is TriggerState.BREACHED
    assert canary.watch.learning() == ""
    assert canary.watch.ill_before() is None

    canary.new = lambda _at: 0.001
    canary.run(HOUR + 500)
    assert canary.watch.state(HOUR + 500) is TriggerState.OK


def test_what_was_kept_is_lost_in_silence() -> None:
    canary = Canary()
    canary.new = lambda at: 0.1 if at > HOUR else 0.001
    canary.promoted = HOUR + 300
    canary.run(HOUR + 400)
    canary.silent = lambda _at: True

    canary.run(HOUR + 500)

    assert canary.watch.held_odds == 0
    assert canary.watch.state(HOUR + 500) is TriggerState.NO_DATA


def test_silence_of_both_arms_loses_what_was_counted() -> None:
    canary = Canary(whole=False)
    canary.new = lambda at: 0.051 if at > HOUR else 0.001
    canary.silent = lambda at: HOUR + 130 < at <= HOUR + 170

    canary.run(HOUR + 170)
    assert canary.watch.odds < 1
    assert canary.watch.compares
    assert (canary.run(HOUR + 600).since() or 0) > 200


def test_a_heal_of_the_canary_ends_the_breach() -> None:
    canary = Canary()
    canary.new = lambda at: 0.1 if HOUR < at <= HOUR + 200 else 0.001

    canary.run(HOUR + 200)
    assert canary.breached_at is not None
    canary.old = lambda _at: 0.02
    canary.run(HOUR + 900)
    assert canary.watch.state(HOUR + 900) is TriggerState.OK


def test_doubled_and_late_parts_count_once() -> None:
    canary = Canary().run(HOUR + 100)
    errors = canary.watch.sides.comparisons["errors"]
    canary.part(HOUR + 101, ERRORS, Ratio(bad=5, total=10), new=True)
    canary.part(HOUR + 101, ERRORS, Ratio(bad=5, total=10), new=True)
    canary.part(HOUR + 100, ERRORS, Ratio(bad=5, total=10), new=True)

    canary.run(HOUR + 110)
    before = errors.sums[1]

    assert errors.new.row is None
    assert before == 250 * 5 + 10


def test_parts_counted_by_other_bounds_are_left_out() -> None:
    canary = Canary().run(HOUR + 100)
    latency = canary.watch.sides.comparisons["latency"]
    other = Histogram(buckets=((1.0, 5.0), (math.inf, 10.0)))

    canary.watch.take_part(HOUR + 105, LATENCY, other, who="other", new=True)

    assert latency.new.row is None


def test_parts_before_the_release_and_of_other_kinds_are_left_out() -> None:
    canary = Canary()
    canary.part(HOUR, ERRORS, Ratio(bad=1, total=1), new=True)
    canary.part(HOUR + 5, ERRORS, Ratio(bad=0, total=0), new=True)
    canary.part(HOUR + 5, HEALTH, Ratio(bad=1, total=1), new=True)

    assert canary.watch.sides.comparisons["errors"].new.row is None


def test_a_comparison_survives_a_restart() -> None:
    canary = Canary()
    canary.new = lambda at: 0.051 if at > HOUR else 0.001
    canary.run(HOUR + 120)
    row = json.loads(json.dumps(canary.watch.as_json()))

    again = RegressionWatch(canary.watch.rule, canary.watch.probes)
    again.restore(row)

    assert again.as_json() == canary.watch.as_json()
    canary.watch = again
    assert (canary.run(HOUR + 300).since() or math.inf) <= 170


def test_parts_reach_the_watch_by_machine_and_by_version() -> None:
    world = World(target(trigger(regression(), name="worse")))
    world.releases(0, release(41))
    world.releases(100, release(42), release(41))
    watch = next(iter(world.state.regressions.watches.values()))

    world.sample(105, "errors", Ratio(bad=1, total=10), version=42)
    world.sample(105, "errors", Ratio(bad=0, total=30), machine="a", version=41)
    world.sample(105, "errors", Ratio(bad=0, total=30), machine="b")  # runs nobody knows what
    world.sample(105, "errors", Ratio(bad=0, total=30), version=43)  # not seen to run yet
    world.sample(105, "errors", Ratio(bad=3, total=-1), version=42)

    errors = watch.sides.comparisons["errors"]
    assert errors.new.row == (10, 1)
    assert errors.old.row == (30, 0)


def test_releases_of_one_content_are_not_compared() -> None:
    """As while we roll back: the record of the rollback has the content of what it brings back."""
    world = World(target(trigger(regression(), name="worse")))
    world.releases(0, release(41))
    world.releases(100, release(42), release(41))
    world.releases(200, release(43, "image-41"), release(42), release(41))
    watch = next(iter(world.state.regressions.watches.values()))

    world.sample(205, "errors", Ratio(bad=1, total=10), version=43)
    world.sample(205, "errors", Ratio(bad=0, total=30), machine="a", version=41)
    assert watch.sides.comparisons["errors"].old.row is None

    world.sample(205, "errors", Ratio(bad=2, total=40), machine="b", version=42)
    errors = watch.sides.comparisons["errors"]
    assert (errors.new.row, errors.old.row) == ((10, 1), (40, 2))


def test_without_a_single_bad_one_nothing_is_compared() -> None:
    canary = Canary()
    canary.old = canary.new = lambda _at: 0.0

    canary.run(HOUR + 300)

    assert canary.watch.sides.comparisons["errors"].odds == 0
    evidence = canary.watch.sides.comparisons["errors"].evidence
    assert evidence is not None
    assert evidence.odds == pytest.approx(1)


def test_one_stream_told_apart_and_one_not() -> None:
    """Errors by machine, latency of the whole app: when the old ones go, both are judged again."""
    canary = Canary()
    count = canary.part

    def errors_only(at: float, probe: ProbeName, measure: Measure, *, new: bool) -> None:
        if probe == ERRORS:
            count(at, probe, measure, new=new)

    canary.part = errors_only  # type: ignore[method-assign]  # fewer parts
    canary.promoted = HOUR + 300
    canary.slow_new = lambda at: 0.2 if at > HOUR + 60 else 0.05

    canary.run(HOUR + 400)

    assert not canary.watch.compares
    assert canary.watch.sides.comparisons["latency"].evidence is None
    assert canary.watch.streams["latency"].tolerance > 0.15


def test_a_comparison_of_an_app_that_was_never_seen_before_goes_on_alone() -> None:
    canary = Canary(whole=False)
    canary.promoted = HOUR + 300

    canary.run(HOUR + 400)

    assert not canary.watch.compares
    assert canary.watch.learning() != ""
