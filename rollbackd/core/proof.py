"""Whether a rollback helped: the trigger clear without a break for its time. Pure.

`recovered_at` is the start of the unbroken clear run, `proved_at` the moment it was long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollbackd.core.model import RollbackOutcome, TriggerName, TriggerState, Verdict
from rollbackd.core.policy import After


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """How the proof ended. Without a clear run there is no `recovered_at`."""

    outcome: RollbackOutcome
    recovered_at: float | None = None
    proved_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Proof:
    """One rollback's proof in the making. `trigger` None: every trigger must be clear."""

    trigger: TriggerName | None
    after: After
    switched_at: float
    clear_since: float | None = None

    def look(self, verdicts: Sequence[Verdict], now: float) -> Proved | None:
        """Take this turn's verdicts in; None while it is not decided."""
        states = self._relevant(verdicts)
        if states == {TriggerState.OK}:
            return self._clear(now)
        self.clear_since = None
        if now - self.switched_at < self.after.prove_within_seconds:
            return None
        return Proved(outcome=_at_the_end(states))

    def _clear(self, now: float) -> Proved | None:
        if self.clear_since is None:
            self.clear_since = now
        if now - self.clear_since < self.after.clear_for_seconds:
            return None
        return Proved(
            outcome=RollbackOutcome.RECOVERED, recovered_at=self.clear_since, proved_at=now
        )

    def _relevant(self, verdicts: Sequence[Verdict]) -> set[TriggerState]:
        named = {v.state for v in verdicts if v.trigger == self.trigger}
        return named or {v.state for v in verdicts}


def _at_the_end(states: set[TriggerState]) -> RollbackOutcome:
    if states & {TriggerState.BREACHED, TriggerState.PENDING}:
        return RollbackOutcome.NOT_RECOVERED
    # Too little was seen to call it proved, and nothing bad was seen either.
    return RollbackOutcome.RECOVERED_UNPROVEN
