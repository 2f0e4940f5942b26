"""Facts in the state, a decision out. Reads no clock and changes nothing it decides by.

The first breached trigger that passes every gate acts. Otherwise the decision is to hold, and it
names the gate that stopped the trigger that came furthest.
"""

from __future__ import annotations

from dataclasses import replace

from rollbackd.core.caps import proposal_of, reach_of
from rollbackd.core.gates import GATES, Case, ask, first_held
from rollbackd.core.known_good import goal, secrets_drift
from rollbackd.core.model import (
    Decision,
    GateSays,
    Hold,
    HoldReason,
    Json,
    RollBack,
    TriggerState,
    Verdict,
)
from rollbackd.core.policy import Policy, TargetPolicy
from rollbackd.core.rules import Severity, Trigger
from rollbackd.core.sentence import accusation, held, underway
from rollbackd.core.state import TargetState
from rollbackd.core.trial import HELD_BY_MODE, WouldHave
from rollbackd.core.triggers import judge, onset_of, worst
from rollbackd.core.wording import seconds

ORDER = {reason: index for index, (reason, _) in enumerate(GATES)}


def decide(
    policy: Policy, state: TargetState, now: float, *, mass_failing: bool = False
) -> Decision:
    """Hold and say why, or roll back and say from what to what."""
    target = policy.targets[state.name]
    verdicts = tuple(judge(trigger, state, now) for trigger in target.triggers)
    stopped: tuple[Case, GateSays] | None = None
    for trigger, verdict in critical(target, verdicts):
        if verdict.state is not TriggerState.BREACHED:
            continue
        case = case_of(policy, state, now, trigger, verdict, mass_failing=mass_failing)
        gate = first_held(case)
        if gate is None:
            return _noted(state, _as_frozen(case, roll_back(case, verdicts)))
        if stopped is None or ORDER[gate.reason] > ORDER[stopped[1].reason]:
            stopped = case, gate
    if stopped is not None:
        return _noted(state, _held(*stopped, verdicts))
    return _noted(state, _quiet(target, state, now, verdicts))


def explain(
    policy: Policy, state: TargetState, now: float, *, mass_failing: bool = False
) -> tuple[GateSays, ...]:
    """What every gate says, about the trigger the decision is about or, in peace, the first."""
    target = policy.targets[state.name]
    verdicts = tuple(judge(trigger, state, now) for trigger in target.triggers)
    cases = [
        case_of(policy, state, now, trigger, verdict, mass_failing=mass_failing)
        for trigger, verdict in critical(target, verdicts)
    ]
    breached = [case for case in cases if case.verdict.state is TriggerState.BREACHED]
    answers = [ask(case) for case in breached or cases[:1]]
    return max(answers, key=_reached, default=())


def _reached(answers: tuple[GateSays, ...]) -> int:
    """How many gates a case passes before the first that holds."""
    return next((n for n, answer in enumerate(answers) if answer.holds), len(answers))


def critical(target: TargetPolicy, verdicts: tuple[Verdict, ...]) -> list[tuple[Trigger, Verdict]]:
    """The triggers that may act, each with its verdict."""
    pairs = zip(target.triggers, verdicts, strict=True)
    return [(t, v) for t, v in pairs if t.severity is Severity.CRITICAL]


def case_of(
    policy: Policy,
    state: TargetState,
    now: float,
    trigger: Trigger,
    verdict: Verdict,
    *,
    mass_failing: bool,
) -> Case:
    """What the gates are asked about this trigger."""
    bad = state.current
    back_to = None if bad is None else goal(state.ledger, state.deploys.known, bad)
    return Case(
        target=policy.targets[state.name],
        state=state,
        now=now,
        trigger=trigger,
        verdict=verdict,
        mass_failing=mass_failing,
        bad=bad,
        goal=back_to,
        reach=reach_of(
            policy, state, now, trigger=trigger, verdict=verdict, bad=bad, back_to=back_to
        ),
    )


def roll_back(case: Case, verdicts: tuple[Verdict, ...]) -> RollBack:
    """What follows where no gate holds."""
    assert case.bad is not None, "the gate no_good_release stands above"
    assert case.goal is not None, "the gate no_good_release stands above"
    return RollBack(
        target=case.target.name,
        at=case.now,
        trigger=case.trigger.name,
        bad=case.bad,
        good=case.goal.release,
        plan=case.trigger.plan,
        why=accusation(case.target.name, case.bad, case.verdict),
        requested_by=case.reach.approved_by or "rollbackd",
        onset_at=onset_of(case.verdict),
        later_version=case.state.deploys.without_effect(case.now, case.target.safety),
        evidence=_evidence(case),
        verdicts=verdicts,
    )


