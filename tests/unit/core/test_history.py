"""What is kept of the hours before: small, exact enough, and never a tick too many."""

import json
import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core.facts import Check, CheckOutcome, Histogram, Measure, Ratio
from rollbackd.core.history import EMPTY_ROWS, ROWS, History
from rollbackd.core.model import ProbeName
from rollbackd.core.recall import bounds_of, recalled
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rows import LOOK_BOUNDS, PLAIN, counted
from rollbackd.core.tick_clock import TickClock
from tests.unit.core.world import PROBES, regression

DAY = 86400.0
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def filled(ticks: int, *, at_most: float = DAY) -> History:
    history = History(at_most, PLAIN)
    for tick in range(ticks):
        history.add(10 * tick, 10 * tick + 10, [100, tick % 7])
    return history


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=400))
def test_whole_counts_come_back_as_they_went_in(rows: list[tuple[int, int]]) -> None:
    history = History(DAY, PLAIN)
    for tick, (a, b) in enumerate(rows):
        history.add(10 * tick, 10 * tick + 10, [max(a, b), min(a, b)])

    history.cut()

    assert history.ticks(0) == (
        [float(min(row)) for row in rows],
        [float(max(row)) for row in rows],
    )


def test_fractions_come_back_to_a_sixteenth() -> None:
    history = History(DAY, PLAIN)
    history.add(0, 10, [10.3, 0.7])
    history.cut()

    (bad,), (total,) = history.ticks(0)

    assert bad == pytest.approx(0.7, abs=1 / 32)
    assert total == pytest.approx(10.3, abs=1 / 32)
    assert history.sums() == [10.3, 0.7]


def test_counts_too_large_for_their_place_are_scaled() -> None:
    history = History(DAY, PLAIN)
    history.add(0, 10, [1e12, 5e11])
    history.cut()

    (bad,), (total,) = history.ticks(0)

    assert bad / total == pytest.approx(0.5)


def test_the_tail_reaches_over_stretches() -> None:
    history = filled(ROWS + 5)

    bad, total = history.tail(0, 10)

    assert total == [100] * 10
    assert bad == [tick % 7 for tick in range(ROWS - 5, ROWS + 5)]
    assert history.tail(0, 3)[0] == bad[-3:]


def test_the_tail_and_sums_leave_out_what_was_counted_by_other_bounds() -> None:
    history = filled(3)
    history.use_bounds((0.1, 0.2))
    history.add(30, 40, [10, 5, 1])

    assert history.tail(1, 10) == ([1], [10])
    assert history.ticks(0) == ([5], [10])
    assert history.sums() == [10, 5, 1]


def test_a_long_silence_ends_a_stretch_and_takes_no_room() -> None:
    history = filled(3)
    for tick in range(3, 200):
        history.add(10 * tick, 10 * tick + 10, None)
    history.add(2000, 2010, [1, 1])

    assert len(history.ticks(0)[0]) == 3 + EMPTY_ROWS + 1


def test_what_is_too_old_is_forgotten() -> None:
    history = filled(3 * ROWS, at_most=1800)

    assert history.oldest_at == 10 * 2 * ROWS


def test_struck_time_is_gone_with_what_it_covered() -> None:
    history = filled(5)
    history.covered_seconds = 50
    history.cut()
    history.add(50, 60, [100, 100])
    history.covered_seconds = 10

    history.strike(50)

    assert history.covered() == 50
    assert len(history.ticks(0)[0]) == 5
    history.cut()
    assert len(history.stretches) == 1


def test_until_leaves_out_what_began_later() -> None:
    history = filled(5)
    history.covered_seconds = 50
    history.cut()
    history.add(50, 60, [100, 100])

    assert history.covered(50) == 50
    assert history.sums(50) == [500, 10]
    assert history.sums(0) == [0.0]
    assert history.ticks(0, 50)[1] == [100] * 5


def test_a_bound_that_was_not_kept_is_spread_evenly() -> None:
    history = History(DAY, BOUNDS)
    for tick in range(10):
        history.add(10 * tick, 10 * tick + 10, [100, *range(90, -10, -10)])
    history.cut()

    (stretch,) = history.stretches
    lost = next(i for i in range(len(BOUNDS)) if i not in stretch.kept)

    assert len(stretch.kept) == 6
    assert history.ticks(lost)[0] == [pytest.approx(90 - 10 * lost)] * 10


def test_an_empty_stretch_spreads_nothing() -> None:
    history = History(DAY, BOUNDS)
    history.add(0, 10, [0, *[0] * len(BOUNDS)])
    history.cut()

    lost = next(i for i in range(len(BOUNDS)) if i not in history.stretches[0].kept)

    assert history.ticks(lost) == ([0], [0])


