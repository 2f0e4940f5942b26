"""A rollback that a person asked for, as a decision. Sense may refuse it; no verdict is needed."""

from __future__ import annotations

from rollbackd.core.known_good import goal
from rollbackd.core.marks import same_content
from rollbackd.core.model import Hold, HoldReason, Release, Restore, RollBack, RollbackId
from rollbackd.core.policy import Policy, TargetPolicy
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge


def manual(
    policy: Policy,
    state: TargetState,
    now: float,
    *,
    to_version: int | None,
    plan: str,
    reason: str,
    by: str,
    undoes: RollbackId | None = None,
    plan_hash: str = "",
    to_migration: str = "",
    restore: Restore | None = None,
) -> RollBack | Hold:
    """A rollback a person asked for: it needs no verdict, and no mode, pause or budget stops it."""
    running, bad = state.rollbacks.running, state.current
    if running is not None:
        why = f"{running.rollback} is under way"
        return Hold(target=state.name, at=now, reason=HoldReason.ROLLING_BACK, why=why, bad=bad)
    if bad is None:
        return _nowhere(state, now, None, "no release is known yet")
    target = policy.targets[state.name]
    went = _went_already(target, state, bad, plan)
    good: Release | None
    if went is not None and to_version in {None, went[1].version}:
        bad, good, why = *went, ""
    elif to_version is None:
        found = goal(state.ledger, state.deploys.known, bad)
        good = found.release if found else None
        why = f"no earlier release than v{bad.version} is fit to go back to"
    else:
        good = next((r for r in state.deploys.known if r.version == to_version), None)
        why = f"there is no release v{to_version}"
    if good is None:
        return _nowhere(state, now, bad, why)
    if same_content(good.content, bad.content) and good is not bad:
        left = state.deploys.left_on_another(good)
        if left is None:
            why = f"v{good.version} has the content that v{bad.version} runs already"
            return _nowhere(state, now, bad, why)
        bad = left
    return RollBack(
        target=state.name,
        at=now,
        trigger=None,
        bad=bad,
        good=good,
        plan=plan,
        why=reason,
        requested_by=by,
        undoes=undoes,
        plan_hash=plan_hash,
        to_migration=to_migration,
        restore=restore,
        later_version=_later(target, state, bad, now),
        evidence={"goal_standing": state.ledger.standing(good).value},
        verdicts=tuple(judge(trigger, state, now) for trigger in target.triggers),
    )


def _later(target: TargetPolicy, state: TargetState, bad: Release, now: float) -> int | None:
    """A release newer than the bad one of which nobody is to be surprised."""
    later = state.deploys.without_effect(now, target.safety)
    if state.current is not None and state.current.version > bad.version:
        later = max(state.current.version, later or 0)
    return later


def _went_already(
    target: TargetPolicy, state: TargetState, current: Release, plan: str
) -> tuple[Release, Release] | None:
    """(bad, good) where a plan leaves the app alone and the app is back already: what it was rolled
    back from is bad, and never the release that runs. Of data alone no release is to blame: the one
    that runs stays.
    """
    if plan in target.plans and target.plans[plan].steps == ("data",):
        return current, current
    if plan not in target.plans or "app" in target.plans[plan].steps:
        return None
    older = [r for r in state.deploys.known if r.version < current.version]
    same = [r for r in older if same_content(r.content, current.content)]
    if not same:
        return None
    good = max(same, key=lambda release: release.version)
    between = [r for r in older if r.version > good.version]
    return (max(between, key=lambda release: release.version), good) if between else None


def _nowhere(state: TargetState, now: float, bad: Release | None, why: str) -> Hold:
    return Hold(target=state.name, at=now, reason=HoldReason.NO_GOOD_RELEASE, why=why, bad=bad)
