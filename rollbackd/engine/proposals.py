"""Asks people: freezes the plan of what needs an approval, and takes it back when it is stale.

Everything it finds out it tells as a fact; a plan is made beside the loop and touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from rollbackd.core.asked import NeedsApproval, Proposed, Withdrawn
from rollbackd.core.caps import proposal_name
from rollbackd.core.errors import PlanRefused, RollbackdError
from rollbackd.core.facts import TargetFact
from rollbackd.core.model import Decision, Hold, RollBack, RollbackId, TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.ports import Clock
from rollbackd.core.proposing import changed, proposed, withdrawn
from rollbackd.core.runbook import Plan
from rollbackd.core.state import TargetState
from rollbackd.core.trial import HELD_BY_MODE
from rollbackd.engine.undertakings import Undertakings
from rollbackd.telemetry import events

log = structlog.get_logger()

LOOK_AGAIN_SECONDS: Final = 60.0  # whether what an open one rests on is still so
TRY_AGAIN_SECONDS: Final = 30.0  # where no plan could be made


@dataclass(kw_only=True)
class Proposals:
    """Fed by every decision of the loop."""

    clock: Clock
    undertakings: Undertakings
    publish: Callable[[TargetFact], None]
    _planning: set[TargetName] = field(default_factory=set)
    _next_at: dict[TargetName, float] = field(default_factory=dict)
    _overdue: set[RollbackId] = field(default_factory=set)  # told once

    def look(self, policy: Policy, state: TargetState, decision: Decision, *, mass: bool) -> None:
        """Ask, take back or wait. Called once per tick and target."""
        now, name, asked = decision.at, state.name, state.rollbacks.proposal
        if asked is not None:
            why = withdrawn(state, asked, now)
            if why:
                self.withdraw(asked, why)
                return
            self._escalate(asked, now, policy.targets[name].safety.approval_seconds)
        if name in self._planning or now < self._next_at.get(name, 0.0):
            return
        if asked is not None:
            self._start(name, asked.decision, asked)
        elif isinstance(decision, Hold) and decision.reason in HELD_BY_MODE:
            wanted = proposed(policy, state, now, mass_failing=mass)
            if wanted is not None:
                self._start(name, wanted, None)

    def frozen(self, state: TargetState, decision: RollBack) -> Plan | None:
        """The plan that was approved, where this decision is the one it was made for."""
        asked = state.rollbacks.proposal
        if decision.proposed_at is None or asked is None or asked.decision.id != decision.id:
            return None
        return asked.plan

    def _start(self, name: TargetName, decision: RollBack, asked: Proposed | None) -> None:
        self._planning.add(name)
        self._next_at[name] = decision.at if asked is None else self.clock.now()
        self.undertakings.beside(self._plan(name, decision, asked))

    async def _plan(self, name: TargetName, decision: RollBack, asked: Proposed | None) -> None:
        wait = LOOK_AGAIN_SECONDS
        try:
            plan = await self.undertakings.runner.dry_run(decision)
            if plan.refuses:  # nobody is asked for what would not be done
                raise PlanRefused(plan.refuses)
        except RollbackdError as error:
            wait = TRY_AGAIN_SECONDS
            log.warning(events.PROPOSAL_NOT_MADE, target=name, error=error.message, hint=error.hint)
        else:
            self._tell(decision, plan, asked)
        finally:
            self._next_at[name] = self.clock.now() + wait
            self._planning.discard(name)

    def _tell(self, decision: RollBack, plan: Plan, asked: Proposed | None) -> None:
        if asked is not None:
            why = changed(asked.plan, plan)
            if why:
                self.withdraw(asked, why)
            return
        self._ask(decision, plan)

    def ask_where(self, decision: RollBack, refused: RollbackdError) -> None:
        """Ask although the mode asks nobody, where the plan that was made does."""
        if isinstance(refused, NeedsApproval):
            self._next_at[decision.target] = self.clock.now() + LOOK_AGAIN_SECONDS
            self._ask(decision, refused.plan)

    def _ask(self, decision: RollBack, plan: Plan) -> None:
        now = self.clock.now()
        name = proposal_name(decision.target, decision.bad, decision.good)
        log.warning(
            events.PROPOSAL_MADE,
            target=decision.target,
            proposal=name,
            hash=plan.hash,
            why=decision.why,
        )
        self.publish(
            Proposed(target=decision.target, at=now, rollback=name, decision=decision, plan=plan)
        )

    def withdraw(self, asked: Proposed, why: str) -> None:
        """It does not stand any more."""
        now = self.clock.now()
        log.warning(
            events.PROPOSAL_WITHDRAWN, target=asked.target, proposal=asked.rollback, why=why
        )
        self._next_at.pop(asked.target, None)
        self.publish(Withdrawn(target=asked.target, at=now, rollback=asked.rollback, why=why))

    def _escalate(self, asked: Proposed, now: float, patience_seconds: float) -> None:
        if now - asked.at <= patience_seconds or asked.decision.id in self._overdue:
            return
        self._overdue.add(asked.decision.id)
        log.error(
            events.PROPOSAL_OVERDUE,
            target=asked.target,
            proposal=asked.rollback,
            seconds=now - asked.at,
            hint=f"rollbackd approve {asked.rollback}, or reject it",
        )
