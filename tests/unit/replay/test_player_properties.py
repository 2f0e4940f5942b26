"""What must hold of every replay: skipped seconds hide nothing, silence accuses nobody."""

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollbackd.core.facts import (
    Approved,
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Histogram,
    MachinesSeen,
    Miss,
    Paused,
    Ratio,
    Rejected,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    Sample,
    Unlocked,
    Value,
)
from rollbackd.core.model import (
    Decision,
    ProbeName,
    ReleaseStatus,
    RollbackId,
    RollbackOutcome,
    TargetName,
)
from rollbackd.core.policy import Policy
from rollbackd.core.state import TargetState
from rollbackd.replay.answer import answer, line
from rollbackd.replay.player import Player
from rollbackd.replay.told import Told
from tests.unit.core.world import SHOP, machine, release
from tests.unit.replay.stories import CALM, EVERYTHING, life, named, played, policy, rolled_back

UPTO = 300
MAX_AGE_SECONDS = 60.0  # longer than any of CALM's


class Facts(list[Told]):
    """A list whose beginning is enough to show."""

    def __repr__(self) -> str:
        return f"{len(self)} facts: {str(self[:12])[:2000]}"


class EverySecond(Player):
    """Judges every target at every second, whether it may matter or not."""

    def _looks_otherwise(self, name: TargetName, now: float) -> bool:
        super()._looks_otherwise(name, now)
        return True

    def _next(self, name: TargetName, made: Decision | None, now: float) -> float:
        return min(math.floor(now) + 1.0, self._closes(name, self.states[name]))

    def _closes(self, name: TargetName, state: TargetState) -> float:
        end = state.regressions.next_end
        return math.inf if end is None else end


def told_lines(facts: list[Told], under: Policy, player: type[Player]) -> list[str]:
    return [line(answer(decision)) for decision in played(facts, under, player(under))]


moments = st.one_of(st.floats(0, UPTO), st.integers(0, UPTO).map(float))
checks = st.sampled_from(("ok", "ok", "failed", "failed", "refused")).map(
    lambda said: Check(outcome=CheckOutcome(said))
)
ratios = st.sampled_from((0, 0, 0, 3, 12)).map(lambda bad: Ratio(bad=bad, total=12))
histograms = st.sampled_from((30.0, 27.0, 0.0)).map(
    lambda good: Histogram(
        buckets=((0.5, good), (2.0, good + 1 if good < 30 else 30), (math.inf, 30.0))
    )
)
values = st.sampled_from((1.0, 50.0)).map(lambda value: Value(value=value))
MEASURES = {
    "health": checks, "database": checks, "errors": ratios, "latency": histograms, "locks": values,
}  # fmt: skip


@st.composite
def runs(draw: st.DrawFn, name: TargetName) -> list[Told]:
    """Looks in runs of one mood each, at a pace of their own, with holes."""
    told: list[Told] = []
    for probe, measures in MEASURES.items():
        at = draw(st.sampled_from((0.0, 1.0, 2.5, 3.3)))
        pace = draw(st.sampled_from((5.0, 10.0, 10.0, 15.7)))
        while at < UPTO:
            measure = draw(measures)
            for _ in range(draw(st.integers(1, 8))):
                told.append(Sample(target=name, probe=ProbeName(probe), at=at, measure=measure))
                at += pace
            at += draw(st.sampled_from((0.0, 0.0, 0.0, 25.0, 61.0)))
    return told


@st.composite
def deploys(draw: st.DrawFn, name: TargetName) -> list[Told]:
    """Releases with their statuses, sometimes machines."""
    told: list[Told] = [ReleasesSeen(target=name, at=0, releases=(release(41),))]
    listed = [release(41)]
    for version, at in enumerate(sorted(draw(st.lists(moments, max_size=3))), start=42):
        status = draw(st.sampled_from(tuple(ReleaseStatus)))
        content = draw(st.sampled_from(("", "", "image-41")))
        listed = [release(version, content, status), *listed]
        told.append(ReleasesSeen(target=name, at=at, releases=tuple(listed)))
        if draw(st.booleans()):
            one = machine("m1", listed[0].content, version)
            told.append(MachinesSeen(target=name, at=at, machines=(one,)))
        if status is ReleaseStatus.RUNNING and draw(st.booleans()):
            done = release(version, content)
            listed = [done, *listed[1:]]
            told.append(ReleasesSeen(target=name, at=at + 17.3, releases=tuple(listed)))
    return told


def words(name: TargetName) -> st.SearchStrategy[Told]:
    """What people, the platform and our own network have to say."""
    target = st.just(name)
    rollbacks = st.sampled_from(("", f"{name}-v42-to-v41", f"{name}-v43-to-v41")).map(RollbackId)
    by, reason = st.just("ada"), st.just("why not")
    probes = st.sampled_from(tuple(MEASURES)).map(ProbeName)
    return st.one_of(
        st.builds(Miss, target=target, probe=probes, at=moments,
                  reason=st.sampled_from(("empty", "source_error"))),
        st.builds(Asleep, target=target, probe=probes, at=moments),
        st.builds(ControlSeen, target=target, at=moments, ok=st.booleans()),
        st.builds(Paused, target=target, at=moments, until=moments, by=by, reason=reason),
        st.builds(Resumed, target=target, at=moments, by=by),
        st.builds(Approved, target=target, at=moments, rollback=rollbacks, by=by),
        st.builds(Rejected, target=target, at=moments, rollback=rollbacks, by=by),
        st.builds(Unlocked, target=target, at=moments, by=by, reason=reason),
        st.builds(RollbackStarted, target=target, at=moments, rollback=st.just(RollbackId("r1")),
                  bad=st.just(release(42)), good=st.just(release(41))),
        st.builds(RollbackEnded, target=target, at=moments, rollback=st.just(RollbackId("r1")),
                  outcome=st.sampled_from(RollbackOutcome)),
    )  # fmt: skip


