"""The parts of what people see of a target, made from values. It judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollbackd.core.asked import ModeSet
from rollbackd.core.deploys import Deploys
from rollbackd.core.facts import RollbackStarted
from rollbackd.core.known_good import goal, passed_over
from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.model import Release, ReleaseStatus, TriggerName, TriggerState, Verdict
from rollbackd.core.policy import Policy
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Mode, Severity, Trigger
from rollbackd.core.sentence import cause
from rollbackd.core.snapshot import ProposalView, ReleaseView, RollbackView, TargetView
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge
from rollbackd.core.wording import MINUTE, pause, seconds


def target_view(state: TargetState, policy: Policy, now: float) -> TargetView:
    """Everything people see of one target, as it is at `now`."""
    verdicts = tuple(judge(t, state, now) for t in state.policy.triggers)
    safety, mode = state.policy.safety, state.mode(now).cap(policy.mode_ceiling)
    return TargetView(
        name=state.name,
        mode=mode,
        healthy=healthy(verdicts, state.triggers),
        evaluated_at=state.evaluated_at,
        decision=state.decided,
        verdicts=verdicts,
        probes=tuple(track.view() for track in state.probes.values()),
        releases=release_views(state.ledger, state.deploys),
        machines=state.deploys.machines or (),
        rollback=rollback_view(state.rollbacks.running, state.rollbacks.switched_at),
        paused_until=state.paused_until if state.paused(now) else None,
        paused=_paused(state, now),
        locked_out=state.rollbacks.locked_out,
        locked_why=state.rollbacks.locked_why if state.rollbacks.locked_out else "",
        cooldown_until=state.rollbacks.cooldown_until(safety),
        budget_left=state.rollbacks.budget_left(now, safety),
        proposal=proposal_view(state, now),
        mode_set=mode_words(state.mode_set, now),
        learning=_learning(state),
        relapse=state.ledger.relapse(state.current),
        trial="" if mode is Mode.AUTO else state.ledger.trial.sentence,
        would_have=tuple(reversed(state.ledger.trial.would_have.values())),
    )


def healthy(verdicts: Sequence[Verdict], triggers: Mapping[TriggerName, Trigger]) -> bool | None:
    """None while nothing is known; a warning makes nobody ill."""
    states = {v.state for v in verdicts if triggers[v.trigger].severity is Severity.CRITICAL}
    if TriggerState.BREACHED in states:
        return False
    return True if states & {TriggerState.OK, TriggerState.PENDING} else None


def rollback_view(
    started: RollbackStarted | None, switched_at: float | None
) -> RollbackView | None:
    if started is None:
        return None
    return RollbackView(
        rollback=started.rollback,
        bad_version=started.bad.version,
        good_version=started.good.version,
        started_at=started.at,
        switched_at=switched_at,
        cause=cause(started),
    )


def proposal_view(state: TargetState, now: float) -> ProposalView | None:
    asked, approval = state.rollbacks.proposal, state.rollbacks.approval
    if asked is None:
        return None
    answer_by = asked.at + state.policy.safety.approval_seconds
    stands = approval is not None and now - approval.at <= state.policy.safety.approval_seconds
    return ProposalView(
        rollback=asked.rollback,
        bad_version=asked.decision.bad.version,
        good_version=asked.decision.good.version,
        trigger=asked.decision.trigger or "",
        why=asked.decision.why,
        plan=asked.plan,
        asked_at=asked.at,
        answer_by=answer_by,
        overdue=now > answer_by,
        approved_by=approval.by if approval is not None and stands else "",
    )


def mode_words(given: ModeSet | None, now: float) -> str:
    """`auto, set by ann for 34 min more: load test`; empty where nothing that counts was set."""
    if given is None or given.mode is None or (given.until is not None and now >= given.until):
        return ""
    until = "" if given.until is None else f" for {seconds(given.until - now)} more"
    return f"{given.mode.value}, set by {given.by}{until}: {given.reason}"


def release_views(ledger: Ledger, deploys: Deploys) -> tuple[ReleaseView, ...]:
    current, known = deploys.current, deploys.known
    back_to = None if current is None else goal(ledger, known, current)
    passed = {} if current is None else passed_over(ledger, known, current, back_to)
    return tuple(
        ReleaseView(
            release=release,
            standing=_standing(ledger, release, current).value,
            why=ledger.why(release, known),
            current=current is not None and release.version == current.version,
            goal=back_to is not None and release.version == back_to.release.version,
            passed_over=passed.get(release.version, ""),
            url=ledger.authorship.url(release.version),
        )
        for release in known
    )


def _standing(ledger: Ledger, release: Release, current: Release | None) -> Standing:
    standing = ledger.standing(release)
    seen_well = release.status is ReleaseStatus.COMPLETE and release in ledger.cleared
    if standing is Standing.UNKNOWN and release is current and seen_well:
        return Standing.GOOD  # as far as can be said before a successor comes
    return standing


def _paused(state: TargetState, now: float) -> str:
    until = state.paused_until if state.paused(now) else None
    return "" if until is None else pause(until, state.paused_by, now)


def _learning(state: TargetState) -> tuple[str, ...]:
    """A line for each trigger that cannot judge the current release for want of history."""
    found = ((name, watch) for name, watch in state.regressions.watches.items())
    return tuple(f"{name} is learning: {_history(w)}" for name, w in found if w.learning())


def _history(watch: RegressionWatch) -> str:
    """`34 of 60 min of history`; once that is enough, it judges the next release."""
    wanted = watch.rule.history_at_least_seconds
    have = max((s.history.covered() for s in watch.streams.values()), default=0.0)
    if have >= wanted:
        return f"{watch.learning()}; it judges the next release"
    size, unit = (MINUTE, "min") if wanted >= 2 * MINUTE else (1, "s")
    return f"{have // size:.0f} of {wanted / size:.3g} {unit} of history"