def _as_frozen(case: Case, fresh: RollBack) -> RollBack:
    """What a person approved is carried out as it was proposed, with the verdicts of now."""
    frozen = case.state.rollbacks.proposal
    approval = case.state.rollbacks.approval
    if not case.reach.approved_by or frozen is None or approval is None or not approval.hash:
        return fresh
    return replace(
        frozen.decision,
        at=fresh.at,
        proposed_at=frozen.decision.at,
        requested_by=fresh.requested_by,
        verdicts=fresh.verdicts,
    )


def _held(case: Case, gate: GateSays, verdicts: tuple[Verdict, ...]) -> Hold:
    bad, good = case.bad, case.goal.release if case.goal else None
    running, evidence = case.state.rollbacks.running, _evidence(case)
    if running is not None:
        first, bad, good = underway(running, bad, case.verdict), running.bad, running.good
        evidence = {**case.verdict.evidence, "rollback": running.rollback}
    else:
        first = held(gate.reason, case.target.name, bad, case.verdict)
    _note_trial(case, gate)
    return Hold(
        target=case.target.name,
        at=case.now,
        reason=gate.reason,
        why=f"{first}; {gate.why}",
        trigger=case.trigger.name,
        bad=bad,
        good=good,
        evidence=evidence,
        verdicts=verdicts,
    )


def _note_trial(case: Case, gate: GateSays) -> None:
    """Remember what only the mode kept from being done. Nothing is ever decided by it."""
    if gate.reason not in HELD_BY_MODE or case.bad is None or case.goal is None:
        return
    would = WouldHave(
        version=case.bad.version,
        to_version=case.goal.release.version,
        at=case.now,
        trigger=case.trigger.name,
        why=accusation(case.target.name, case.bad, case.verdict),
        held_by=gate.reason.value,
        asks=bool(case.reach.doubts) or case.reach.budget_spent,
    )
    case.state.ledger.trial.note(would)


def _evidence(case: Case) -> dict[str, Json]:
    evidence = dict(case.verdict.evidence)
    if case.goal is not None:
        evidence["goal_standing"] = case.goal.standing.value
    if case.bad is not None and secrets_drift(case.state.deploys.known, case.bad):
        evidence["secrets_drift"] = True
    if case.reach.mode is not case.reach.base:
        evidence["capped_to"] = case.reach.mode.value
        evidence["caps"] = _caps(case)
    proposal = proposal_of(case.target.name, case.bad, case.goal)
    if proposal is not None:
        evidence["proposal"] = proposal
    return evidence


def _caps(case: Case) -> list[Json]:
    caps: list[Json] = [*case.reach.doubts]
    if case.reach.window is not None:
        caps.append(f"window {case.reach.window.name}")
    if case.reach.budget_spent:
        caps.append("budget spent")
    return caps


def _quiet(
    target: TargetPolicy, state: TargetState, now: float, verdicts: tuple[Verdict, ...]
) -> Hold:
    """Nothing that acts is breached: say how things stand."""
    acting = [verdict for _, verdict in critical(target, verdicts)] or list(verdicts)
    standing = worst([v.state for v in acting]) if acting else TriggerState.NO_DATA
    telling = [v for v in acting if v.state is standing]
    first = telling[0] if telling else None
    reason, why = _reason(standing, telling), first.why if first else "no triggers"
    settling = state.deploys.settling(now, target.safety)
    if settling and state.suppressed and standing is not TriggerState.OK:
        left = seconds(state.deploys.settle_until(target.safety) - now)
        reason = HoldReason.SETTLING
        looks = "1 failed look" if state.suppressed == 1 else f"{state.suppressed} failed looks"
        why = f"{looks} not counted, the release may settle {left} more"
    quiet = standing is TriggerState.OK or first is None
    return Hold(
        target=target.name,
        at=now,
        reason=reason,
        why=why,
        trigger=None if quiet or first is None else first.trigger,
        evidence={} if first is None else dict(first.evidence),
        verdicts=verdicts,
    )


def _reason(standing: TriggerState, telling: list[Verdict]) -> HoldReason:
    said = {verdict.evidence.get("reason") for verdict in telling}
    match standing:
        case TriggerState.ERROR if "misconfigured_probe" in said:
            return HoldReason.MISCONFIGURED_PROBE
        case TriggerState.NO_DATA if said == {"asleep"}:
            return HoldReason.ASLEEP
        case TriggerState.ERROR:
            return HoldReason.ERROR
        case TriggerState.NO_DATA:
            return HoldReason.NO_DATA
        case TriggerState.PENDING:
            return HoldReason.PENDING
        case _:
            return HoldReason.OK


def _noted(state: TargetState, decision: Decision) -> Decision:
    # For the page only: nothing is ever decided by what was decided before.
    state.decided, state.evaluated_at = decision, decision.at
    return decision