@st.composite
def anything(draw: st.DrawFn, *names: str) -> list[Told]:
    told: list[Told] = []
    for name in map(TargetName, names):
        told += draw(runs(name)) + draw(deploys(name)) + draw(st.lists(words(name), max_size=6))
    return Facts(sorted(told, key=lambda fact: fact.at))


@settings(max_examples=15, deadline=None)
@given(anything(SHOP))
def test_skipped_seconds_hide_nothing(facts: list[Told]) -> None:
    under = policy(EVERYTHING)

    assert told_lines(facts, under, Player) == told_lines(facts, under, EverySecond)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.large_base_example])
@given(anything("a", "b", "c"))
def test_nor_do_they_where_targets_break_together(facts: list[Told]) -> None:
    under = policy(*(named(EVERYTHING, name) for name in "abc"))

    assert told_lines(facts, under, Player) == told_lines(facts, under, EverySecond)


@settings(max_examples=10, deadline=None)
@given(anything(SHOP))
def test_the_same_facts_give_the_same_bytes(facts: list[Told]) -> None:
    under = policy(EVERYTHING)

    assert told_lines(facts, under, Player) == told_lines(facts, under, Player)


# Silence, nothing, repetition and lateness -----------------------------------------------------

stories = st.builds(
    life,
    came_at=st.sampled_from((300.0, 303.5)),
    until=st.just(float(UPTO + 300)),
    bad_from=st.sampled_from((200.0, 290.0, 300.0, 340.0, 400.0, math.inf)),
    bad=st.sampled_from((8, 30, 60, 200, 700)),
    ok=st.booleans(),
).map(Facts)


def first(facts: list[Told]) -> float:
    """When the first rollback was decided; inf: never."""
    return min((at for at, _, _ in rolled_back(played(facts, policy(CALM)))), default=math.inf)


def in_order(facts: list[Told]) -> list[Told]:
    return sorted(facts, key=lambda fact: fact.at)


@settings(max_examples=25, deadline=None)
@given(stories, st.data())
def test_misses_never_add_or_hasten_a_rollback(facts: list[Told], data: st.DataObject) -> None:
    misses: list[Told] = [
        Miss(
            target=SHOP,
            probe=ProbeName(data.draw(st.sampled_from(("health", "errors", "latency")))),
            at=data.draw(st.floats(0, 600)),
            reason="control_probe_failed",
        )
        for _ in range(data.draw(st.integers(1, 20)))
    ]

    assert first(in_order([*facts, *misses])) >= first(facts)


@settings(max_examples=25, deadline=None)
@given(stories, st.lists(st.floats(0, 600), min_size=1, max_size=20))
def test_samples_of_nothing_never_add_or_hasten_a_rollback(
    facts: list[Told], at: list[float]
) -> None:
    nothing: list[Told] = []
    for one in at:
        empty = Histogram(buckets=((0.1, 0.0), (0.5, 0.0), (math.inf, 0.0)))
        for probe, measure in (("errors", Ratio(bad=0, total=0)), ("latency", empty)):
            nothing.append(Sample(target=SHOP, probe=ProbeName(probe), at=one, measure=measure))

    assert first(in_order([*facts, *nothing])) >= first(facts)


@settings(max_examples=25, deadline=None)
@given(stories, st.data())
def test_repeated_and_late_facts_never_add_or_hasten_a_rollback(
    facts: list[Told], data: st.DataObject
) -> None:
    heard = [(fact.at, fact) for fact in facts]
    for _ in range(data.draw(st.integers(1, 20))):
        fact = data.draw(st.sampled_from(facts))
        heard.append((fact.at + data.draw(st.sampled_from((0.0, 3.0, 40.0))), fact))
    heard.sort(key=lambda one: one[0])

    assert first_heard(heard) >= first(facts)


def first_heard(heard: list[tuple[float, Told]]) -> float:
    player = Player(policy(CALM))
    decisions = [decision for at, fact in heard for decision in player.take(at, fact)]
    return min((at for at, _, _ in rolled_back([*decisions, *player.end()])), default=math.inf)


@settings(max_examples=25, deadline=None)
@given(stories, st.floats(0, 600), st.floats(MAX_AGE_SECONDS, 300))
def test_time_without_facts_never_adds_or_hastens_a_rollback(
    facts: list[Told], begin: float, length: float
) -> None:
    left = [
        fact
        for fact in facts
        if isinstance(fact, ReleasesSeen) or not begin <= fact.at <= begin + length
    ]

    assert first(left) >= first(facts)
