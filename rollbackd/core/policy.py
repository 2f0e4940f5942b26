"""The threshold YAML, compiled: what the core judges by besides its rules. Values only.

Ratios are 0..1, latencies seconds, durations seconds. Nothing here has a default that the
configuration documents: `config.schema` holds the defaults, so they stand in one place.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import JsonObject, ProbeName, TargetName
from rollbackd.core.rules import Mode, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePolicy:
    """What the core must know of a probe. `window_seconds`: the longest any trigger looks back.

    A `dependency` is something the app needs: that it is well or ill does not say that the app is.
    """

    name: ProbeName
    kind: str
    measure: MeasureKind
    interval_seconds: float
    window_seconds: float
    delay_seconds: float = 0.0  # a sample tells of what was until this long before its `at`
    dependency: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """A recurring window that caps the mode. Minutes are since local midnight; days 0 = Monday.

    `to_minute` <= `from_minute` means the window ends on the next day.
    """

    name: str
    days: frozenset[int]
    from_minute: int
    to_minute: int
    tz: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """`settle_at_most_seconds` None means auto: 2 x the slowest of the last ten boots, bounded."""

    settle_until_first_success: bool
    settle_at_most_seconds: float | None
    settle_floor_seconds: float
    settle_ceiling_seconds: float
    watch_seconds: float
    cooldown_seconds: float
    budget_rollbacks: int
    budget_per_seconds: float
    approval_seconds: float
    interrupted_after_seconds: float  # a release `running` longer than this counts as interrupted
    blind_after_seconds: float  # without a look at the releases for this long: blind
    windows: tuple[TimeWindow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSafety:
    """Many targets breached within `within_seconds` is not one bad release."""

    targets: int
    share: float
    within_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoke:
    """One request after the rollback. `status` are classes ("2xx") or codes ("301")."""

    path: str
    status: tuple[str, ...]
    contains: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    smoke: tuple[Smoke, ...]
    clear_for_seconds: float
    monitor_seconds: float
    prove_within_seconds: float  # give up proving after this: unproven or not recovered


class Traffic(enum.StrEnum):
    DRAIN = "drain"
    STOP = "stop"
    KEEP = "keep"


class Strategy(enum.StrEnum):
    ROLLING = "rolling"
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPolicy:
    """How a rollback of this name is carried out. `steps` are executor kinds in order."""

    name: str
    steps: tuple[str, ...]
    traffic: Traffic
    strategy: Strategy
    max_unavailable: float  # >= 1: machines; < 1: share of the group
    deadline_seconds: float  # from decision to traffic restored
    step_deadline_seconds: float  # one machine: update to healthy


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPolicy:
    """Everything the core knows of a target. `settings` is opaque here: platform and probe config.

    `fingerprints` hold a hash per probe and trigger, so a reload can keep what did not change.
    `token_ceiling` is what the token can do: `observe` also while that is not known yet, or where
    `ceiling_why` says so.
    """

    name: TargetName
    mode: Mode
    probes: Mapping[ProbeName, ProbePolicy]
    triggers: tuple[Trigger, ...]
    plans: Mapping[str, PlanPolicy]
    safety: Safety
    after: After
    settings: JsonObject
    fingerprints: Mapping[str, str]
    token_ceiling: Mode = Mode.AUTO
    ceiling_why: str = "the token cannot act, or is not known to yet"
    database: DatabasePolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All targets, and what concerns them together. `mode_ceiling` is ROLLBACKD_MODE."""

    targets: Mapping[TargetName, TargetPolicy]
    mass: MassSafety
    mode_ceiling: Mode
    tick_seconds: float
    hash: str