def test_a_day_at_ten_thousand_requests_a_second_is_small() -> None:
    """At most 200 KB a target, docs/detection.md."""
    chance = random.Random(7)
    errors, health, latency = (History(DAY, b) for b in (PLAIN, PLAIN, BOUNDS))
    shares = (0.98, 0.95, 0.8, 0.7, 0.4, 0.2, 0.07, 0.035, 0.01, 0.002)
    for tick in range(8640):
        total = round(chance.gauss(100_000, 300))
        span = (10 * tick, 10 * tick + 10)
        errors.add(*span, [total, abs(round(chance.gauss(100, 10)))])
        health.add(*span, [2, chance.random() < 0.01])
        slow = [round(chance.gauss(total * q, (total * q * (1 - q)) ** 0.5)) for q in shares]
        latency.add(*span, [total, *slow])

    buffers = [
        column
        for history in (errors, health, health, latency)  # downs are like looks
        for stretch in history.stretches
        for column in stretch.columns
    ]
    opened = 8 * ROWS * (2 + 2 + 2 + 1 + len(BOUNDS))

    assert sum(map(sys.getsizeof, buffers)) + opened <= 200_000
    assert errors.size + health.size + latency.size <= 200_000


def test_a_history_survives_a_restart() -> None:
    history = filled(ROWS + 20)
    history.add(9000, 9010, None)
    history.covered_seconds = 30

    again = History(DAY, PLAIN)
    again.restore(json.loads(json.dumps(history.as_json())))

    assert again.as_json() == history.as_json()
    assert again.ticks(0) == history.ticks(0)


# The past as a source tells it ------------------------------------------------------------------


def samples(since: int, until: int, bad: float = 1) -> list[tuple[float, Measure]]:
    return [(float(at), Ratio(bad=bad, total=1000)) for at in range(since, until + 1, 10)]


def test_recalled_samples_become_ticks_without_holes() -> None:
    past = [*samples(10, 30), *samples(60, 70), *samples(1000, 1000)]

    ticks, covered = recalled(
        past,
        slow=False,
        bounds=PLAIN,
        after=-math.inf,
        before=1010,
        tick_seconds=10,
        max_age_seconds=25,
    )

    assert [(start, end) for start, end, _ in ticks[:7]] == [
        (10 * i, 10 * i + 10) for i in range(7)
    ]
    assert [row[0] for _, _, row in ticks] == [1000, 1000, 1000, 0, 0, 1000, 1000, 1000]
    assert covered == 20 + 10 + 10


def test_late_and_foreign_samples_are_not_recalled() -> None:
    past = [
        *samples(30, 30),
        *samples(10, 10),
        (40.0, Histogram(buckets=((1.0, 1.0), (math.inf, 2.0)))),
        (50.0, Check(outcome=CheckOutcome.OK)),
        *samples(90, 90),
    ]

    ticks, covered = recalled(
        past, slow=False, bounds=PLAIN, after=0, before=60, tick_seconds=10, max_age_seconds=25
    )

    # A good look counts as well as a request does: only the kind of the stream decides.
    assert [end for _, end, _ in ticks] == [30, 40, 50]
    assert covered == 30


def test_the_bounds_of_the_past_are_those_of_its_newest_sample() -> None:
    old = (1.0, Histogram(buckets=((1.0, 1.0), (math.inf, 2.0))))
    new = (2.0, Histogram(buckets=((2.0, 1.0), (math.inf, 2.0))))

    assert bounds_of([old, new, *samples(10, 10)], slow=True) == (2.0,)
    assert bounds_of(samples(10, 10), slow=True) is None


def test_what_counts_nothing_is_no_row() -> None:
    assert counted(Ratio(bad=0, total=0), slow=False) is None
    assert counted(Ratio(bad=0, total=1), slow=True) is None
    assert counted(Check(outcome=CheckOutcome.REFUSED), slow=False) is None
    assert counted(Check(outcome=CheckOutcome.FAILED, seconds=1.0), slow=True) is None
    assert counted(Histogram(buckets=((math.inf, 5.0),)), slow=True) is None
    look = counted(Check(outcome=CheckOutcome.OK, seconds=0.3), slow=True)
    assert look is not None
    assert look.row == [1.0, *(float(bound < 0.3) for bound in LOOK_BOUNDS)]


ERRORS, LATENCY = ProbeName("errors"), ProbeName("latency")


def watching(**changes: object) -> RegressionWatch:
    return RegressionWatch(regression(health=None, **changes), {p.name: p for p in PROBES})


def slow_samples(since: int, until: int) -> list[tuple[float, Measure]]:
    buckets = ((0.1, 500.0), (0.5, 950.0), (math.inf, 1000.0))
    return [(float(at), Histogram(buckets=buckets)) for at in range(since, until + 1, 10)]


