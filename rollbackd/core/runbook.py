"""What a rollback consists of, and what its journal says: done, in doubt, next. Pure.

A *phase* is a line of the runbook; a *step* is one effect on one object with its own journal row
and op_key. Steps of a phase may run side by side, phases never overlap.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollbackd.core.model import Json, JsonObject, RollbackId, TargetName


class Phase(enum.StrEnum):
    """In the order of the runbook."""

    CHECKLIST = "checklist"
    STOP_TRAFFIC = "stop_traffic"
    EXECUTE = "execute"
    VERIFY = "verify"
    TEST = "test"
    MONITOR = "monitor"
    RESTORE_TRAFFIC = "restore_traffic"
    POST_VERIFICATION = "post_verification"
    REPORT = "report"


class StepState(enum.StrEnum):
    PENDING = "pending"
    STARTED = "started"
    DONE = "done"
    SKIPPED = "skipped"  # was already as wanted: nothing was sent
    FAILED = "failed"
    UNKNOWN = "unknown"  # sent, outcome not readable: a person must look


class RollbackState(enum.StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    HOLDING = "holding"
    COMPENSATING = "compensating"
    SUCCEEDED = "succeeded"
    COMPENSATED = "compensated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        RollbackState.SUCCEEDED,
        RollbackState.COMPENSATED,
        RollbackState.FAILED,
        RollbackState.CANCELLED,
        RollbackState.SUPERSEDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One effect on one object, frozen to absolute values when the plan was made.

    `mutates` False marks a look (verify, test, monitor): run again after a crash, never in doubt.
    `op_key` is the same for every attempt, and is what the target is marked with.
    Neighbours of the execute phase with one `kind` and one `params["wave"]` may run side by side.
    `params["machine"]`: what it is about, where that is one machine.
    """

    seq: int
    phase: Phase
    kind: str
    name: str
    params: JsonObject
    op_key: str
    mutates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The frozen runbook of one rollback. `notes` are lines a person should read before it runs.

    `settings` is what the executor needs besides the steps (app, image, release definition, …).
    `parallel`: how many steps of the execute phase may run side by side.
    `asks`: why a person must approve this very plan, whatever the mode; empty: nobody has to.
    `refuses`: why it is not begun, whoever approves it; it can be looked at all the same.
    """

    rollback: RollbackId
    target: TargetName
    name: str
    from_version: int
    to_version: int
    steps: tuple[Step, ...]
    parallel: int
    deadline_at: float
    hash: str
    settings: JsonObject
    notes: tuple[str, ...] = ()
    asks: str = ""
    refuses: str = ""

    @property
    def moves_app(self) -> bool:
        """Whether another release runs after it: a plan that names no parts is of the app."""
        parts = self.settings.get("parts")
        return not isinstance(parts, list) or "app" in parts


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """What the journal knows of a step."""

    step: Step
    state: StepState
    attempts: int = 0
    result: Mapping[str, Json] = field(default_factory=dict)
    error: str = ""
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One rollback as it stands on disk."""

    plan: Plan
    state: RollbackState
    rows: tuple[StepRow, ...]
    fence: int
    resumes: int
    created_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`doubt`: started, maybe applied, to be read back first. `next`: of the first open phase."""

    phase: Phase | None  # None: all done
    doubt: tuple[Step, ...]
    next: tuple[Step, ...]
    applied_any: bool


_FINISHED = frozenset({StepState.DONE, StepState.SKIPPED})


def progress(rows: Sequence[StepRow]) -> Progress:
    """Read where a rollback stands from its journal rows, in any order."""
    order = list(Phase)
    applied = any(
        r.step.mutates and r.state in {StepState.STARTED, StepState.DONE, StepState.UNKNOWN}
        for r in rows
    )
    for phase in order:
        open_rows = [r for r in rows if r.step.phase is phase and r.state not in _FINISHED]
        if open_rows:
            open_rows.sort(key=lambda r: r.step.seq)
            doubt = tuple(
                r.step for r in open_rows if r.state in {StepState.STARTED, StepState.UNKNOWN}
            )
            todo = tuple(
                r.step for r in open_rows if r.state in {StepState.PENDING, StepState.FAILED}
            )
            return Progress(phase=phase, doubt=doubt, next=todo, applied_any=applied)
    return Progress(phase=None, doubt=(), next=(), applied_any=applied)
