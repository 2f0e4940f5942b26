"""What people order about rollbacks: approve, reject, abort, undo; and the mode they set.

Each is in the record with who and why. Orders go through the same inbox, gates and runner as
everything else; nothing here touches the world by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from rollbackd.core.asked import ModeSet, Proposed
from rollbackd.core.errors import PlanRefused, Rejected, UsageError
from rollbackd.core.facts import Approved
from rollbackd.core.facts import Rejected as RejectedByPerson
from rollbackd.core.manual import manual
from rollbackd.core.marks import same_content
from rollbackd.core.model import Hold, JsonObject, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.ports import Clock, Store
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Journal
from rollbackd.core.state import TargetState
from rollbackd.engine.engine import Engine
from rollbackd.telemetry import events, shapes

log = structlog.get_logger()

LONGEST_SECONDS: Final = 7 * 86_400.0  # what nobody remembers must not count for ever
UNDOABLE: Final = frozenset(
    {
        RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN,
        RollbackOutcome.NOT_RECOVERED,
    }
)  # fmt: skip


@dataclass(kw_only=True)
class Control:
    """The part of the desk that is about rollbacks. Unknown names are UsageError, refusals
    Rejected; both say what to do instead.
    """

    clock: Clock
    engine: Engine
    store: Store

    async def approve(self, what: str, *, seen: str, reason: str, by: str) -> JsonObject:
        """`what`: a proposal or its target. `seen`: the hash of the plan it is for; empty: the
        open one. Every gate is asked again; the answer says whether it `began` or is `held`.
        """
        state, asked = self._asked(what)
        if seen and seen != asked.plan.hash:
            raise Rejected(
                f"the plan of {asked.rollback} is {asked.plan.hash} now, not {seen}",
                hint="look at it again: rollbackd status",
            )
        name, now = state.name, self.clock.now()
        await self.engine.take(
            Approved(
                target=name, at=now, rollback=asked.rollback, by=by,
                hash=asked.plan.hash, reason=reason,
            )
        )  # fmt: skip
        tell("approve", name, by=by, reason=reason, proposal=asked.rollback, hash=asked.plan.hash)
        decision = self.engine.judge(name)
        if isinstance(decision, RollBack) and name in self.engine.proposals.undertakings:
            # The loop, or somebody else, was faster by a moment.
            return {"result": "began", "proposal": asked.rollback, "rollback": decision.id}
        if isinstance(decision, Hold):
            until = now + state.policy.safety.approval_seconds
            return {
                "result": "held",
                "proposal": asked.rollback,
                "reason": decision.reason.value,
                "why": decision.why,
                "stands_until": until,
            }
        return await self._begin(asked, decision)

    async def reject(self, what: str, *, reason: str, by: str) -> JsonObject:
        """It is not asked again for this release; by hand it can still be done."""
        state, asked = self._asked(what)
        at = self.clock.now()
        await self.engine.take(
            RejectedByPerson(
                target=state.name, at=at, rollback=asked.rollback, by=by, reason=reason
            )
        )
        tell("reject", state.name, by=by, reason=reason, proposal=asked.rollback)
        return {"target": state.name, "proposal": asked.rollback, "rejected_by": by}

    async def abort(self, rollback: str, *, reason: str, by: str) -> JsonObject:
        """End one that stands still, or one under way that has changed nothing yet."""
        journal = await self._journal(rollback)
        if journal.state.terminal:
            back = f"to put v{journal.plan.from_version} back: rollbackd undo {rollback}"
            final = _no_undo(await self.rollback(rollback))
            hint = "rollbackd history says how it ended" if final else back
            raise Rejected(f"{rollback} is over: {journal.state.value}", hint=hint)
        held = await self.engine.runner.abort(journal.plan.rollback, by=by, reason=reason)
        tell("abort", journal.plan.target, by=by, reason=reason, rollback=rollback)
        return {**shapes.past(await self.rollback(rollback)), "held": held}

    async def undo(self, rollback: str, *, reason: str, by: str) -> JsonObject:
        """A false alarm: the release that was rolled back from is put back, and not blamed."""
        journal = await self._journal(rollback)
        final = _no_undo(await self.rollback(rollback))
        plan = journal.plan
        state = self._state(plan.target)
        if not journal.state.terminal:
            raise Rejected(f"{rollback} is not over", hint=f"rollbackd abort {rollback}, or wait")
        if final:
            raise Rejected(f"{rollback} {final}", hint=f"rollbackd rollback {plan.target} --to …")
        newest = state.rollbacks.newest
        if newest is not None and newest.undoes == plan.rollback:
            raise Rejected(
                f"{rollback} was undone already: {newest.rollback}", hint="rollbackd history"
            )
        good = next((r for r in state.deploys.known if r.version == plan.to_version), None)
        current = state.current
        if good is None or current is None or not same_content(good.content, current.content):
            runs = "nothing that is known" if current is None else f"v{current.version}"
            raise Rejected(
                f"{plan.target} runs {runs}, not what {rollback} put back",
                hint="somebody deployed meanwhile: deploy forward",
            )
        decision = manual(
            self.engine.policy, state, self.clock.now(), to_version=plan.from_version,
            plan=plan.name, reason=f"false alarm: {reason}", by=by, undoes=plan.rollback,
        )  # fmt: skip
        if isinstance(decision, Hold):
            raise Rejected(decision.why, hint=f"rollbackd explain {plan.target} says more")
        begun = await self.engine.order(decision)
        tell("undo", plan.target, by=by, reason=reason, rollback=rollback)
        return {"rollback": begun.plan.rollback, "undoes": rollback, **shapes.plan(begun.plan)}

    async def set_mode(
        self, target: str, *, mode: str, seconds: float | None, reason: str, by: str
    ) -> JsonObject:
        """The mode until a time. Without one it can only get more careful; the configured one
        without a time takes back what was set.
        """
        state = self._state(target)
        wanted, configured = _mode(mode), state.policy.mode
        ceiling = self.engine.policy.mode_ceiling
        if wanted.rank > ceiling.rank:
            raise Rejected(
                f"nothing goes beyond {ceiling.value} here",
                hint="ROLLBACKD_MODE is the ceiling: change it and restart",
            )
        if seconds is None and wanted.rank > configured.rank:
            raise UsageError(
                f"{wanted.value} is less careful than the configured {configured.value}",
                hint="say for how long: --for 2h",
            )
        if seconds is not None and not 0 < seconds <= LONGEST_SECONDS:
            raise UsageError("a mode is set for up to 7 days", hint="--for 2h")
        now, back = self.clock.now(), seconds is None and wanted is configured
        fact = ModeSet(
            target=state.name, at=now, mode=None if back else wanted,
            until=None if seconds is None else now + seconds, by=by, reason=reason,
        )  # fmt: skip
        await self.engine.take(fact)
        tell("set", state.name, by=by, reason=reason, mode=wanted.value, until=fact.until)
        return {
            "target": state.name,
            "mode": state.mode(now).cap(ceiling).value,
            "configured": configured.value,
            "until": fact.until,
        }

    async def rollback(self, rollback: str) -> JsonObject:
        found = await self.store.past(RollbackId(rollback))
        if found is None:
            raise UsageError(f"no rollback {rollback!r}", hint="rollbackd history lists them")
        return found

    async def _begin(self, asked: Proposed, decision: RollBack) -> JsonObject:
        try:
            journal = await self.engine.order(decision)
        except PlanRefused as error:
            # What was approved cannot be done: the next tick asks anew, with a plan that can.
            self.engine.proposals.withdraw(asked, error.message)
            raise
        return {
            "result": "began",
            "proposal": asked.rollback,
            "rollback": journal.plan.rollback,
            **shapes.plan(journal.plan),
        }

    async def _journal(self, rollback: str) -> Journal:
        found = await self.store.journal(RollbackId(rollback))
        asked = (state.rollbacks.proposal for state in self.engine.states.values())
        if found is None and any(one is not None and one.rollback == rollback for one in asked):
            raise UsageError(
                f"{rollback} did not begin, it is asked",
                hint=f"rollbackd approve {rollback}, or reject it",
            )
        if found is None:
            raise UsageError(f"no rollback {rollback!r}", hint="rollbackd history lists them")
        return found

    def _asked(self, what: str) -> tuple[TargetState, Proposed]:
        """The open proposal of this name or of this target."""
        states = self.engine.states
        state = states.get(TargetName(what)) or next(
            (s for name, s in states.items() if what.startswith(f"{name}-v")), None
        )
        if state is None:
            known = ", ".join(sorted(states))
            raise UsageError(f"no proposal and no target {what!r}", hint=f"targets: {known}")
        asked = state.rollbacks.proposal
        if asked is None or what not in {state.name, asked.rollback}:
            self._refuse(state, what, asked)
        return state, asked

    def _refuse(self, state: TargetState, what: str, asked: Proposed | None) -> NoReturn:
        """Why there is nothing to answer."""
        rollbacks = state.rollbacks
        if asked is not None:
            raise Rejected(
                f"{what} is not asked any more; {asked.rollback} is", hint="rollbackd status"
            )
        if rollbacks.running is not None:
            raise Rejected(
                f"{rollbacks.running.rollback} is under way already", hint="rollbackd history"
            )
        rejected = rollbacks.rejected.get(RollbackId(what))
        if rejected is not None:
            raise Rejected(
                f"{what} was rejected by {rejected}",
                hint=f"by hand it can still be done: rollbackd rollback {state.name}",
            )
        raise Rejected(
            f"nothing is asked about {state.name}",
            hint=f"withdrawn, done, or never asked: rollbackd explain {state.name}",
        )

    def _state(self, name: str) -> TargetState:
        state = self.engine.states.get(TargetName(name))
        if state is None:
            known = ", ".join(sorted(self.engine.states))
            raise UsageError(f"no target {name!r}", hint=f"targets: {known}")
        return state


def tell(order: str, target: TargetName, **words: object) -> None:
    log.warning(events.ORDER_TAKEN, order=order, target=target, **words)


def _no_undo(past: JsonObject) -> str:
    """Why this rollback of the history cannot be undone; empty where it can."""
    if past["undoes"]:
        return "is an undo itself"
    return "" if past["outcome"] in UNDOABLE else f"ended {past['outcome']}"


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        modes = ", ".join(mode.value for mode in Mode)
        raise UsageError(f"no mode {text!r}", hint=f"one of: {modes}") from None
