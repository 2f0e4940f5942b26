"""Whether a rollback helped: the trigger clear without a break for its time. Pure.

`recovered_at` is the start of the unbroken clear run, `proved_at` the moment it was long enough.
Time in which nobody looked (a kill, a frozen process, a suspended machine) proves nothing and
costs nothing: the run begins anew after it, with all the time there is.

An undo is proved by its machines alone, which earlier steps looked at: a person said that the
trigger was wrong, so what it says is told with the end, and is not the end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.model import RollbackOutcome, TriggerName, TriggerState, Verdict
from rollbackd.core.policy import After

GAP_SECONDS: Final = 10.0  # between two looks that come every second


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """How the proof ended. Without a clear run there is no `recovered_at`. `detail`: what the
    triggers said, where they did not say that all is well.
    """

    outcome: RollbackOutcome
    recovered_at: float | None = None
    proved_at: float | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Proof:
    """One rollback's proof in the making. `trigger` None: every trigger must be clear.
    `gap_seconds`: so much between two looks is a gap.
    """

    trigger: TriggerName | None
    after: After
    switched_at: float
    undo: bool = False
    gap_seconds: float = GAP_SECONDS
    clear_since: float | None = None
    _counts_from: float = field(init=False)  # before this there was a gap, or no switch
    _looked_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._counts_from = self._looked_at = self.switched_at

    def look(self, verdicts: Sequence[Verdict], now: float) -> Proved | None:
        """Take this turn's verdicts in; None while it is not decided."""
        self._note_gap(now)
        relevant = self._relevant(verdicts)
        if self.undo:
            return self._put_back(relevant, now)
        states = {verdict.state for verdict in relevant}
        if states == {TriggerState.OK}:
            return self._clear(now)
        self.clear_since = None
        if now - self._counts_from < self.after.prove_within_seconds:
            return None
        return Proved(outcome=_at_the_end(states), detail=_said(relevant))

    def _note_gap(self, now: float) -> None:
        if now - self._looked_at > self.gap_seconds:
            self.clear_since, self._counts_from = None, now
        self._looked_at = now

    def _clear(self, now: float) -> Proved | None:
        if self.clear_since is None:
            self.clear_since = now
        if now - self.clear_since < self.after.clear_for_seconds:
            return None
        return Proved(
            outcome=RollbackOutcome.RECOVERED, recovered_at=self.clear_since, proved_at=now
        )

    def _put_back(self, verdicts: Sequence[Verdict], now: float) -> Proved | None:
        if now - self._counts_from < self.after.clear_for_seconds:
            return None  # long enough for the triggers to say something worth telling
        return Proved(
            outcome=RollbackOutcome.RECOVERED,
            recovered_at=self.switched_at,
            proved_at=now,
            detail=_said(verdicts),
        )

    def _relevant(self, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        return [v for v in verdicts if v.trigger == self.trigger] or verdicts


def _at_the_end(states: Collection[TriggerState]) -> RollbackOutcome:
    if TriggerState.BREACHED in states or TriggerState.PENDING in states:
        return RollbackOutcome.NOT_RECOVERED
    # Too little was seen to call it proved, and nothing bad was seen either.
    return RollbackOutcome.RECOVERED_UNPROVEN


def _said(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(
        f"{v.trigger} is {v.state.value}: {v.why}" if v.why else f"{v.trigger} is {v.state.value}"
        for v in verdicts
        if v.state is not TriggerState.OK
    )
