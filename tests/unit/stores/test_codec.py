"""What is kept comes back as it was."""

import json
import math
from dataclasses import fields, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.core import asked, facts
from rollbackd.core.model import (
    Json,
    Release,
    ReleaseStatus,
    Restore,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
    TriggerName,
    TriggerState,
    Verdict,
)
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.stores import codec

words = st.text(max_size=8)
times = st.floats(min_value=0, max_value=1e11)
numbers = st.floats(allow_nan=False)
opaque: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(words, opaque, max_size=3)
targets = words.map(TargetName)
ids = words.map(RollbackId)
releases = st.builds(
    Release,
    version=st.integers(0, 10**6),
    image=words,
    status=st.sampled_from(ReleaseStatus),
    content=words,
    created_at=st.none() | times,
    id=words,
    author=words,
)
verdicts = st.builds(
    Verdict,
    trigger=words.map(TriggerName),
    state=st.sampled_from(TriggerState),
    since=times,
    value=st.none() | numbers,
    threshold=st.none() | numbers,
    samples=st.floats(0, 1e9),
    why=words,
    evidence=objects,
)
decisions = st.builds(
    RollBack,
    restore=st.none()
    | st.builds(
        Restore,
        snapshot=words,
        tables=st.lists(words, max_size=2).map(tuple),
        missing=st.booleans(),
        common=st.booleans(),
    ),
    target=targets,
    at=times,
    trigger=st.none() | words.map(TriggerName),
    bad=releases,
    good=releases,
    plan=words,
    why=words,
    requested_by=words,
    onset_at=st.none() | times,
    evidence=objects,
    verdicts=st.lists(verdicts, max_size=2).map(tuple),
)
steps = st.builds(
    Step,
    seq=st.integers(1, 99),
    phase=st.sampled_from(Phase),
    kind=words,
    name=words,
    params=objects,
    op_key=words,
    mutates=st.booleans(),
)
plans = st.builds(
    Plan,
    rollback=ids,
    target=targets,
    name=words,
    from_version=st.integers(0),
    to_version=st.integers(0),
    steps=st.lists(steps, max_size=3).map(tuple),
    parallel=st.integers(1, 9),
    deadline_at=numbers,
    hash=words,
    settings=objects,
    notes=st.lists(words, max_size=2).map(tuple),
)
kept: st.SearchStrategy[facts.TargetFact] = st.one_of(
    st.builds(
        asked.Proposed, target=targets, at=times, rollback=ids, decision=decisions, plan=plans
    ),
    st.builds(asked.Withdrawn, target=targets, at=times, rollback=ids, why=words),
    st.builds(
        asked.ModeSet,
        target=targets,
        at=times,
        mode=st.none() | st.sampled_from(Mode),
        until=st.none() | times,
        by=words,
        reason=words,
    ),
    st.builds(
        facts.ReleasesSeen,
        target=targets,
        at=times,
        releases=st.lists(releases, max_size=3).map(tuple),
    ),
    st.builds(facts.Paused, target=targets, at=times, until=numbers, by=words, reason=words),
    st.builds(facts.Resumed, target=targets, at=times, by=words),
    st.builds(facts.Approved, target=targets, at=times, rollback=ids, by=words),
    st.builds(facts.Rejected, target=targets, at=times, rollback=ids, by=words),
    st.builds(facts.Unlocked, target=targets, at=times, by=words, reason=words),
    st.builds(
        facts.RollbackStarted,
        target=targets,
        at=times,
        rollback=ids,
        bad=releases,
        good=releases,
        automatic=st.booleans(),
        trigger=st.none() | words.map(TriggerName),
    ),
    st.builds(
        facts.RollbackSwitched,
        target=targets,
        at=times,
        rollback=ids,
        version=st.none() | st.integers(0),
    ),
    st.builds(
        facts.RollbackEnded,
        target=targets,
        at=times,
        rollback=ids,
        outcome=st.sampled_from(RollbackOutcome),
        detail=words,
        recovered_at=st.none() | times,
        proved_at=st.none() | times,
    ),
)


@given(plans)
def test_a_plan_comes_back_as_it_was(plan: Plan) -> None:
    assert codec.plan_from(codec.text(plan)) == plan


@given(decisions)
def test_a_decision_comes_back_as_it_was(decision: RollBack) -> None:
    assert codec.rollback_from(codec.text(decision)) == decision


@given(kept)
def test_a_kept_fact_comes_back_as_it_was(fact: facts.TargetFact) -> None:
    assert codec.fact_from(codec.fact_kind(fact), codec.text(fact)) == fact


