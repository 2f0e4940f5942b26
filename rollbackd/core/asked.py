"""Facts of what is asked of people before it is done, and of what they set for a while."""

from __future__ import annotations

from dataclasses import dataclass

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import RollBack, RollbackId, TargetName
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A person is asked: this rollback, by this plan, which nothing changes from now on.

    `rollback` names what is proposed (from which release to which), as an approval does.
    """

    target: TargetName
    at: float
    rollback: RollbackId
    decision: RollBack
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was proposed is not any more: `why`. An approval of it counts for nothing."""

    target: TargetName
    at: float
    rollback: RollbackId
    why: str


class NeedsApproval(PlanRefused):
    """Only a person may say yes to this very plan: `plan.asks` says why."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"needs approval: {plan.asks}", hint=f"look at it; its plan hash is {plan.hash}"
        )
        self.plan = plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeSet:
    """A person sets the mode of a target until a time, or for good where it only gets more careful.

    `mode` None takes back what was set.
    """

    target: TargetName
    at: float
    mode: Mode | None
    until: float | None
    by: str
    reason: str


def mode_now(configured: Mode, given: ModeSet | None, now: float) -> Mode:
    """What was set, while it counts. Without an end it can only make the mode more careful."""
    if given is None or given.mode is None:
        return configured
    if given.until is None:
        return configured.cap(given.mode)
    return given.mode if now < given.until else configured
