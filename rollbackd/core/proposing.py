"""What a person should be asked, and when what was asked does not stand any more. Asks nobody."""

from __future__ import annotations

from dataclasses import replace

from rollbackd.core.asked import Proposed
from rollbackd.core.decide import case_of, critical, roll_back
from rollbackd.core.gates import first_held
from rollbackd.core.known_good import goal
from rollbackd.core.model import RollBack, TriggerState, Verdict
from rollbackd.core.policy import Policy
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge


def proposed(
    policy: Policy, state: TargetState, now: float, *, mass_failing: bool = False
) -> RollBack | None:
    """What would be done now if a person approved it; None where an approval would change nothing,
    or where it was rejected.
    """
    target = policy.targets[state.name]
    verdicts = tuple(judge(trigger, state, now) for trigger in target.triggers)
    for trigger, verdict in critical(target, verdicts):
        if verdict.state is not TriggerState.BREACHED:
            continue
        case = case_of(policy, state, now, trigger, verdict, mass_failing=mass_failing)
        if case.reach.rejected_by or case.reach.approved_by or first_held(case) is None:
            continue
        approved = replace(case, reach=replace(case.reach, approved_by="somebody"))
        if first_held(approved) is None:
            return replace(roll_back(approved, verdicts), requested_by="rollbackd")
    return None


def withdrawn(state: TargetState, asked: Proposed, now: float) -> str:
    """Why what was proposed does not stand any more; empty while it does.

    What holds for a while (a pause, our own blindness, the ceiling while a token is not yet
    known to be good) withdraws nothing.
    """
    decision, current, newest = asked.decision, state.current, state.deploys.newest
    trigger = state.triggers.get(decision.trigger) if decision.trigger is not None else None
    if trigger is None:
        return "its trigger is not configured any more"
    if _cleared(judge(trigger, state, now), asked.at):
        return f"{trigger.name} cleared"
    known = max(decision.bad.version, decision.later_version or 0)
    if newest is not None and newest.version > known:
        return f"v{newest.version} appeared"
    if current is None or current.version != decision.bad.version:
        return f"v{decision.bad.version} is not what runs any more"
    back_to = goal(state.ledger, state.deploys.known, current)
    if back_to is None or back_to.release.version != decision.good.version:
        return f"v{decision.good.version} is not what it would go back to any more"
    mode = state.wanted_mode(now).cap(trigger.mode or Mode.AUTO)
    return "the mode is observe" if mode is Mode.OBSERVE else ""


def _cleared(verdict: Verdict, asked_at: float) -> bool:
    """Not where it began anew after a gap: it was never seen clear, and may be breached again."""
    if verdict.state is TriggerState.PENDING:
        return verdict.since <= asked_at
    return verdict.state is TriggerState.OK


def changed(frozen: Plan, fresh: Plan) -> str:
    """What the frozen plan rests on that is not so any more; empty where all is as it was.

    `settings` hold all of it. The order of the machines may differ: theirs is what is approved.
    """
    if frozen.settings == fresh.settings and frozen.name == fresh.name:
        return ""
    names = sorted({*frozen.settings, *fresh.settings})
    found = [n for n in names if frozen.settings.get(n) != fresh.settings.get(n)] or ["plan"]
    return f"since it was proposed, changed: {', '.join(found)}"
