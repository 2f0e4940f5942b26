"""What must hold for every stream of facts: silence, lateness and repetition accuse nobody."""

import math
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rollbackd.core.facts import (
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Histogram,
    MachinesSeen,
    Measure,
    Miss,
    Paused,
    Ratio,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    Sample,
    TargetFact,
    Unlocked,
    Value,
)
from rollbackd.core.model import (
    Machine,
    ProbeName,
    Release,
    ReleaseStatus,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TriggerName,
)
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.rules import Breaches, Composite, DeployFailed, RatioBound, TriggerRef
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    World,
    below,
    down,
    error_rate,
    failing,
    locks,
    release,
    slow,
    target,
    trigger,
)

SECONDS = 300
RELEASE_AT = 100.5
FRAGILE = replace(SAFETY, settle_floor_seconds=30, settle_ceiling_seconds=30)
TARGET = target(
    trigger(down(), name="down"),
    trigger(down("machines", 3, 5), name="machines"),
    trigger(error_rate(for_seconds=20, min_samples=10, window_seconds=60), name="errors"),
    trigger(
        error_rate(
            0.2, for_seconds=0, min_samples=10, window_seconds=40,
            clear=RatioBound(bound=below(0.02)),
        ),
        name="sharp",
        unless=(failing("database"),),
    ),
    trigger(slow(1.0, 0.9, for_seconds=10, min_samples=5, window_seconds=30), name="slow"),
    trigger(locks(for_seconds=10), name="locks"),
    trigger(
        Composite(every=True, parts=(TriggerRef(trigger=TriggerName("errors")), locks(10))),
        name="both",
    ),
    safety=FRAGILE,
)  # fmt: skip

PROBES = ("health", "machines", "database", "errors", "latency", "locks")


def sample(at: float, name: str, measure: Measure) -> Sample:
    return Sample(target=SHOP, probe=ProbeName(name), at=at, measure=measure)


def measured(name: str, level: int) -> Measure:
    """`level` 0 is well, 3 as bad as it gets."""
    match name:
        case "health" | "machines" | "database":
            outcomes = (
                CheckOutcome.OK, CheckOutcome.REFUSED, CheckOutcome.FAILED, CheckOutcome.FAILED,
            )  # fmt: skip
            return Check(outcome=outcomes[level])
        case "errors":
            return Ratio(bad=(0, 1, 3, 12)[level], total=(30, 20, 10, 12)[level])
        case "latency":
            good = (30.0, 9.0, 3.0, 0.0)[level]
            return Histogram(buckets=((0.5, good), (2.0, good + level), (math.inf, 30.0)))
        case _:
            return Value(value=(1.0, 12.0, 21.0, 50.0)[level])


@st.composite
def streams(draw: st.DrawFn, gaps: int = 20) -> list[TargetFact]:
    """Looks of every probe, in runs of moods; one release at 100.5 s.

    One look in `gaps` is left out. What comes before the release is well more often than not, for
    else nothing that comes after it could be blamed on it.
    """
    facts: list[TargetFact] = [
        ReleasesSeen(target=SHOP, at=0, releases=(release(41),)),
        ReleasesSeen(target=SHOP, at=RELEASE_AT, releases=(release(42), release(41))),
    ]
    for index, name in enumerate(PROBES):
        calm = name == "database" or draw(st.booleans())
        well_until = draw(st.sampled_from((0, RELEASE_AT, RELEASE_AT, RELEASE_AT + 60)))
        at = float(index)
        while at < SECONDS:
            well = calm or at < well_until
            level = 0 if well else draw(st.sampled_from((0, 0, 1, 2, 3, 3)))
            for _ in range(draw(st.integers(1, 10))):
                if draw(st.integers(1, gaps)) > 1:
                    facts.append(sample(at, name, measured(name, level)))
                at += 10
    return in_order(facts)


def in_order(facts: Iterable[TargetFact]) -> list[TargetFact]:
    return sorted(facts, key=lambda fact: fact.at)


def rolled_back_at(facts: Iterable[TargetFact], one: TargetPolicy = TARGET) -> float:
    """When the first automatic rollback was decided, deciding every five seconds; inf: never."""
    world, pending = World(one), list(facts)
    index = 0
    for now in range(0, SECONDS + 30, 5):
        while index < len(pending) and pending[index].at <= now:
            world.tell(pending[index])
            index += 1
        if isinstance(world.decide(now), RollBack):
            return now
    return math.inf


MISS_REASONS = ("dns_failed", "source_unauthorized", "not_a_number", "control_probe_failed")


