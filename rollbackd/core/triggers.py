"""A trigger's verdict, from the signals being watched. It says what is, not what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, assert_never

from rollbackd.core import wording
from rollbackd.core.deploy_verdict import deploy_state, judge_deploy
from rollbackd.core.model import Json, TriggerName, TriggerState, Verdict
from rollbackd.core.observed import Observed, Place
from rollbackd.core.rules import Composite, DeployFailed, Regression, Signal, Trigger, TriggerRef
from rollbackd.core.watch import Trust

PRECEDENCE = (
    TriggerState.BREACHED,
    TriggerState.ERROR,
    TriggerState.NO_DATA,
    TriggerState.PENDING,
    TriggerState.OK,
)


def judge(trigger: Trigger, state: Observed, now: float) -> Verdict:
    """What one trigger says at `now`, with the numbers that make it say so."""
    match trigger.rule:
        case DeployFailed():
            return judge_deploy(trigger, state, now)
        case Signal():
            watch = state.watches[Place(trigger.name, veto=False, at=0)]
            return Verdict(
                trigger=trigger.name,
                state=watch.state(now),
                since=watch.since(now),
                value=watch.gauge.value,
                threshold=wording.threshold(watch),
                samples=watch.gauge.samples,
                why=wording.signal(watch, now),
                evidence=wording.evidence(watch, now),
            )
        case Composite(parts=parts):
            return _judge_composite(trigger, parts, state, now)
        case Regression():
            return _judge_regression(trigger, state, now)
        case _:
            assert_never(trigger.rule)


def state_of(trigger: Trigger, state: Observed, now: float) -> TriggerState:
    """The verdict's state alone; what a sample pays for."""
    match trigger.rule:
        case DeployFailed():
            return deploy_state(state, now)
        case Signal():
            return state.watches[Place(trigger.name, veto=False, at=0)].state(now)
        case Composite(every=every):
            return _combine([part.state for part in _parts(trigger, state, now)], every=every)
        case Regression():
            return state.regressions.watches[trigger.name].state(now)
        case _:
            assert_never(trigger.rule)


def trust_of(trigger: Trigger, state: Observed, now: float) -> tuple[Trust, float | None]:
    """How well the trigger stood when the current release came; if ill, since when."""
    match trigger.rule:
        case DeployFailed():
            return Trust.WELL, None
        case Signal():
            watch = state.watches[Place(trigger.name, veto=False, at=0)]
            return watch.trust, watch.before_since
        case Composite():
            breached = [
                part.trust
                for part in _parts(trigger, state, now)
                if part.state is TriggerState.BREACHED
            ]
            # One part that went bad since the release is enough: without it, no breach.
            order = (Trust.WELL, Trust.UNKNOWN, Trust.ILL)
            return min(breached, key=lambda t: order.index(t[0]), default=(Trust.UNKNOWN, None))
        case Regression():
            since = state.regressions.watches[trigger.name].ill_before()
            return (Trust.WELL if since is None else Trust.ILL), since
        case _:
            assert_never(trigger.rule)


def known_well(trigger: Trigger, state: Observed, now: float) -> bool:
    """Whether samples say that it is well; silence says nothing."""
    match trigger.rule:
        case DeployFailed():
            return deploy_state(state, now) is TriggerState.OK
        case Signal():
            return state.watches[Place(trigger.name, veto=False, at=0)].well(now)
        case Composite(every=every):
            parts = _parts(trigger, state, now)
            return any(p.well for p in parts) if every else all(p.well for p in parts)
        case Regression():
            return state.regressions.watches[trigger.name].known_well(now)
        case _:
            assert_never(trigger.rule)


def ill_before(trigger: Trigger, state: Observed, at: float) -> bool:
    """Whether it was pending or breached at `at` and has been so since."""
    match trigger.rule:
        case DeployFailed():
            return False  # it speaks of the release that came, not of the one before
        case Signal():
            return state.watches[Place(trigger.name, veto=False, at=0)].ill_before(at)
        case Composite(every=every, parts=parts):
            ill = [
                ill_before(state.triggers[part.trigger], state, at)
                if isinstance(part, TriggerRef)
                else state.watches[Place(trigger.name, veto=False, at=index)].ill_before(at)
                for index, part in enumerate(parts)
            ]
            return all(ill) if every else any(ill)
        case Regression():
            onset = state.regressions.watches[trigger.name].onset
            return onset is not None and onset < at
        case _:
            assert_never(trigger.rule)


