"""The past comes in while a release is judged: nothing that was seen of it is lost or made up."""

import math

import pytest

from rollbackd.core.facts import Histogram, Measure, PastSeen, Ratio
from rollbackd.core.model import ProbeName, ReleaseStatus, TriggerState
from tests.unit.core.test_regression import HOUR, SLOW, Life
from tests.unit.core.world import SHOP, machine, release


def tell_past(told: Life, probe: str, *, until: float, measure: Measure | None = None) -> None:
    """Two hours of it, one failure in a thousand."""
    found = measure or Ratio(bad=1, total=1000)
    samples = tuple((float(at), found) for at in range(int(until) - 2 * HOUR, int(until), 10))
    told.world.tell(PastSeen(target=SHOP, probe=ProbeName(probe), at=told.at, samples=samples))


def test_a_release_that_is_down_stays_down() -> None:
    told = Life()
    told.dead = lambda at: at > 600
    told.run(600).deploy(600).run(660)
    streak, need = told.watch.hard.streak, told.watch.hard.need
    assert streak == 6

    tell_past(told, "errors", until=0)

    assert (told.watch.hard.streak, told.watch.hard.need) == (streak, need)
    assert told.watch.learning() == ""


def without_latency() -> Life:
    """An hour of all but the latency, and then a release with one failure in a hundred."""
    told = Life()
    told.slow = lambda _at: False
    told.world.buckets = lambda *_args, **_more: None  # type: ignore[method-assign]  # its source is silent
    told.run(HOUR)
    told.errors = lambda _at: 0.01
    return told.deploy().run(HOUR + 100)


def test_what_other_streams_saw_stays_as_it_is() -> None:
    told = without_latency()
    errors = told.watch.streams["errors"]
    evidence, odds, ticks, tolerance = errors.evidence, errors.odds, errors.ticks, errors.tolerance
    weight = errors.weight
    assert odds > 1

    tell_past(told, "latency", until=HOUR, measure=Histogram(buckets=SLOW))

    assert told.watch.streams["latency"].weight > 0
    assert errors.evidence is evidence
    assert (errors.odds, errors.ticks, errors.tolerance) == (odds, ticks, tolerance)
    assert errors.weight < weight
    assert math.fsum(s.weight for s in told.watch.streams.values()) == pytest.approx(1)


def test_what_was_bad_until_the_first_machine_switched_is_tolerated_still() -> None:
    told = Life()
    old, new = machine("a", "image-41", 41), machine("a", "image-42", 42)
    told.world.machines(5, old)
    told.run(600)
    told.world.releases(600, release(42, status=ReleaseStatus.RUNNING), release(41))
    told.world.machines(600, old)
    told.errors = lambda at: 0.2 if at > 620 else 0.001
    told.run(725)
    told.world.machines(725, new)
    told.world.releases(726, release(42), release(41))
    told.run(1000)

    tell_past(told, "errors", until=0)

    assert told.watch.learning() == ""
    assert told.watch.streams["errors"].tolerance == pytest.approx(0.3, rel=0.02)
    assert told.watch.streams["health"].tolerance == pytest.approx(0.3, rel=0.02)
    assert told.run(HOUR).rolled_at is None
    assert told.watch.state(told.at) is not TriggerState.BREACHED


def test_the_next_release_is_not_excused_by_it() -> None:
    told = Life()
    told.watch.streams["errors"].raised = 0.2

    told.run(HOUR).deploy()

    assert told.watch.streams["errors"].raised == 0
    assert told.watch.streams["errors"].tolerance < 0.01


def early(told: Life) -> bool:
    """Whether what is bad now is taken for something that came with the release."""
    evidence = told.watch.streams["errors"].evidence
    assert evidence is not None
    kept = evidence.as_json()
    return kept["run_cap"] == evidence._cap


@pytest.mark.parametrize(
    ("told_at", "bad_at", "as_early"), [(20, 60, True), (600, 600, False), (600, 640, False)]
)
def test_what_begins_long_after_the_release_is_late_whenever_the_past_came(
    told_at: float, bad_at: float, *, as_early: bool
) -> None:
    told = Life()
    told.errors = lambda at: 0.05 if at > 600 + bad_at else 0.001
    told.run(600).deploy(600).run(600 + told_at)

    tell_past(told, "errors", until=0)
    told.run(600 + bad_at + 20)

    assert early(told) is as_early


def test_a_breach_without_a_baseline_does_not_outlive_it() -> None:
    told = Life()
    told.run(600).deploy(600)
    told.errors = lambda _at: 0.2
    told.run(900)
    assert told.watch.state(told.at) is TriggerState.BREACHED
    assert told.watch.learning()

    tell_past(told, "errors", until=0)
    told.world.decide(told.at)

    assert told.watch.state(told.at) is TriggerState.OK
    assert told.run(1500).rolled_at is not None
