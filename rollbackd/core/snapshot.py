"""What the page, the metrics and the command line are drawn from. Values only, made per turn."""

from __future__ import annotations

from dataclasses import dataclass

from rollbackd.core.model import (
    Decision,
    Machine,
    ProbeName,
    Release,
    RollbackId,
    TargetName,
    Verdict,
)
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan
from rollbackd.core.trial import WouldHave


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """`outcome`: ok, failed, refused, miss, asleep, or empty before the first look.

    `value`: the newest plain number, ratio, or quantile shown; `samples`: in its window now.
    """

    name: ProbeName
    kind: str
    interval_seconds: float
    outcome: str = ""
    detail: str = ""
    at: float | None = None
    ok_at: float | None = None
    seconds: float | None = None
    value: float | None = None
    samples: float = 0
    failures_in_a_row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackView:
    rollback: RollbackId
    bad_version: int
    good_version: int
    started_at: float
    switched_at: float | None = None
    cause: str = ""  # why, and from which release to which


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalView:
    """What a person is asked. `approved_by`: somebody did, and another gate holds it."""

    rollback: RollbackId
    bad_version: int
    good_version: int
    trigger: str
    why: str
    plan: Plan
    asked_at: float
    answer_by: float
    overdue: bool
    approved_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """`standing`: good, unknown, bad or quarantined, and `why` in one line."""

    release: Release
    standing: str
    why: str = ""
    current: bool = False
    goal: bool = False  # what a rollback would go back to now
    passed_over: str = ""  # why it is not, where it is newer than the goal
    url: str = ""  # of the pipeline that announced it


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    name: TargetName
    mode: Mode
    healthy: bool | None  # None while nothing is known
    evaluated_at: float | None
    decision: Decision | None
    verdicts: tuple[Verdict, ...]
    probes: tuple[ProbeView, ...]
    releases: tuple[ReleaseView, ...]
    machines: tuple[Machine, ...]
    rollback: RollbackView | None
    paused_until: float | None
    locked_out: bool
    cooldown_until: float | None
    budget_left: int
    proposal: ProposalView | None = None
    locked_why: str = ""  # which rollback locked it, and how that ended
    paused: str = ""  # for how long, by whom and why; empty where it is not
    mode_set: str = ""  # by whom, until when and why, where a person set the mode
    learning: tuple[str, ...] = ()  # a line per trigger with too little history
    relapse: str = ""  # what the current release brings back that was quarantined
    trial: str = ""  # `would have acted 2 times in 14 releases`; empty in mode auto
    would_have: tuple[WouldHave, ...] = ()  # newest first
    app: str = ""  # what the platform calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    at: float
    targets: tuple[TargetView, ...]
    control_ok: bool
    config_hash: str
