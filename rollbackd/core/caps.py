"""How far a breach may go: the mode, what caps it, and whether a person approved. No gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollbackd.core.known_good import Goal
from rollbackd.core.ledger import Standing
from rollbackd.core.model import Release, RollbackId, TargetName, Verdict
from rollbackd.core.policy import Policy, TargetPolicy, TimeWindow
from rollbackd.core.rules import Mode, Trigger
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import trust_of
from rollbackd.core.watch import Trust
from rollbackd.core.wording import seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`base` is what the configuration allows; everything else can only lower it."""

    base: Mode
    base_why: str  # in words, and whose it is where it is not simply the target's
    window: TimeWindow | None
    budget_spent: bool
    doubts: tuple[str, ...]  # why a person must look although the mode would be auto
    approved_by: str
    rejected_by: str  # and why
    overdue_seconds: float | None = None  # for how long nobody answered; None: not for too long

    @property
    def mode(self) -> Mode:
        """What is left once everything has had its say; an approval does not raise it."""
        mode = self.base if self.window is None else self.base.cap(self.window.mode)
        return mode.cap(Mode.APPROVE) if self.doubts or self.budget_spent else mode

    @property
    def stopped_by_budget(self) -> bool:
        return self.budget_spent and self.base is Mode.AUTO and not self.approved_by

    @property
    def stopped_by_window(self) -> bool:
        if self.window is None or self.window.mode.rank >= self.base.rank:
            return False
        return self.window.mode is Mode.OBSERVE or not self.approved_by

    @property
    def needs_approval(self) -> bool:
        """What was rejected is not done by itself when a window ends or the mode is raised."""
        return bool(self.rejected_by) or (self.mode is Mode.APPROVE and not self.approved_by)

    @property
    def approval_why(self) -> str:
        if self.rejected_by:
            return f"rejected by {self.rejected_by}"
        if self.approved_by:
            return f"approved by {self.approved_by}"
        if self.mode is Mode.APPROVE:
            why = "needs approval: " + (" and ".join(self.doubts) or self._approve_why)
            return why + self.unanswered
        observing = self.mode is Mode.OBSERVE
        return "nobody is asked in mode observe" if observing else "nobody has to be asked"

    @property
    def _approve_why(self) -> str:
        if self.base is Mode.APPROVE:
            return self.base_why
        if self.window is not None and self.window.mode is Mode.APPROVE:
            return f"the window {self.window.name} allows approve only"
        return "the budget is spent"

    @property
    def unanswered(self) -> str:
        """The end of a sentence that says that nobody answered."""
        late = self.overdue_seconds
        return "" if late is None else f"; nobody answered for {seconds(late)}: page somebody"


def reach_of(
    policy: Policy,
    state: TargetState,
    now: float,
    *,
    trigger: Trigger,
    verdict: Verdict,
    bad: Release | None,
    back_to: Goal | None,
) -> Reach:
    target = policy.targets[state.name]
    mode = state.mode(now)
    base = mode.cap(trigger.mode or mode).cap(policy.mode_ceiling)
    proposal = proposal_of(state.name, bad, back_to)
    return Reach(
        base=base,
        base_why=_base_why(policy, state, trigger, base, now),
        window=window_on(target.safety.windows, state.local_minutes),
        budget_spent=state.rollbacks.budget_left(now, target.safety) == 0,
        doubts=_doubts(state, trigger, now, back_to, proposal),
        approved_by=_approved_by(target, state, verdict, now, proposal),
        rejected_by=state.rollbacks.rejected.get(proposal, "") if proposal else "",
        overdue_seconds=_overdue(target, state, now, proposal),
    )


def _base_why(policy: Policy, state: TargetState, trigger: Trigger, base: Mode, now: float) -> str:
    """The configuration is not the only one that says so: what lowers the mode is named."""
    if state.policy.token_ceiling is base and base is not Mode.AUTO:
        return f"the mode is {base.value}: {state.policy.ceiling_why}"
    if state.mode(now) is base:
        return f"the mode is {base.value}"
    if trigger.mode is base:
        return f"the mode of {trigger.name} is {base.value}"
    return f"ROLLBACKD_MODE is {policy.mode_ceiling.value}"


def proposal_of(target: TargetName, bad: Release | None, goal: Goal | None) -> RollbackId | None:
    """What a person approves: from this release to that one, and no other."""
    if bad is None or goal is None:
        return None
    return proposal_name(target, bad, goal.release)


def proposal_name(target: TargetName, bad: Release, good: Release) -> RollbackId:
    return RollbackId(f"{target}-v{bad.version}-to-v{good.version}")


def window_on(
    windows: Sequence[TimeWindow], local_minutes: Mapping[str, tuple[int, int]]
) -> TimeWindow | None:
    """The most careful window that is on now. One whose local time is unknown counts as on."""
    on = [w for w in windows if w.tz not in local_minutes or _is_on(w, *local_minutes[w.tz])]
    return min(on, key=lambda w: w.mode.rank, default=None)


def _is_on(window: TimeWindow, weekday: int, minute: int) -> bool:
    if window.from_minute < window.to_minute:
        return weekday in window.days and window.from_minute <= minute < window.to_minute
    if weekday in window.days and minute >= window.from_minute:
        return True
    return (weekday - 1) % 7 in window.days and minute < window.to_minute


def _doubts(
    state: TargetState,
    trigger: Trigger,
    now: float,
    goal: Goal | None,
    proposal: RollbackId | None,
) -> tuple[str, ...]:
    doubts = []
    asked = state.rollbacks.proposal
    if asked is not None and asked.rollback == proposal and asked.plan.asks:
        doubts.append(asked.plan.asks)
    if goal is not None and goal.standing is Standing.UNKNOWN:
        doubts.append(f"v{goal.release.version} was never seen well")
    if trust_of(trigger, state, now)[0] is Trust.UNKNOWN:
        doubts.append("it is not known whether it was well before the release")
    return tuple(doubts)


def _approved_by(
    target: TargetPolicy,
    state: TargetState,
    verdict: Verdict,
    now: float,
    proposal: RollbackId | None,
) -> str:
    approval = state.rollbacks.approval
    if approval is None or approval.rollback != proposal or proposal is None:
        return ""
    frozen = state.rollbacks.proposal
    if approval.hash and (frozen is None or frozen.plan.hash != approval.hash):
        return ""  # another plan than the one that was approved
    lapsed = now - approval.at > target.safety.approval_seconds
    # What cleared and broke again is another breach than the one approved.
    return "" if lapsed or verdict.since > approval.at else approval.by


def _overdue(
    target: TargetPolicy, state: TargetState, now: float, proposal: RollbackId | None
) -> float | None:
    asked = state.rollbacks.proposal
    if asked is None or asked.rollback != proposal:
        return None
    waited = now - asked.at
    return waited if waited > target.safety.approval_seconds else None