def veto_why(trigger: Trigger, state: Observed, now: float) -> str:
    """What speaks against blaming the release; empty when nothing does.

    A veto stands aside only when it is known to be well: a dependency that cannot be looked at
    may be just what is broken.
    """
    for index, part in enumerate(trigger.unless):
        if isinstance(part, TriggerRef):
            other = state.triggers[part.trigger]
            if not known_well(other, state, now):
                return f"{other.name}: {judge(other, state, now).why}"
        else:
            watch = state.watches[Place(trigger.name, veto=True, at=index)]
            if not watch.well(now):
                return wording.signal(watch, now)
    return ""


def depends(
    trigger: Trigger, touched: set[TriggerName], triggers: Mapping[TriggerName, Trigger]
) -> bool:
    """Whether the trigger may have changed. What needs no sample is always looked at; what is
    judged by the tick is touched when one closes.
    """
    if trigger.name in touched:
        return True
    if isinstance(trigger.rule, Composite):
        refs = [p.trigger for p in trigger.rule.parts if isinstance(p, TriggerRef)]
        return any(depends(triggers[ref], touched, triggers) for ref in refs)
    return not isinstance(trigger.rule, (Signal, Regression))


class _Part(NamedTuple):
    name: str
    state: TriggerState
    trust: tuple[Trust, float | None]
    well: bool
    onset: float | None
    why: str


def _parts(trigger: Trigger, state: Observed, now: float) -> list[_Part]:
    assert isinstance(trigger.rule, Composite), "asked of composites only"
    return [
        _part(trigger, index, part, state, now) for index, part in enumerate(trigger.rule.parts)
    ]


def _part(
    trigger: Trigger, index: int, part: Signal | TriggerRef, state: Observed, now: float
) -> _Part:
    if isinstance(part, TriggerRef):
        other = state.triggers[part.trigger]
        verdict = judge(other, state, now)
        return _Part(
            name=other.name,
            state=verdict.state,
            trust=trust_of(other, state, now),
            well=known_well(other, state, now),
            onset=onset_of(verdict),
            why=verdict.why,
        )
    watch = state.watches[Place(trigger.name, veto=False, at=index)]
    return _Part(
        name=part.probe,
        state=watch.state(now),
        trust=(watch.trust, watch.before_since),
        well=watch.well(now),
        onset=watch.onset,
        why=wording.signal(watch, now),
    )


def _combine(states: list[TriggerState], *, every: bool) -> TriggerState:
    """`all` is breached when every part is; otherwise what keeps it from being so speaks."""
    others = [s for s in states if s is not TriggerState.BREACHED]
    return worst(others if every and others else states)


def worst(states: Sequence[TriggerState]) -> TriggerState:
    """Where several meet, what is nearest to acting or to blindness speaks."""
    return min(states, key=PRECEDENCE.index)


def onset_of(verdict: Verdict) -> float | None:
    """When what the verdict speaks of began."""
    onset = verdict.evidence.get("onset_at")
    return onset if isinstance(onset, int | float) else None


def _judge_composite(
    trigger: Trigger, parts: tuple[Signal | TriggerRef, ...], state: Observed, now: float
) -> Verdict:
    assert isinstance(trigger.rule, Composite), "asked of composites only"
    read = [_part(trigger, index, part, state, now) for index, part in enumerate(parts)]
    standing = _combine([part.state for part in read], every=trigger.rule.every)
    telling = [p for p in read if p.state is standing] or read
    evidence: dict[str, Json] = {part.name: part.state.value for part in read}
    onsets = [p.onset for p in telling if p.onset is not None]
    if onsets and standing in {TriggerState.BREACHED, TriggerState.PENDING}:
        # All of them: users are hurt since the last joined; any: since the first.
        evidence["onset_at"] = max(onsets) if trigger.rule.every else min(onsets)
    joined = " and " if trigger.rule.every else "; "
    since = evidence.get("onset_at")
    return Verdict(
        trigger=trigger.name,
        state=standing,
        since=since if isinstance(since, int | float) else now,
        samples=len(read),
        why=joined.join(p.why for p in telling),
        evidence=evidence,
    )


def _judge_regression(trigger: Trigger, state: Observed, now: float) -> Verdict:
    watch = state.regressions.watches[trigger.name]
    onset = watch.onset
    return Verdict(
        trigger=trigger.name,
        state=watch.state(now),
        since=now if onset is None else onset,
        value=watch.odds,
        threshold=watch.rule.odds,
        samples=watch.samples,
        why=watch.why(now),
        evidence=watch.evidence(),
    )
