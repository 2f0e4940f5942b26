"""What the verdicts say of the current release, noted in the ledger. Decides nothing."""

from __future__ import annotations

from typing import Protocol

from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Release, ReleaseStatus, TriggerName, TriggerState
from rollbackd.core.observed import Observed
from rollbackd.core.rollbacks import Rollbacks
from rollbackd.core.rules import DeployFailed, Severity, Trigger
from rollbackd.core.triggers import (
    depends,
    ill_before,
    judge,
    known_well,
    onset_of,
    state_of,
    trust_of,
    veto_why,
)
from rollbackd.core.watch import Trust


class Learns(Observed, Protocol):
    """What of a target's state its ledger is kept from."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def rollbacks(self) -> Rollbacks: ...

    @property
    def control_ok(self) -> bool: ...


def close(state: Learns, current: Release, came_at: float) -> None:
    """A successor came at `came_at`: was the release it follows good?"""
    critical = [t for t in state.policy.triggers if t.severity is Severity.CRITICAL]
    quiet = not any(ill_before(t, state, came_at) for t in critical)
    state.ledger.acquit(current, came_at)
    well = quiet and current in state.ledger.cleared
    if well and current.status is ReleaseStatus.COMPLETE:
        state.ledger.prove_good(current, came_at)


def learn(state: Learns, at: float, touched: set[TriggerName]) -> None:
    """Note whether the current release was seen well, or is to blame for a breach."""
    current = state.deploys.current
    if current is None or state.rollbacks.running is not None:
        return
    for trigger in state.policy.triggers:
        if trigger.severity is Severity.CRITICAL and depends(trigger, touched, state.triggers):
            _note(state, current, trigger, at)


def _note(state: Learns, current: Release, trigger: Trigger, at: float) -> None:
    if state_of(trigger, state, at) is TriggerState.BREACHED:
        if _blames(state, trigger, at):
            verdict = judge(trigger, state, at)
            onset = onset_of(verdict)
            state.ledger.accuse(
                current,
                at if onset is None else onset,
                why=f"breached {trigger.name}: {verdict.why}",
                known=state.deploys.known,
            )
    elif _plainly_ill(state, at):
        state.ledger.cleared.discard(current)  # whatever else stands well
    elif not isinstance(trigger.rule, DeployFailed) and known_well(trigger, state, at):
        state.ledger.cleared.add(current)


def _plainly_ill(state: Learns, at: float) -> bool:
    return any(watch.plainly_ill(at) for watch in state.regressions.watches.values())


def _blames(state: Learns, trigger: Trigger, at: float) -> bool:
    watched = at - state.deploys.current_since <= state.policy.safety.watch_seconds
    if not watched or not state.control_ok or state.deploys.rollback_why(state.ledger):
        return False
    return trust_of(trigger, state, at)[0] is not Trust.ILL and not veto_why(trigger, state, at)
