"""Facts: everything that enters the engine, in the order it entered. Values only.

Replaying the same facts gives the same decisions; what is not here was not known.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.model import (
    Machine,
    ProbeName,
    Release,
    RollbackId,
    RollbackOutcome,
    TargetName,
    TriggerName,
)


class CheckOutcome(enum.StrEnum):
    """`refused`: it answered, but refuses *us* (401, 403, 404, 405, 429 on a health path)."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A yes-or-no look. `why` is one short line where the outcome is not ok, or is worth little."""

    outcome: CheckOutcome
    seconds: float | None = None
    why: str = ""
    failing_machines: int | None = None  # only the `fly` probe counts them
    phases: tuple[tuple[str, float], ...] = ()  # (resolve, connect, tls, processing, transfer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`bad` of `total` events since this probe's previous sample; 0 <= bad <= total."""

    bad: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """(upper bound, count) since the previous sample, cumulative over the bound, last bound inf."""

    buckets: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    value: float  # plain and finite


Measure: TypeAlias = Check | Ratio | Histogram | Value


class MeasureKind(enum.StrEnum):
    """Which measure a probe gives; a trigger's condition must fit it."""

    CHECK = "check"
    RATIO = "ratio"
    HISTOGRAM = "histogram"
    VALUE = "value"


class MissReason(enum.StrEnum):
    """Why a probe could not look. A closed set, because it is a metric label."""

    CONTROL_PROBE_FAILED = "control_probe_failed"
    DNS_FAILED = "dns_failed"  # SERVFAIL or resolver time-out; NXDOMAIN is a failed sample
    NO_ROUTE = "no_route"
    OUT_OF_FILES = "out_of_files"
    OVERLOADED = "overloaded"  # our own queue or event loop was late
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_UNAUTHORIZED = "source_unauthorized"
    SOURCE_ERROR = "source_error"
    SOURCE_BAD_BODY = "source_bad_body"
    EMPTY = "empty"  # an empty vector is not a zero
    NOT_A_NUMBER = "not_a_number"
    SEVERAL_SERIES = "several_series"
    BASELINE = "baseline"  # first scrape of an address: nothing to subtract yet
    PROBE_ERROR = "probe_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A probe got an answer about the target. `machine`/`version` where it concerns one machine."""

    target: TargetName
    probe: ProbeName
    at: float
    measure: Measure
    machine: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A probe could not look. Not a zero and not a breach: the sick one may be us."""

    target: TargetName
    probe: ProbeName
    at: float
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asleep:
    """No machine of an autostopping app is started: neither a sample nor a miss."""

    target: TargetName
    probe: ProbeName
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesSeen:
    target: TargetName
    at: float
    releases: tuple[Release, ...]  # newest version first; empty: never deployed


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesSeen:
    """All managed machines. `foreign_leases`: how many leases are not ours."""

    target: TargetName
    at: float
    machines: tuple[Machine, ...]
    foreign_leases: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSeen:
    """Whether our own connectivity worked: `blind` holds while it does not."""

    target: TargetName
    at: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSeen:
    """What a probe's source still knows of the time before we watched: (at, measure), rising.

    Feeds the history of a regression trigger and nothing else: it neither breaches nor clears.
    """

    target: TargetName
    probe: ProbeName
    at: float
    samples: tuple[tuple[float, Measure], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A deploy is coming: whose, and of which commit. Tells who and what, decides nothing."""

    target: TargetName
    at: float
    commit: str
    by: str
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blessed:
    """A person vouches for a release: good, whatever was seen of it."""

    target: TargetName
    at: float
    version: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A person says that a release is never to be gone back to."""

    target: TargetName
    at: float
    version: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unquarantined:
    """A person takes a quarantine back: what is known of the release is unknown again."""

    target: TargetName
    at: float
    version: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    target: TargetName
    at: float
    until: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    target: TargetName
    at: float
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    target: TargetName
    at: float
    rollback: RollbackId
    by: str
    hash: str = ""  # of the plan the person saw; a replay knows none
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    target: TargetName
    at: float
    rollback: RollbackId
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    target: TargetName
    at: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackStarted:
    target: TargetName
    at: float
    rollback: RollbackId
    bad: Release
    good: Release
    automatic: bool = True
    trigger: TriggerName | None = None  # None: a person asked
    undoes: RollbackId | None = None  # a false alarm: `good` was never bad, nor is `bad` now


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackSwitched:
    """The last machine runs the good release: every window restarts with samples after `at`."""

    target: TargetName
    at: float
    rollback: RollbackId
    version: int | None = None  # of our own release record, where there is one
    app: bool = True  # False: the database alone went back, and the release that runs stays


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackEnded:
    target: TargetName
    at: float
    rollback: RollbackId
    outcome: RollbackOutcome
    detail: str = ""
    recovered_at: float | None = None  # start of the unbroken clear run
    proved_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passed. Ticks are facts so that replay is a for-loop."""

    at: float


TargetFact: TypeAlias = (
    Sample | Miss | Asleep | ReleasesSeen | MachinesSeen | ControlSeen | Paused | Resumed
    | Approved | Rejected | Unlocked | RollbackStarted | RollbackSwitched | RollbackEnded
    | PastSeen | Announced | Blessed | Quarantined | Unquarantined | Proposed | Withdrawn | ModeSet
)  # fmt: skip
Fact: TypeAlias = TargetFact | Tick
