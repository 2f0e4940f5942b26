"""What the engine asks of the world. Adapters fit these; the core never imports one."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from rollbackd.core.facts import Fact, Measure, TargetFact
from rollbackd.core.model import (
    Decision,
    Json,
    JsonObject,
    Machine,
    Release,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
)
from rollbackd.core.runbook import Journal, Plan, RollbackState, Step, StepState


class Clock(Protocol):
    """Time comes in through here only, so that tests can move it."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for durations."""
        ...

    async def sleep(self, seconds: float) -> None: ...


# Probes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A probe's way to say that it could not look. Becomes a `Miss` fact."""

    reason: str  # a MissReason where one fits
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NobodyHome:
    """A probe's way to say: no machine of this autostopping app is started. Becomes `Asleep`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByMachine:
    """A whole, and what single machines had of it: (machine id, measure).

    The parts feed old-against-new only; they are not added to the whole.
    """

    whole: Measure | Missed | NobodyHome
    parts: tuple[tuple[str, Measure], ...]


Reading: TypeAlias = Measure | Missed | NobodyHome | ByMachine


class Probe(Protocol):
    """Looks once. Failing to look is `Missed`, not an exception."""

    async def take(self) -> Reading: ...

    async def close(self) -> None: ...


@runtime_checkable
class KnowsPast(Protocol):
    """What a probe may offer besides `Probe`: its source remembers the time before we watched."""

    async def past(
        self, since: float, until: float, step_seconds: float
    ) -> Sequence[tuple[float, Measure]]:
        """(at, measure) every `step_seconds`, rising, without what is not known. Each measure
        counts what happened since the one before. Raises `core.errors` only.
        """
        ...


class Control(Protocol):
    """Looks whether our own connectivity works."""

    async def look(self) -> bool:
        """True when any control address answered anything. The look begins after the call."""
        ...


# The platform -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReport:
    """What a token is good for. `expires_at` None where the platform does not say."""

    covers_app: bool
    read_only: bool
    is_own_app: bool
    detail: str = ""


class Platform(Protocol):
    """One target's app as its platform shows it. Raises `core.errors` only."""

    async def releases(self) -> tuple[Release, ...]:
        """Newest version first; contents filled in as far as they are known."""
        ...

    async def machines(self) -> tuple[Machine, ...]: ...

    async def current_version(self) -> int | None:
        """The newest release's version, cheaply; None when there is none yet."""
        ...

    async def token_report(self) -> TokenReport: ...


@runtime_checkable
class RemembersMachines(Protocol):
    """What a platform may offer besides `Platform`: the machines without a call of one's own."""

    async def recent_machines(self, max_age_seconds: float) -> tuple[Machine, ...]:
        """As `machines`, but perhaps as old as that: somebody else asked a moment ago."""
        ...


@runtime_checkable
class KnowsHealthPaths(Protocol):
    """What a platform may offer besides `Platform`: the paths of its own HTTP checks."""

    async def health_paths(self) -> tuple[str, ...]:
        """Most trusted first, may be empty. Raises `core.errors` only."""
        ...


# Carrying out -----------------------------------------------------------------------------------


class Seen(enum.StrEnum):
    """What a read-back shows of one step's object."""

    DONE = "done"  # as wanted, by us or already
    NOT_DONE = "not_done"  # as before: safe to apply
    CHANGED = "changed"  # neither: somebody else changed it, stand still
    GONE = "gone"  # the object is not there or not reachable any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`result`: what apply would have returned, where DONE can be read back (a release's id)."""

    seen: Seen
    detail: str = ""
    result: Mapping[str, Json] = field(default_factory=dict)