def test_the_past_lets_the_first_release_be_judged() -> None:
    """The daemon starts half an hour after a release, and the source knows the hours before."""
    watch = watching()
    watch.begin(7200)
    assert watch.learning() == "0 s were seen before the release, 60 min are needed"

    watch.remember(ERRORS, [*samples(10, 7200), *samples(7210, 9000, bad=50)])
    assert watch.learning() == ""
    assert watch.streams["latency"].weight == 0
    watch.remember(LATENCY, slow_samples(10, 9000))

    errors, latency = watch.streams["errors"].baseline, watch.streams["latency"].baseline
    assert errors is not None
    assert latency is not None
    assert errors.rate == 0.001
    assert latency.rate == 0.05
    assert latency.weight == pytest.approx(0.4)
    assert watch.streams["errors"].history.sums()[0] == 900 * 1000  # what came later is kept, too


def test_only_what_is_older_than_what_was_seen_is_recalled() -> None:
    watch = watching()
    for at, measure in samples(5000, 5600, bad=0):
        watch.take(at, ERRORS, measure, CheckOutcome.OK, counts=True)
        watch.close(at, excused=False)

    watch.remember(ERRORS, samples(10, 6000))
    watch.remember(ERRORS, samples(10, 6000))
    watch.remember(LATENCY, samples(10, 6000))
    watch.foresee(5600)
    watch.begin(5600)

    bad, total = watch.streams["errors"].history.ticks(0)
    assert (sum(bad), len(total)) == (499, 560)
    assert watch.learning() == ""


# Which tick is open -----------------------------------------------------------------------------


def test_what_tells_of_the_next_tick_waits_for_it() -> None:
    clock, taken = TickClock(10), []
    clock.place(100, lambda: taken.append("first"))
    clock.place(105, lambda: taken.append("next"))
    clock.place(115, lambda: taken.append("after"))
    clock.place(95, lambda: taken.append("late"))

    assert (clock.start, clock.end) == (90, 100)
    assert taken == ["first", "late"]
    clock.next()
    assert taken[2:] == ["next"]
    clock.next()
    assert taken[3:] == ["after"]


def test_a_new_grid_takes_in_what_waited_and_leaves_closed_time_closed() -> None:
    clock, taken = TickClock(10), []
    clock.place(100, lambda: None)
    clock.place(104, lambda: taken.append(104))

    clock.align(103)
    assert (clock.start, clock.end) == (103, 113)
    assert taken == [104]

    clock.align(88)
    assert (clock.start, clock.end) == (108, 118)


def test_most_of_a_long_silence_is_jumped_over() -> None:
    clock = TickClock(10)
    clock.place(100, lambda: None)
    clock.skip_idle(10_000)
    assert clock.end == 100

    clock.skip_idle(100_000)
    assert 100_000 - 7300 < clock.end < 100_000 - 7100

    clock.place(clock.end + 5, lambda: None)
    before = clock.end
    clock.skip_idle(300_000)
    assert clock.end == before


def test_a_clock_survives_a_restart() -> None:
    clock = TickClock(10)
    kept = TickClock(10)
    kept.restore(clock.as_json())
    assert not kept.runs
    assert kept.origin is None

    clock.place(103, lambda: None)
    clock.next()
    kept.restore(clock.as_json())
    assert (kept.start, kept.end, kept.origin) == (103, 113, 103)


def test_what_is_in_the_open_tick_only_is_not_recalled_a_second_time() -> None:
    watch = watching()
    watch.take(5001, ERRORS, samples(5001, 5001)[0][1], CheckOutcome.OK, counts=True)
    watch.take(5004, ERRORS, samples(5004, 5004)[0][1], CheckOutcome.OK, counts=True)
    history = watch.streams["errors"].history
    assert history.oldest_at == math.inf

    watch.remember(ERRORS, samples(1004, 5004))
    watch.close(5020, excused=False)

    assert sum(history.ticks(0)[1]) == 400 * 1000 + 2 * 1000


def test_a_look_tells_how_slow_it_was_only_where_it_was_answered_and_timed() -> None:
    timed = counted(Check(outcome=CheckOutcome.OK, seconds=0.3), slow=True)
    assert timed is not None
    assert sum(timed.row[1:]) == sum(bound < 0.3 for bound in LOOK_BOUNDS)
    assert counted(Check(outcome=CheckOutcome.OK, seconds=0.0), slow=True) is not None

    assert counted(Check(outcome=CheckOutcome.OK), slow=True) is None
    assert counted(Check(outcome=CheckOutcome.FAILED, seconds=0.3), slow=True) is None
