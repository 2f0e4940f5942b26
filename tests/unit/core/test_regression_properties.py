"""Silence, lateness and repetition never add a rollback, and never make one earlier."""

import copy
import json
import math
from functools import cache

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rollbackd.core.facts import Check, CheckOutcome, Measure, Miss, Ratio, Sample
from rollbackd.core.model import ProbeName, RollBack
from rollbackd.core.regression import RegressionWatch
from tests.unit.core.world import SHOP, World, regression, release, target, trigger

HOUR = 3600
MAX_AGE = 25
ERRORS, HEALTH = ProbeName("errors"), ProbeName("health")
Facts = list[Sample | Miss]


@cache
def _prepared() -> World:
    """An hour of a quiet app, and v42 just deployed."""
    world = World(target(trigger(regression(latency=None), name="worse")))
    world.releases(0, release(41))
    for at in range(10, HOUR + 10, 10):
        world.ratio(at, 1, 1000)
        world.check(at)
        world.state.advance(at)
    world.releases(HOUR, release(42), release(41))
    return world


def first_rollback(facts: Facts) -> float:
    """When v42 goes back; inf: never. Every ten seconds, after what was known by then."""
    world = copy.deepcopy(_prepared())
    ordered = sorted(range(len(facts)), key=lambda i: (facts[i].at, i))
    waiting = [facts[i] for i in ordered][::-1]
    for now in range(HOUR + 10, HOUR + 610, 10):
        while waiting and waiting[-1].at <= now:
            world.tell(waiting.pop())
        world.state.advance(now)
        if isinstance(world.decide(now), RollBack):
            return now
    return math.inf


def sample(probe: ProbeName, at: float, measure: Measure) -> Sample:
    return Sample(target=SHOP, probe=probe, at=at, measure=measure)


def look(at: float, *, ok: bool) -> Sample:
    outcome = CheckOutcome.OK if ok else CheckOutcome.FAILED
    return sample(HEALTH, at, Check(outcome=outcome))


@st.composite
def lives(draw: st.DrawFn) -> Facts:
    """Ten minutes of stretches, each with its own rate of errors and failed looks."""
    facts: Facts = []
    tick = 0
    while tick < 60:
        length = draw(st.integers(1, 15))
        bad = draw(st.sampled_from([0, 1, 2, 8, 30, 60, 200, 600, 1000]))
        ok = draw(st.booleans())
        for at in range(tick, min(tick + length, 60)):
            second = HOUR + 10 * (at + 1)
            facts.append(sample(ERRORS, second, Ratio(bad=bad, total=1000)))
            facts.append(look(second, ok=ok))
        tick += length
    return facts


@st.composite
def holes(draw: st.DrawFn) -> tuple[float, float]:
    since = draw(st.floats(HOUR, HOUR + 550))
    return since, since + draw(st.floats(MAX_AGE + 0.1, 200))


def trouble(since: int, *, bad: float, down: bool = False) -> Facts:
    """From second `since` after the release on, `bad` of 1,000 requests fail."""
    return [
        fact
        for at in range(10, 610, 10)
        for fact in (
            sample(ERRORS, HOUR + at, Ratio(bad=bad if at > since else 0, total=1000)),
            look(HOUR + at, ok=not (down and at > since)),
        )
    ]


@given(facts=lives(), hole=holes())
@example(facts=trouble(100, bad=1000, down=True), hole=(HOUR + 15, HOUR + 55))
@example(facts=trouble(40, bad=1000, down=True), hole=(HOUR - 5, HOUR + 45))
@example(facts=trouble(100, bad=200), hole=(HOUR, HOUR + 99))
@example(facts=trouble(100, bad=200), hole=(HOUR + 60, HOUR + 99))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_hole_in_the_facts_never_brings_a_rollback_forward(
    facts: Facts, hole: tuple[float, float]
) -> None:
    since, until = hole
    left = [fact for fact in facts if not since <= fact.at <= until]

    assert first_rollback(left) >= first_rollback(facts)


@given(facts=lives(), data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_tells_nothing_changes_nothing(facts: Facts, data: st.DataObject) -> None:
    """Misses, samples without events, doubles and late ones."""
    extra: Facts = []
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.floats(HOUR, HOUR + 600))
        known = [f for f in facts if f.at <= at and isinstance(f, Sample)]
        extra.append(
            data.draw(
                st.sampled_from(
                    [
                        Miss(target=SHOP, probe=HEALTH, at=at, reason="dns_failed"),
                        Miss(target=SHOP, probe=ERRORS, at=at, reason="empty"),
                        sample(ERRORS, at, Ratio(bad=0, total=0)),
                        *known[-2:],
                    ]
                )
            )
        )

    assert first_rollback(sorted([*facts, *extra], key=lambda f: f.at)) >= first_rollback(facts)


@given(facts=lives(), at=st.integers(1, 59))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_watch_goes_on_after_a_restart_as_if_there_was_none(facts: Facts, at: int) -> None:
    through = copy.deepcopy(next(iter(_prepared().state.regressions.watches.values())))
    kept = copy.deepcopy(through)

    for now in range(HOUR + 10, HOUR + 610, 10):
        for fact in facts:
            if fact.at == now and isinstance(fact, Sample):
                outcome = getattr(fact.measure, "outcome", CheckOutcome.OK)
                for watch in (through, kept):
                    watch.take(now, fact.probe, fact.measure, outcome, counts=True)
        for watch in (through, kept):
            watch.close(now, excused=False)
        if now == HOUR + 10 * at:
            row = json.loads(json.dumps(kept.as_json()))
            kept = RegressionWatch(through.rule, through.probes)
            kept.restore(row)
        assert kept.state(now) is through.state(now)
        assert kept.why(now) == through.why(now)
        assert kept.evidence() == through.evidence()

    assert kept.as_json() == through.as_json()
