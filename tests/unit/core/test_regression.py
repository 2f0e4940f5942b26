"""Releases that are worse and releases that are not, told second by second to the whole core."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollbackd.core.facts import Check, CheckOutcome, PastSeen, Ratio, Value
from rollbackd.core.model import HoldReason, ProbeName, ReleaseStatus, RollBack, TriggerState
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Regression
from tests.unit.core.world import (
    PROBES,
    SHOP,
    World,
    failing,
    machine,
    regression,
    release,
    target,
    trigger,
)

HOUR = 3600
SLOW = ((0.05, 400.0), (0.1, 800.0), (0.25, 950.0), (0.5, 990.0), (math.inf, 1000.0))
TWICE = ((0.05, 150.0), (0.1, 500.0), (0.25, 690.0), (0.5, 900.0), (math.inf, 1000.0))
Now = Callable[[float], float]


def never(_at: float) -> float:
    return 0.001


class Life:
    """An app at 100 requests a second, seen every 10 s; the release v42 comes at `HOUR`."""

    def __init__(self, rule: Regression | None = None, **more: Any) -> None:
        self.world = World(target(trigger(rule or regression(), name="worse", **more)))
        self.world.releases(0, release(41))
        self.errors: Now = never
        self.requests = 1000.0  # a tick
        self.dead: Callable[[float], bool] = lambda _at: False
        self.slow: Callable[[float], bool] = lambda _at: False
        self.skip: Callable[[float], bool] = lambda _at: False
        self.rolled_at: float | None = None
        self.at = 0.0

    @property
    def watch(self) -> RegressionWatch:
        return next(iter(self.world.state.regressions.watches.values()))

    def run(self, until: float) -> "Life":
        """Every ten seconds: the samples, then the tick, then a decision."""
        while self.at < until:
            self.at += 10
            if not self.skip(self.at):
                self.look(self.at)
            self.world.state.advance(self.at)
            if self.rolled_at is None and isinstance(self.world.decide(self.at), RollBack):
                self.rolled_at = self.at
        return self

    def look(self, at: float) -> None:
        dead = self.dead(at)
        rate = 1.0 if dead else self.errors(at)
        self.world.ratio(at, self.requests * rate, self.requests)
        self.world.check(at, "failed" if dead else "ok", seconds=0.05)
        self.world.buckets(at, *(TWICE if self.slow(at) else SLOW))

    def deploy(self, at: float = HOUR, version: int = 42) -> "Life":
        self.world.releases(at, *(release(v) for v in range(version, 40, -1)))
        return self

    def since(self) -> float | None:
        return None if self.rolled_at is None else self.rolled_at - HOUR


def life(**more: Any) -> Life:
    return Life(**more).run(HOUR)


def test_a_release_like_the_one_before_is_left_alone() -> None:
    told = life().deploy().run(2 * HOUR)

    assert told.rolled_at is None
    assert told.world.reason(told.at) is HoldReason.OK
    assert told.watch.known_well(told.at)


def test_an_outage_goes_back_when_the_release_had_its_time_to_settle() -> None:
    told = life().deploy()
    told.dead = lambda at: at > HOUR

    assert told.run(HOUR + 60).since() == 60
    found = told.world.rolled(told.at)
    assert "down for 60 s: 6 of 6 looks failed and 6,000 of 6,000 requests" in found.why
    assert found.onset_at == HOUR
    assert found.evidence["fast_path"] == {
        "ticks": 6, "needed": 4, "looks": 6, "bad": 6000, "total": 6000,
    }  # fmt: skip


def test_an_outage_after_the_first_success_goes_back_after_four_ticks() -> None:
    told = life().deploy()
    told.dead = lambda at: at > HOUR + 100

    assert told.run(HOUR + 300).since() == 140


@pytest.mark.parametrize(
    ("rate", "within"), [(0.201, 120), (0.051, 140), (0.25, 120), (0.011, 300)]
)
def test_more_errors_are_found(rate: float, within: float) -> None:
    told = life().deploy()
    told.errors = lambda at: rate if at > HOUR else 0.001

    told.run(HOUR + 600)

    assert told.since() is not None
    assert (told.since() or 0) <= within


@pytest.mark.parametrize(("requests", "accuses"), [(1000.0, False), (29.0, True)])
def test_warming_up_excuses_less_where_few_ask(requests: float, accuses: bool) -> None:
    told = Life()
    told.requests = requests
    told.run(HOUR).deploy()
    told.errors = lambda at: 0.08 if at > HOUR else 0.001

    told.run(HOUR + 60)

    assert (told.watch.streams["errors"].odds > 1) is accuses


def test_a_slower_release_is_found() -> None:
    told = life().deploy()
    told.slow = lambda at: at > HOUR

    told.run(HOUR + 600)

    assert told.since() is not None
    assert (told.since() or 0) <= 180
    assert "slower than 500 ms 10 %" in told.watch.why(HOUR + 180)


def test_why_and_evidence_name_the_numbers() -> None:
    told = life().deploy()
    told.errors = lambda at: 0.051 if at > HOUR else 0.001

    told.run(HOUR + 140)

    found = told.world.rolled(told.at)
    assert "errors 5.1 % (" in found.why
    assert "before 0.1 %, tolerated 0.37 %; evidence " in found.why
    assert found.onset_at == HOUR + 60  # until then six in a hundred are tolerated
    signals = found.evidence["signals"]
    assert isinstance(signals, dict)
    assert set(signals) == {"errors", "health", "latency"}
    errors = signals["errors"]
    assert isinstance(errors, dict)
    assert errors["bad"] == pytest.approx(0.051 * float(str(errors["total"])))
    assert errors["before"] == pytest.approx(0.001)


def test_a_dependency_that_failed_before_accuses_nobody() -> None:
    told = Life()
    told.errors = lambda at: 0.2 if at > HOUR - 100 else 0.001
    told.run(HOUR).deploy().run(2 * HOUR)

    assert told.rolled_at is None


def test_an_app_that_was_down_before_cannot_be_accused() -> None:
    told = Life(rule=regression(latency=None))
    told.dead = lambda at: at > HOUR - 600
    told.run(HOUR).deploy().run(HOUR + 900)

    assert told.rolled_at is None
    assert told.world.verdict(told.at).state is TriggerState.NO_DATA
    assert "the app was failing 100 % before the release already" in told.watch.why(told.at)
    assert told.watch.ill_before() == HOUR - 600


def test_a_veto_holds_and_what_it_saw_is_not_counted_afterwards() -> None:
    told = Life(unless=(failing("database"),)).run(HOUR).deploy()
    told.errors = lambda at: 0.2 if HOUR + 100 < at <= HOUR + 400 else 0.001
    look = told.look

    def look_with_database(at: float) -> None:
        look(at)
        ill = HOUR + 100 < at <= HOUR + 400
        told.world.check(at, "failed" if ill else "ok", name="database")

    told.look = look_with_database  # type: ignore[method-assign]  # one more probe

    told.run(HOUR + 400)
    assert told.world.reason(told.at) is HoldReason.VETOED

    told.run(2 * HOUR)
    assert told.rolled_at is None


def test_a_restart_gap_accuses_nobody() -> None:
    told = life().deploy()
    told.dead = lambda at: HOUR < at <= HOUR + 30
    told.errors = lambda at: 0.09 if HOUR + 30 < at <= HOUR + 60 else 0.001

    assert told.run(2 * HOUR).rolled_at is None


def test_a_slow_boot_that_ends_in_time_accuses_nobody() -> None:
    """Hard-down has fired, the gate `settling` held it; the first answer ends both."""
    told = life().deploy()
    told.dead = lambda at: HOUR < at <= HOUR + 50

    told.run(HOUR + 50)
    assert told.world.reason(told.at) is HoldReason.SETTLING

    told.look(HOUR + 60)
    assert not isinstance(told.world.decide(HOUR + 60.5), RollBack)
    assert told.run(2 * HOUR).rolled_at is None


def test_single_missing_samples_do_not_keep_it_from_learning() -> None:
    told = Life()
    told.skip = lambda at: at % 100 == 50
    told.run(HOUR).deploy()
    told.errors = lambda at: 0.2 if at > HOUR else 0.001

    assert told.run(HOUR + 300).rolled_at is not None


def test_a_hole_in_the_hour_before_holds_as_learning() -> None:
    told = Life()
    told.skip = lambda at: 1000 < at <= 1070
    told.run(HOUR).deploy()
    told.errors = lambda at: 0.2 if at > HOUR else 0.001

    told.run(HOUR + 300)

    assert told.rolled_at is None
    assert told.world.reason(told.at) is HoldReason.LEARNING
    assert "were seen before the release, 60 min are needed" in told.watch.learning()


def test_a_hole_right_before_the_release_holds_as_learning() -> None:
    told = Life()
    told.skip = lambda at: 3 * HOUR - 200 < at <= 3 * HOUR - 150
    told.run(3 * HOUR).deploy(3 * HOUR)
    told.errors = lambda at: 0.2 if at > 3 * HOUR else 0.001

    told.run(3 * HOUR + 300)

    assert told.world.reason(told.at) is HoldReason.LEARNING
    assert "in the 5 min before the release" in told.watch.learning()


def test_silence_after_the_release_loses_what_was_counted() -> None:
    told = life().deploy()
    told.errors = lambda at: 0.2 if at > HOUR + 100 else 0.001
    told.skip = lambda at: HOUR + 140 < at <= HOUR + 170

    told.run(HOUR + 160)
    assert told.watch.odds > 1
    told.run(HOUR + 170)
    assert told.watch.odds < 1
    assert told.watch.state(told.at) is TriggerState.NO_DATA
    assert told.watch.why(told.at) == "no sample for 30 s"
    assert told.run(HOUR + 600).rolled_at is not None


def test_after_a_rollback_the_bad_time_is_struck_and_the_good_release_is_well() -> None:
    told = life().deploy()
    told.errors = lambda at: 0.5 if HOUR < at <= HOUR + 150 else 0.001
    told.run(HOUR + 120)
    before = told.watch.streams["errors"].baseline
    bad, good = release(42), release(41)
    told.world.started(told.at, bad, good)
    told.world.releases(told.at + 1, release(43, "image-41"), release(42), release(41))
    told.run(HOUR + 150)
    told.world.switched(told.at, version=43)

    assert told.watch.streams["errors"].baseline == before
    assert told.watch.odds == 1
    told.run(HOUR + 220)
    assert told.watch.known_well(told.at)
    told.world.ended(told.at)
    told.run(HOUR + 2000)
    told.deploy(HOUR + 2000, 44)
    after = told.watch.streams["errors"].baseline
    assert after is not None
    assert after.rate == pytest.approx(0.001)


def test_the_next_release_is_compared_with_the_last_one_too() -> None:
    told = life().deploy()
    told.errors = lambda at: 0.001 if at <= HOUR else 0.003
    told.run(3 * HOUR).deploy(3 * HOUR, 43)

    baseline = told.watch.streams["errors"].baseline

    assert baseline is not None
    assert baseline.rate > 0.002


def test_the_first_release_ever_is_well_where_nothing_fails() -> None:
    told = Life().run(600)

    assert told.watch.known_well(told.at)
    assert told.world.reason(told.at) is HoldReason.OK
    assert told.watch.learning() == "0 s were seen before the release, 60 min are needed"


def test_the_first_release_ever_is_not_well_where_one_in_five_fails() -> None:
    told = Life()
    told.errors = lambda _at: 0.2
    told.run(600)

    assert not told.watch.known_well(told.at)


def test_before_any_release_it_only_gathers() -> None:
    world = World(target(trigger(regression(), name="worse")))
    watch = next(iter(world.state.regressions.watches.values()))

    assert watch.state(0) is TriggerState.NO_DATA
    assert watch.why(0) == "nothing was seen yet"
    assert watch.learning() == "nothing is known of the time before the release"
    assert watch.next_end is None
    for at in range(10, 200, 10):
        world.ratio(at, 500, 1000)
        world.state.advance(at)
    assert watch.state(190) is TriggerState.OK
    assert watch.odds == 1
    assert watch.onset is None
    assert watch.why(190) == "no release was seen to begin"
    assert not watch.known_well(190)
    watch.put_back(195)
    assert watch.odds == 1


def test_a_probe_alone_is_enough() -> None:
    told = Life(regression(errors=None, latency=None)).run(HOUR).deploy()
    told.dead = lambda at: at > HOUR + 60 and (at // 10) % 2 == 0

    told.run(HOUR + 900)

    assert told.rolled_at is not None
    assert "failed looks" in told.watch.why(told.at)


def test_a_probe_alone_finds_slow_answers() -> None:
    told = Life(regression(errors=None, latency=None)).run(HOUR).deploy()
    look = told.look

    def slow_look(at: float) -> None:
        look(at) if at <= HOUR else told.world.check(at, "ok", seconds=3.0)

    told.look = slow_look  # type: ignore[method-assign]  # other answers

    told.run(HOUR + 900)

    assert told.rolled_at is not None
    assert "slower than" in told.watch.why(told.at)


def test_what_was_bad_until_the_first_machine_switched_is_tolerated() -> None:
    """The deploy is seen, the app begins to fail, and only then a machine is replaced."""
    told = Life()
    old, new = machine("a", "image-41", 41), machine("a", "image-42", 42)
    told.world.machines(5, old)
    told.run(HOUR)
    told.world.releases(HOUR, release(42, status=ReleaseStatus.RUNNING), release(41))
    told.world.machines(HOUR, old)
    told.errors = lambda at: 0.2 if at > HOUR + 20 else 0.001
    told.run(HOUR + 125)
    told.world.machines(HOUR + 125, new)
    told.world.releases(HOUR + 126, release(42), release(41))

    assert told.watch.begun_at == HOUR + 125
    assert told.watch.streams["errors"].tolerance == pytest.approx(0.3, rel=0.01)
    assert told.run(2 * HOUR).rolled_at is None


def test_refusals_are_no_data() -> None:
    told = life().deploy()
    watch = told.watch
    before = watch.streams["health"].seen_at

    refused = Check(outcome=CheckOutcome.REFUSED)
    watch.take(HOUR + 10, ProbeName("health"), refused, CheckOutcome.REFUSED, counts=True)
    assert watch.streams["health"].seen_at == before

    watch.take(HOUR + 10, ProbeName("health"), refused, CheckOutcome.FAILED, counts=True)
    assert watch.streams["health"].seen_at == HOUR + 10


def test_a_woken_app_may_boot() -> None:
    """Its failures while it wakes up are not looked at at all."""
    told = Life(regression(latency=None)).run(HOUR).deploy().run(HOUR + 100)
    told.world.sleep(HOUR + 101)
    told.world.sleep(HOUR + 101, name="errors")
    told.at = HOUR + 400

    for at in range(HOUR + 405, HOUR + 455, 10):
        told.world.fail(at)
        told.world.state.advance(at)

    assert told.watch.hard.streak == 0


def test_a_breach_that_is_over_is_over() -> None:
    """Held back, and healed by itself: three ticks as before end it."""
    told = life()
    told.world.tell_paused(HOUR, 3 * HOUR)
    told.deploy()
    told.errors = lambda at: 0.2 if HOUR + 100 < at <= HOUR + 300 else 0.001

    told.run(HOUR + 320)
    assert told.watch.state(told.at) is TriggerState.BREACHED
    assert told.world.reason(told.at) is HoldReason.PAUSED
    told.run(HOUR + 330)
    assert told.watch.state(told.at) is TriggerState.OK


def test_an_outage_that_is_over_is_over() -> None:
    told = life()
    told.world.tell_paused(HOUR, 3 * HOUR)
    told.deploy()
    told.dead = lambda at: HOUR + 100 < at <= HOUR + 160

    told.run(HOUR + 160)
    assert told.watch.state(told.at) is TriggerState.BREACHED
    told.run(HOUR + 200)
    assert told.watch.state(told.at) is TriggerState.OK


def test_trouble_that_grows_slowly_is_pending_first() -> None:
    told = life().deploy()
    told.errors = lambda at: 0.012 if at > HOUR + 100 else 0.001
    states = []

    while told.rolled_at is None and told.at < 2 * HOUR:
        told.run(told.at + 10)
        states.append(told.watch.state(told.at))

    assert TriggerState.PENDING in states
    assert states[-1] is TriggerState.BREACHED
    assert told.watch.onset == HOUR + 100


def test_a_probe_that_is_told_late_is_not_blamed_on_the_release() -> None:
    """Half a minute late: what comes in right after the release tells of the time before it."""
    rule = regression(health=None, latency=None)
    late = replace(PROBES[3], delay_seconds=30)
    watch = RegressionWatch(rule, {late.name: late})

    def count(at: float, bad: float) -> None:
        seen = Ratio(bad=bad, total=1000)
        watch.take(at, late.name, seen, CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)

    for at in range(10, HOUR + 10, 10):
        count(at, 1)
    watch.foresee(HOUR)
    watch.begin(HOUR, machines_seen=True)
    known = watch.streams["errors"].tolerance
    for at in (HOUR + 10, HOUR + 20, HOUR + 30):
        count(at, 200)

    assert known < 0.01
    assert watch.streams["errors"].tolerance == pytest.approx(0.3, rel=0.02)
    for at in range(HOUR + 40, 2 * HOUR, 10):
        count(at, 200)
        assert watch.state(at) is not TriggerState.BREACHED


def test_a_deploy_in_the_middle_of_a_tick_cuts_it_in_two() -> None:
    """What came before it belongs to the release before, and ticks begin with it."""
    told = life()
    told.world.ratio(HOUR + 4, 200, 1000)
    told.world.check(HOUR + 4)

    told.world.releases(HOUR + 5, release(42), release(41))

    errors = told.watch.streams["errors"]
    assert told.watch.next_end == HOUR + 15
    assert errors.baseline is not None
    assert errors.baseline.rate == pytest.approx((354 + 200) / 355_000)  # not its first minute
    assert errors.history.tail(0, 1) == ([200], [1000])
    assert errors.row is None


def test_the_past_comes_in_as_a_fact() -> None:
    told = Life()
    past = tuple((float(at), Ratio(bad=1, total=1000)) for at in range(-4000, 0, 10))

    told.world.tell(PastSeen(target=SHOP, probe=ProbeName("errors"), at=1, samples=past))
    told.world.tell(PastSeen(target=SHOP, probe=ProbeName("locks"), at=1, samples=past))

    assert told.watch.learning() == ""


def test_a_measure_of_another_kind_counts_nothing() -> None:
    told = life().deploy()
    errors = ProbeName("errors")

    told.watch.take(HOUR + 5, errors, Value(value=7), CheckOutcome.OK, counts=True)

    assert told.watch.streams["errors"].row is None


def test_a_watch_that_saw_nothing_survives_a_restart() -> None:
    fresh = Life().watch
    bare = RegressionWatch(fresh.rule, fresh.probes)
    again = RegressionWatch(fresh.rule, fresh.probes)

    again.restore(bare.as_json())

    assert again.as_json() == bare.as_json()
    assert again.evidence() == {"odds": 1.0, "signals": {}}


def test_looks_alone_can_say_that_it_is_down() -> None:
    told = Life(regression(errors=None, latency=None)).run(HOUR).deploy()
    told.dead = lambda at: at > HOUR + 100

    told.run(HOUR + 140)

    assert told.since() == 140
    assert told.world.rolled(told.at).why.endswith("down for 40 s: 4 of 4 looks failed")


def test_a_second_trigger_of_another_policy_is_begun_where_the_release_is() -> None:
    told = life().deploy()
    told.world.state.carry(target(trigger(regression(odds=500), name="worse")), HOUR + 50)

    assert told.watch.rule.odds == 500
    assert told.watch.begun_at == HOUR + 50
    same = told.watch
    told.world.state.carry(target(trigger(regression(odds=500), name="worse")), HOUR + 60)
    assert told.watch is same


@pytest.mark.parametrize(("missed", "gap"), [(True, False), (False, True)])
def test_a_gap_is_a_gap_after_a_restart(*, missed: bool, gap: bool) -> None:
    told = life().deploy()
    errors = told.watch.streams["errors"]
    errors.missed, errors.gap, errors.raised = missed, gap, 0.2
    again = RegressionWatch(told.watch.rule, told.watch.probes)

    again.restore(told.watch.as_json())

    assert again.as_json() == told.watch.as_json()
    assert (again.streams["errors"].missed, again.streams["errors"].gap) == (missed, gap)
    assert again.streams["errors"].raised == 0.2


def test_what_was_down_now_and_then_before_the_switch_has_to_be_down_longer() -> None:
    told = Life()
    old, new = machine("a", "image-41", 41), machine("a", "image-42", 42)
    told.world.machines(5, old)
    told.run(HOUR)
    told.world.releases(HOUR, release(42, status=ReleaseStatus.RUNNING), release(41))
    told.world.machines(HOUR, old)
    told.dead = lambda at: HOUR + 20 < at <= HOUR + 40
    told.run(HOUR + 125)
    assert told.watch.foreseen is not None
    foreseen = told.watch.foreseen.need
    told.world.machines(HOUR + 125, new)

    assert foreseen == 4
    assert told.watch.hard.need is not None
    assert told.watch.hard.need > foreseen


def test_a_release_that_fails_three_in_ten_is_never_called_good() -> None:
    """Half a minute of history: it can be compared with nothing, and its looks all succeed."""
    told = Life()
    told.run(40)
    told.deploy(40)
    told.errors = lambda at: 0.3 if at > 40 else 0.0

    told.run(600)

    current = told.world.state.current
    assert current is not None
    assert current not in told.world.state.ledger.cleared
    assert told.watch.learning()
    assert told.watch.ill_before() is None
    assert "already failing" not in told.watch.why(told.at)


def test_a_release_that_is_well_again_is_well() -> None:
    told = Life()
    told.run(40)
    told.deploy(40)
    told.errors = lambda at: 0.3 if 40 < at < 300 else 0.0

    told.run(600)

    assert told.world.state.current in told.world.state.ledger.cleared


def test_of_two_triggers_only_what_ended_is_closed() -> None:
    quick, slow = regression(), regression(tick_seconds=60)
    world = World(target(trigger(quick, name="quick"), trigger(slow, name="slow")))
    world.releases(0, release(41))
    world.ratio(10, 1, 1000)
    watches = world.state.regressions.watches.values()
    before = [watch.next_end for watch in watches]

    world.state.advance(10)

    assert [watch.next_end for watch in watches] == [20, before[1]]