@settings(max_examples=25, deadline=None)
@given(streams(), st.data())
def test_misses_put_in_anywhere_never_add_or_hasten_a_rollback(
    facts: list[TargetFact], data: st.DataObject
) -> None:
    misses = [
        Miss(
            target=SHOP,
            probe=ProbeName(data.draw(st.sampled_from(PROBES))),
            at=data.draw(st.floats(0, SECONDS)),
            reason=data.draw(st.sampled_from(MISS_REASONS)),
        )
        for _ in range(data.draw(st.integers(1, 20)))
    ]

    assert rolled_back_at(in_order([*facts, *misses])) >= rolled_back_at(facts)


@settings(max_examples=25, deadline=None)
@given(streams(), st.lists(st.floats(0, SECONDS), min_size=1, max_size=20))
def test_samples_of_nothing_never_add_or_hasten_a_rollback(
    facts: list[TargetFact], times: list[float]
) -> None:
    nothing: list[TargetFact] = []
    for at in times:
        nothing.append(sample(at, "errors", Ratio(bad=0, total=0)))
        buckets = ((0.5, 0.0), (2.0, 0.0), (math.inf, 0.0))
        nothing.append(sample(at, "latency", Histogram(buckets=buckets)))
        nothing.append(sample(at, "locks", Value(value=math.nan)))

    assert rolled_back_at(in_order([*facts, *nothing])) >= rolled_back_at(facts)


@settings(max_examples=25, deadline=None)
@given(streams(), st.data())
def test_repeated_and_late_facts_never_add_or_hasten_a_rollback(
    facts: list[TargetFact], data: st.DataObject
) -> None:
    arriving = list(facts)
    for _ in range(data.draw(st.integers(1, 20))):
        source = data.draw(st.integers(0, len(facts) - 1))
        late = data.draw(st.integers(0, 40))
        position = arriving.index(facts[source])
        arriving.insert(min(len(arriving), position + 1 + late), facts[source])

    assert arrives_rolled_back_at(arriving) >= arrives_rolled_back_at(facts)


def arrives_rolled_back_at(arriving: list[TargetFact]) -> float:
    """As `rolled_back_at`, deciding after each fact in the order of arrival."""
    world, now = World(TARGET), 0.0
    for fact in arriving:
        world.tell(fact)
        now = max(now, fact.at)
        if isinstance(world.decide(now), RollBack):
            return now
    return math.inf


@settings(max_examples=25, deadline=None)
@given(streams(gaps=200), st.floats(RELEASE_AT, SECONDS), st.floats(20.01, 150))
def test_time_without_looks_never_adds_or_hastens_a_rollback(
    facts: list[TargetFact], begin: float, length: float
) -> None:
    """Since the release: what was never seen before it cannot spoil its predecessor's good name."""
    left = [
        fact
        for fact in facts
        if not (isinstance(fact, Sample) and begin <= fact.at <= begin + length)
    ]

    assert rolled_back_at(left) >= rolled_back_at(facts)


SUMMED = target(trigger(error_rate(0.2, for_seconds=0, min_samples=10, window_seconds=60)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from((0, 0, 1, 3)), min_size=12, max_size=12),
    st.integers(90, 200),
    st.integers(21, 60),
)
def test_samples_that_would_have_thinned_the_bad_out_do_not_hasten_a_rollback_by_missing(
    levels: list[int], begin: int, length: int
) -> None:
    facts: list[TargetFact] = [
        ReleasesSeen(target=SHOP, at=0, releases=(release(41),)),
        ReleasesSeen(target=SHOP, at=RELEASE_AT, releases=(release(42), release(41))),
        *(sample(at, "health", measured("health", 0)) for at in range(1, 230, 10)),
        *(sample(at, "errors", measured("errors", 0)) for at in range(3, 104, 10)),
        *(
            sample(113 + 10 * step, "errors", measured("errors", level))
            for step, level in enumerate(levels)
        ),
    ]
    left = [
        fact
        for fact in facts
        if not (isinstance(fact, Sample) and begin <= fact.at <= begin + length)
    ]

    assert rolled_back_at(in_order(left), SUMMED) >= rolled_back_at(in_order(facts), SUMMED)


@settings(max_examples=10, deadline=None)
@given(streams())
def test_what_is_remembered_is_bounded_by_window_and_interval(facts: list[TargetFact]) -> None:
    world = World(TARGET)
    for fact in facts:
        world.tell(fact)

    for watch in world.state.watches.values():
        bound = 2 * watch.signal.window_seconds / watch.signal.interval_seconds + 17
        assert len(watch.gauge.ratio) <= bound
        assert len(watch.gauge.histogram) <= bound
        breaches = watch.signal.breaches or Breaches(at_least=1, of_last=1)
        assert len(watch.tally) <= breaches.of_last


# Anything at all ----------------------------------------------------------------------------