class Executor(Protocol):
    """Knows how one kind of thing is rolled back. Plans; the runner carries out."""

    async def plan(self, decision: RollBack) -> Plan:
        """Resolve everything to absolute values. Raises PlanRefused with the reason."""
        ...

    async def still_applies(self, plan: Plan) -> None:
        """Raise Superseded when a release newer than ours and the bad one appeared."""
        ...

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        """Read the object back. `results`: what finished steps returned, by seq."""
        ...

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        """Carry the step out and return what later steps or a reader need."""
        ...

    async def let_go(self, plan: Plan) -> Sequence[str]:
        """Undo what would hurt if we stopped here: our cordons and leases. Lines for people. Raises
        when all that could be was let go, and names what is still held.
        """
        ...


# The store --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A line of the record: `kind` is decision, step, control, boot, ... ; newest last."""

    id: int
    at: float
    kind: str
    target: str
    rollback: str
    data: JsonObject
    prev_hash: str = ""
    hash: str = ""  # SHA-256 over prev_hash, at, kind, target, rollback and data, line by line


class Store(Protocol):
    """What survives a kill when it returns; a power cut too, but for how a step ended."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def facts(self, since: float) -> Sequence[TargetFact]:
        """What a new process must know to go on: pauses, ledger, rollbacks, lock-outs."""

    async def keep(self, fact: TargetFact) -> None:
        """Keep a fact that must survive (control facts, releases seen, rollback facts)."""

    async def record(self, decision: Decision) -> None: ...

    async def begin(self, decision: RollBack, plan: Plan) -> Journal:
        """Open the rollback. Raises Rejected when one is active or the dedupe key is spent."""

    async def claim(self, rollback: RollbackId) -> Journal:
        """Take an unfinished rollback over: fence and resumes go up by one."""

    async def note(
        self,
        rollback: RollbackId,
        seq: int,
        state: StepState,
        *,
        fence: int,
        result: JsonObject | None = None,
        error: str = "",
    ) -> None:
        """Write a step's transition. Raises Fenced when `fence` is not the newest."""

    async def checkpoint(
        self, rollback: RollbackId, seq: int, result: JsonObject, *, fence: int
    ) -> None:
        """Keep how far a started step has come. Raises Fenced likewise."""

    async def turn(
        self, rollback: RollbackId, state: RollbackState, *, fence: int, reason: str = ""
    ) -> None:
        """Write the rollback's own transition, terminal ones too. Raises Fenced likewise."""

    async def finish(
        self, rollback: RollbackId, state: RollbackState, outcome: RollbackOutcome, *, fence: int,
        detail: str = "", recovered_at: float | None = None, proved_at: float | None = None,
    ) -> None:  # fmt: skip
        """Write its end, and the fact that tells of it, at once. Raises Fenced likewise."""

    async def unfinished(self) -> Sequence[Journal]: ...

    async def journal(self, rollback: RollbackId) -> Journal | None: ...

    async def history(self, target: TargetName | None, limit: int) -> Sequence[JsonObject]:
        """Rollbacks newest first, as JSON for people and the API."""

    async def past(self, rollback: RollbackId) -> JsonObject | None:
        """One rollback as `history` tells it; None when there is none of that id."""

    async def record_lines(self, target: TargetName | None, limit: int) -> Sequence[Recorded]: ...

    async def record_broken_at(self) -> int | None:
        """The id of the first line that was tampered with; None when the chain holds."""

    async def put_blob(self, key: str, value: Json) -> None:
        """Keep an opaque JSON value under a key (config ledger, backups before a rollback)."""

    async def put_blobs(self, values: Mapping[str, Json]) -> None:
        """Several in one write, infinities too; nobody may change them any more."""

    async def get_blob(self, key: str) -> Json: ...


class FactRecord(Protocol):
    """The daemon's own bounded record of what it knew, for `replay`. It may be lost."""

    async def append(self, heard: Sequence[tuple[float, Fact]]) -> None:
        """Add facts with the time each was heard, in the order they were taken in."""
        ...

    async def read(self, since: float) -> Sequence[tuple[float, Fact]]:
        """What was heard at or after `since`, in that order."""
        ...


class Notifier(Protocol):
    """Tells people. One that is down never delays a rollback."""

    async def notify(self, event: JsonObject) -> None: ...