def test_a_time_without_end_comes_back_as_a_number() -> None:
    one = replace(_DECISION.bad, created_at=math.inf)
    odd: tuple[facts.TargetFact, ...] = (
        facts.ReleasesSeen(target=TargetName("s"), at=1, releases=(one,)),
        asked.ModeSet(target=TargetName("s"), at=1, mode=None, until=math.inf, by="", reason=""),
        facts.RollbackEnded(
            target=TargetName("s"),
            at=1,
            rollback=RollbackId("r"),
            outcome=RollbackOutcome.RECOVERED,
            recovered_at=math.inf,
            proved_at=-math.inf,
        ),
    )
    decision = replace(_DECISION, onset_at=math.inf)

    assert [codec.fact_from(codec.fact_kind(f), codec.text(f)) for f in odd] == [*odd]
    assert codec.rollback_from(codec.text(decision)) == decision


@given(decisions, st.sampled_from([math.inf, -math.inf, math.nan]))
def test_an_odd_number_in_the_evidence_never_keeps_a_decision_from_disk(
    decision: RollBack, odd: float
) -> None:
    strange = replace(decision, evidence={"odds": odd, "deep": [{"x": odd}]})

    body = codec.text(strange)

    assert json.loads(body)["evidence"] == {"odds": str(odd), "deep": [{"x": str(odd)}]}


def test_what_is_measured_every_second_is_never_kept() -> None:
    known = {type(example) for example in (_EXAMPLES)}
    never = {
        facts.Sample, facts.Miss, facts.Asleep, facts.MachinesSeen, facts.ControlSeen,
        facts.PastSeen,
    }  # fmt: skip
    assert known | never == set(get_args(facts.TargetFact))
    for kind in never:
        assert kind not in known
    with pytest.raises(KeyError):
        codec.fact_kind(facts.ControlSeen(target=TargetName("shop"), at=1, ok=True))


_DECISION = RollBack(
    target=TargetName("s"),
    at=1,
    trigger=None,
    bad=Release(version=2, image="", status=ReleaseStatus.COMPLETE, content=""),
    good=Release(version=1, image="", status=ReleaseStatus.COMPLETE, content=""),
    plan="app",
)
_PLAN = Plan(
    rollback=RollbackId("r"),
    target=TargetName("s"),
    name="app",
    from_version=2,
    to_version=1,
    steps=(),
    parallel=1,
    deadline_at=1.0,
    hash="",
    settings={},
    notes=(),
)
_EXAMPLES = (
    asked.Proposed(
        target=TargetName("s"), at=1, rollback=RollbackId("r"), decision=_DECISION, plan=_PLAN
    ),
    asked.Withdrawn(target=TargetName("s"), at=1, rollback=RollbackId("r"), why=""),
    asked.ModeSet(target=TargetName("s"), at=1, mode=Mode.OBSERVE, until=None, by="", reason=""),
    facts.Announced(target=TargetName("s"), at=1, commit="", by=""),
    facts.Blessed(target=TargetName("s"), at=1, version=1, by="", reason=""),
    facts.Quarantined(target=TargetName("s"), at=1, version=1, by="", reason=""),
    facts.Unquarantined(target=TargetName("s"), at=1, version=1, by="", reason=""),
    facts.ReleasesSeen(target=TargetName("s"), at=1, releases=()),
    facts.Paused(target=TargetName("s"), at=1, until=2, by="", reason=""),
    facts.Resumed(target=TargetName("s"), at=1, by=""),
    facts.Approved(target=TargetName("s"), at=1, rollback=RollbackId("r"), by=""),
    facts.Rejected(target=TargetName("s"), at=1, rollback=RollbackId("r"), by=""),
    facts.Unlocked(target=TargetName("s"), at=1, by="", reason=""),
    facts.RollbackSwitched(target=TargetName("s"), at=1, rollback=RollbackId("r")),
    facts.RollbackEnded(
        target=TargetName("s"),
        at=1,
        rollback=RollbackId("r"),
        outcome=RollbackOutcome.RECOVERED,
    ),
    facts.RollbackStarted(
        target=TargetName("s"),
        at=1,
        rollback=RollbackId("r"),
        bad=Release(version=2, image="", status=ReleaseStatus.COMPLETE, content=""),
        good=Release(version=1, image="", status=ReleaseStatus.COMPLETE, content=""),
    ),
)


def test_every_field_of_a_kept_fact_is_written() -> None:
    for example in _EXAMPLES:
        assert set(codec.plain_object(example)) == {one.name for one in fields(example)}
