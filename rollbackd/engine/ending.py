"""How a rollback whose steps are all finished ended, read from its rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rollbackd.core.facts import RollbackEnded
from rollbackd.core.model import RollbackId, RollbackOutcome, TargetName
from rollbackd.core.runbook import Journal, Phase, RollbackState, StepRow, StepState

_JUDGES: Final = frozenset(
    {
        Phase.VERIFY,
        Phase.TEST,
        Phase.MONITOR,
        Phase.RESTORE_TRAFFIC,
        Phase.POST_VERIFICATION,  # smoke requests of a rollback that had stopped traffic
    }
)


_INTENT: Final = "ends as "
_STATES: Final = {
    RollbackOutcome.CANCELLED: RollbackState.CANCELLED,
    RollbackOutcome.SUPERSEDED: RollbackState.SUPERSEDED,
    RollbackOutcome.HOLDING: RollbackState.HOLDING,
    RollbackOutcome.FAILED: RollbackState.FAILED,
    RollbackOutcome.FAILED_BEFORE_EFFECT: RollbackState.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    state: RollbackState
    outcome: RollbackOutcome
    detail: str
    recovered_at: float | None = None
    proved_at: float | None = None


def ending(rows: Sequence[StepRow]) -> Ending:
    """Not recovered where a look after the switch failed; else what the proof said."""
    findings = [
        f"{row.step.name} failed: {row.result.get('why', row.result.get('detail', ''))}"
        for row in rows
        if row.step.phase in _JUDGES and row.result.get("passed") is False
    ]
    proof = next((r for r in rows if r.step.kind == "prove" and "outcome" in r.result), None)
    said = [str(proof.result["detail"])] if proof and proof.result.get("detail") else []
    details = findings + said + _unreached(rows) + _degraded(rows)
    outcome = RollbackOutcome.RECOVERED_UNPROVEN
    if proof is not None:
        outcome = RollbackOutcome(str(proof.result["outcome"]))
    if findings:
        outcome = RollbackOutcome.NOT_RECOVERED
    helped = outcome in {RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN}
    return Ending(
        state=RollbackState.SUCCEEDED if helped else RollbackState.FAILED,
        outcome=outcome,
        detail="; ".join(details),
        recovered_at=_time(proof, "recovered_at"),
        proved_at=_time(proof, "proved_at"),
    )


def over(state: RollbackState, outcome: RollbackOutcome, detail: str) -> Ending:
    """An end that the rows alone do not tell."""
    return Ending(state=state, outcome=outcome, detail=detail)


def intent(end: Ending) -> str:
    """What the journal says before anything is given back: whoever comes next ends it so, too."""
    return f"{_INTENT}{end.outcome.value}: {end.detail}"


def intended(journal: Journal) -> Ending | None:
    """The end that was begun when the process died; None where it gives traffic back because it
    failed, or where nothing was begun to be ended.
    """
    if journal.state is not RollbackState.COMPENSATING or not journal.reason.startswith(_INTENT):
        return None
    word, _, detail = journal.reason.removeprefix(_INTENT).partition(": ")
    outcome = next((one for one in _STATES if one.value == word), None)
    return None if outcome is None else over(_STATES[outcome], outcome, detail)


def undone(rows: Sequence[StepRow]) -> RollbackOutcome:
    """Of one that left nothing behind. A step that says `once` is not tried again by itself: where
    it was tried, a person must look before anything happens.
    """
    if any(row.attempts and row.step.params.get("once") is True for row in rows):
        return RollbackOutcome.FAILED
    return RollbackOutcome.FAILED_BEFORE_EFFECT


def ended(target: TargetName, rollback: RollbackId, at: float, end: Ending) -> RollbackEnded:
    """The fact that tells of it."""
    return RollbackEnded(
        target=target,
        at=at,
        rollback=rollback,
        outcome=end.outcome,
        detail=end.detail,
        recovered_at=end.recovered_at,
        proved_at=end.proved_at,
    )


def _time(row: StepRow | None, name: str) -> float | None:
    found = row.result.get(name) if row is not None else None
    return float(found) if isinstance(found, int | float) else None


def nothing_reached(rows: Sequence[StepRow]) -> bool:
    """Of the objects of some kind, not one could be reached: nothing was rolled back at all."""
    for kind in {row.step.kind for row in rows if _lost(row)}:
        if all(_lost(row) for row in rows if row.step.kind == kind and _executes(row)):
            return True
    return False


def switched_at(rows: Sequence[StepRow]) -> float | None:
    """When the last step of the execute phase was done; None while one is open."""
    executed = [row for row in rows if row.step.phase is Phase.EXECUTE]
    if not executed or any(
        row.state not in {StepState.DONE, StepState.SKIPPED} for row in executed
    ):
        return None
    return max(row.finished_at or 0.0 for row in executed)


def release_version(rows: Sequence[StepRow]) -> int | None:
    """Our own release record's version: the one result that has a version that is a number."""
    for row in rows:
        for name in ("release_version", "version"):
            version = row.result.get(name)
            if isinstance(version, int) and not isinstance(version, bool):
                return version
    return None


def _unreached(rows: Sequence[StepRow]) -> list[str]:
    names = [row.step.name for row in rows if _lost(row)]
    for row in rows:  # those that could not be seen when the plan was made have no step
        unseen = row.result.get("unreachable")
        if row.step.phase is Phase.VERIFY and isinstance(unseen, list):
            names += [f"machine {each}" for each in unseen if f"{each}" not in " ".join(names)]
    return [f"partial: not reached: {', '.join(names)}"] if names else []


def _degraded(rows: Sequence[StepRow]) -> list[str]:
    found = {str(row.result["degraded"]): None for row in rows if "degraded" in row.result}
    return [f"degraded: {what}" for what in found]


def _executes(row: StepRow) -> bool:
    return row.step.phase is Phase.EXECUTE and row.step.mutates


def _lost(row: StepRow) -> bool:
    return _executes(row) and "unreachable" in row.result
