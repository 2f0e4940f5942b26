"""What is known, and what was decided. Values only: no I/O, no clock, no settings.

Times are epoch seconds (`at`, `…_at`, `…_until`), durations are seconds (`…_seconds`): see
docs/adr/0001-time-in-core.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType, TypeAlias

TargetName = NewType("TargetName", str)
ProbeName = NewType("ProbeName", str)
TriggerName = NewType("TriggerName", str)
RollbackId = NewType("RollbackId", str)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


class ReleaseStatus(enum.StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A deployed version of the app, as the platform reports it.

    `content` is what "the same release" means: see `core.known_good.same_content`.
    """

    version: int
    image: str
    status: ReleaseStatus
    content: str
    created_at: float | None = None
    id: str = ""
    author: str = ""
    commit: str = ""  # git commit, where an announcement, an image label or the deploy tells it


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the app, as far as a decision needs it."""

    id: str
    state: str
    group: str
    content: str
    release_version: int | None = None
    version: str = ""  # the platform's own version of this machine's config
    region: str = ""
    critical_checks: int = 0
    crash_looping: bool = False
    started_at: float | None = None
    boot_seconds: float | None = None  # of the newest boot, where the events tell it
    cordoned: bool = False
    reachable: bool = True
    standby: bool = False
    autostop: bool = False
    lease_owner: str | None = None
    lease_ours: bool = False  # its description carries our mark
    op_id: str | None = None
    private_ip: str = ""  # where a per-machine scrape finds it


class RollbackOutcome(enum.StrEnum):
    RECOVERED = "recovered"
    RECOVERED_UNPROVEN = "recovered_unproven"  # too little traffic to prove it
    NOT_RECOVERED = "not_recovered"
    FAILED = "failed"
    FAILED_BEFORE_EFFECT = "failed_before_effect"  # nothing was touched; may be tried again
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    HOLDING = "holding"  # stands still, waits for a person


# Judgements -------------------------------------------------------------------------------------


class TriggerState(enum.StrEnum):
    """Precedence where several meet: breached > error > no_data > pending > ok."""

    OK = "ok"
    PENDING = "pending"
    NO_DATA = "no_data"
    ERROR = "error"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one trigger says, with the numbers that made it say so.

    `value` and `threshold` are in the unit of the condition (ratio 0..1, seconds, plain);
    `samples` is what the window held; `evidence` holds whatever else explains it.
    """

    trigger: TriggerName
    state: TriggerState
    since: float
    value: float | None = None
    threshold: float | None = None
    samples: float = 0
    why: str = ""
    evidence: Mapping[str, Json] = field(default_factory=dict)


class HoldReason(enum.StrEnum):
    """The gates in their order, then the holds without a breach (design section 3)."""

    ROLLING_BACK = "rolling_back"
    DEPLOY_IN_PROGRESS = "deploy_in_progress"
    BLIND = "blind"
    PAUSED = "paused"
    LOCKED_OUT = "locked_out"
    RELEASE_IS_ROLLBACK = "release_is_rollback"
    ALREADY_ROLLED_BACK = "already_rolled_back"
    SETTLING = "settling"
    LEARNING = "learning"
    NOT_ARMED = "not_armed"
    NOT_SINCE_RELEASE = "not_since_release"
    VETOED = "vetoed"
    MASS_FAILURE = "mass_failure"
    COOLING_DOWN = "cooling_down"
    NO_GOOD_RELEASE = "no_good_release"
    QUARANTINED_ONLY = "quarantined_only"
    IMAGE_MISSING = "image_missing"
    SCHEMA_GUARD = "schema_guard"
    BUDGET_SPENT = "budget_spent"
    WINDOW = "window"
    OBSERVE_MODE = "observe_mode"
    AWAITING_APPROVAL = "awaiting_approval"
    OK = "ok"
    PENDING = "pending"
    NO_DATA = "no_data"
    ERROR = "error"
    MISCONFIGURED_PROBE = "misconfigured_probe"
    ASLEEP = "asleep"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSays:
    """One gate's answer: `holds` and the one line that says why or why not."""

    reason: HoldReason
    holds: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Do nothing, and say why. A decision like any other."""

    target: TargetName
    at: float
    reason: HoldReason
    why: str = ""
    trigger: TriggerName | None = None
    bad: Release | None = None
    good: Release | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Which data a person wants back. `snapshot` empty: the newest from before the bad release;
    `tables` empty: all of it. `missing`: only rows that are not there any more. `common`: only
    columns that are there now and were then.
    """

    snapshot: str = ""
    tables: tuple[str, ...] = ()
    missing: bool = False
    common: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Put `good` back in place of `bad`. Awaited on disk before anything is touched.

    `later_version`: a release newer than `bad` that was known and runs nowhere, its deploy over.
    Any other newer one means that somebody deployed meanwhile.
    """

    target: TargetName
    at: float
    trigger: TriggerName | None  # None: a person asked
    bad: Release
    good: Release
    plan: str
    why: str = ""
    requested_by: str = "rollbackd"
    onset_at: float | None = None
    later_version: int | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    proposed_at: float | None = None  # when its plan was frozen, where a person was asked first
    undoes: RollbackId | None = None  # the rollback that a person calls a false alarm
    plan_hash: str = ""  # of the plan that the person who ordered it had looked at
    to_migration: str = ""  # the newest migration that stays, where a person named one
    restore: Restore | None = None

    @property
    def automatic(self) -> bool:
        return self.trigger is not None

    @property
    def id(self) -> RollbackId:
        """Readable, and unique because a target has one rollback at a time."""
        at = self.at if self.proposed_at is None else self.proposed_at
        return RollbackId(f"{self.target}-v{self.bad.version}-{int(at)}")


Decision: TypeAlias = Hold | RollBack