wild_floats = st.one_of(st.floats(), st.floats(-10, 500), st.integers(-5, 500).map(float))
contents = st.sampled_from(("a", "b", "c", "a+config:1", "a+config:2", ""))
wild_releases = st.builds(
    Release,
    version=st.integers(1, 6),
    image=contents,
    status=st.sampled_from(ReleaseStatus),
    content=contents,
    created_at=st.one_of(st.none(), wild_floats),
)
wild_machines = st.builds(
    Machine,
    id=st.sampled_from(("m1", "m2")),
    state=st.sampled_from(("started", "stopped", "failed")),
    group=st.just("app"),
    content=contents,
    release_version=st.one_of(st.none(), st.integers(1, 6)),
    boot_seconds=st.one_of(st.none(), wild_floats),
    started_at=st.one_of(st.none(), wild_floats),
    op_id=st.sampled_from((None, "op1", "op2")),
)
wild_measures = st.one_of(
    st.builds(
        Check,
        outcome=st.sampled_from(CheckOutcome),
        failing_machines=st.one_of(st.none(), st.integers(0, 3)),
    ),
    st.builds(Ratio, bad=wild_floats, total=wild_floats),
    st.builds(Value, value=wild_floats),
    st.builds(
        Histogram, buckets=st.lists(st.tuples(wild_floats, wild_floats), max_size=4).map(tuple)
    ),
)
names = st.sampled_from((*PROBES, "stranger")).map(ProbeName)
rollbacks = st.sampled_from(("r1", "r2")).map(RollbackId)
shop = st.just(SHOP)
wild_facts = st.one_of(
    st.builds(
        Sample,
        target=shop,
        probe=names,
        at=wild_floats,
        measure=wild_measures,
        machine=st.sampled_from((None, None, "m1")),
    ),
    st.builds(Miss, target=shop, probe=names, at=wild_floats, reason=st.just("empty")),
    st.builds(Asleep, target=shop, probe=names, at=wild_floats),
    st.builds(
        ReleasesSeen,
        target=shop,
        at=wild_floats,
        releases=st.lists(wild_releases, max_size=3).map(tuple),
    ),
    st.builds(
        MachinesSeen,
        target=shop,
        at=wild_floats,
        machines=st.lists(wild_machines, max_size=3).map(tuple),
        foreign_leases=st.integers(0, 1),
    ),
    st.builds(ControlSeen, target=shop, at=wild_floats, ok=st.booleans()),
    st.builds(
        Paused,
        target=shop,
        at=wild_floats,
        until=wild_floats,
        by=st.just("eva"),
        reason=st.just(""),
    ),
    st.builds(Resumed, target=shop, at=wild_floats, by=st.just("eva")),
    st.builds(Unlocked, target=shop, at=wild_floats, by=st.just("eva"), reason=st.just("")),
    st.builds(
        RollbackStarted,
        target=shop,
        at=wild_floats,
        rollback=rollbacks,
        bad=wild_releases,
        good=wild_releases,
        automatic=st.booleans(),
    ),
    st.builds(RollbackSwitched, target=shop, at=wild_floats, rollback=rollbacks),
    st.builds(
        RollbackEnded,
        target=shop,
        at=wild_floats,
        rollback=rollbacks,
        outcome=st.sampled_from(RollbackOutcome),
    ),
)
EVERYTHING = target(
    *TARGET.triggers,
    trigger(DeployFailed(), name="deploy"),
    trigger(
        Composite(every=False, parts=(failing(), TriggerRef(trigger=TriggerName("deploy")))),
        name="any",
        unless=(TriggerRef(trigger=TriggerName("locks")),),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(wild_facts, max_size=60))
def test_no_stream_of_facts_can_break_the_state_or_the_decision(facts: list[TargetFact]) -> None:
    world = World(EVERYTHING)
    now = 0.0
    for fact in facts:
        world.tell(fact)
        now = max(now, fact.at) if math.isfinite(fact.at) else now
        world.decide(now)

    world.gates(now)
    target_view(world.state, world.policy, now)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_content_is_rolled_back_from_twice_automatically(data: st.DataObject) -> None:
    """Deploys of few contents, every one of them broken; each rollback is carried out at once."""
    world = World(target(trigger(failing()), safety=replace(FRAGILE, cooldown_seconds=0,
                                                           budget_rollbacks=100)))  # fmt: skip
    world.releases(0, release(1, "a"))
    world.ok(*range(1, 30, 10))
    left_from: list[str] = []
    at, known = 30.0, [release(1, "a")]
    for version in range(2, 2 + data.draw(st.integers(1, 8))):
        known.insert(0, release(version, data.draw(st.sampled_from("abcd"))))
        world.releases(at, *known)
        world.ok(at + 1)
        world.fail(at + 11, at + 21)
        decision = world.decide(at + 22)
        if isinstance(decision, RollBack):
            left_from.append(decision.bad.content)
            world.started(at + 22, decision.bad, decision.good)
            world.switched(at + 23)
            world.ended(at + 24)
        world.ok(at + 31, at + 41)
        at += 50

    assert len(left_from) == len(set(left_from))
