"""What a trigger asks: conditions, signals and the rules made of them. Values only.

Ratios are 0..1, latencies seconds, durations seconds. Nothing here has a default that the
configuration documents: `config.schema` holds the defaults, so they stand in one place.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from rollbackd.core.model import ProbeName, TriggerName


class Mode(enum.StrEnum):
    """What a breach may do; `cap` of two modes is the more careful one."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    @property
    def rank(self) -> int:
        return ("observe", "approve", "auto").index(self.value)

    def cap(self, other: Mode) -> Mode:
        return self if self.rank <= other.rank else other


class Comparison(enum.StrEnum):
    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One comparison with one number, in the unit of what it is compared with."""

    comparison: Comparison
    limit: float

    def holds(self, value: float) -> bool:
        match self.comparison:
            case Comparison.ABOVE:
                return value > self.limit
            case Comparison.AT_LEAST:
                return value >= self.limit
            case Comparison.BELOW:
                return value < self.limit
            case Comparison.AT_MOST:
                return value <= self.limit
            case _:
                assert_never(self.comparison)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A check sample whose outcome is (or with `failing=False` is not) failed."""

    failing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingMachines:
    """How many machines the `fly` probe counts as failing."""

    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioBound:
    """sum(bad) / sum(total) over the window."""

    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileBound:
    """The `quantile` (0..1) of the window's buckets, against seconds."""

    quantile: float
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueBound:
    """The newest plain number of the window."""

    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRateBound:
    """How many times faster than the objective allows the error budget burns: bad / (1 - slo).

    Holds where it holds over the long window and over the short one. `slo` is 0..1, exclusive.
    """

    slo: float
    bound: Bound
    long_seconds: float
    short_seconds: float


Condition: TypeAlias = (
    Failing | FailingMachines | RatioBound | QuantileBound | ValueBound | BurnRateBound
)


class NoData(enum.StrEnum):
    """What a trigger without data is: `hold` (state no_data) or `ok`."""

    HOLD = "hold"
    OK = "ok"


class Severity(enum.StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """m of the last n samples. n looks at samples younger than 1.5 x n x interval."""

    at_least: int
    of_last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One probe judged by one condition: the leaf of every trigger, veto and composite.

    `for_seconds` and `breaches` exclude each other. `clear` is None for "not breached".
    `interval_seconds` is the probe's; `max_age_seconds` is how old the newest sample may be.
    """

    probe: ProbeName
    breach: Condition
    clear: Condition | None
    window_seconds: float
    for_seconds: float
    breaches: Breaches | None
    min_samples: float
    max_age_seconds: float
    interval_seconds: float
    no_data: NoData


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployFailed:
    """Breached when the newest release failed or was interrupted with a machine on its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRef:
    """Another trigger of the same target, by name."""

    trigger: TriggerName


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """`all` or `any` of its parts; parts may refer to other triggers (no circles)."""

    every: bool  # True: all, False: any
    parts: tuple[Signal | TriggerRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Did the release make it worse? Compares the app with itself before the release.

    Any of the probes may be missing, not all. `errors` counts (bad of total), `health` is a check,
    `latency` a histogram. `odds`: the evidence at which it is breached, N to 1.
    """

    errors: ProbeName | None
    health: ProbeName | None
    latency: ProbeName | None
    tick_seconds: float
    odds: float
    history_at_least_seconds: float
    history_at_most_seconds: float


Rule: TypeAlias = Signal | DeployFailed | Composite | Regression


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A named rule with what follows from its breach.

    `mode` None means the target's. `unless`: a breached one of these vetoes. A `warning` trigger
    is judged and shown, and never acts.
    """

    name: TriggerName
    rule: Rule
    unless: tuple[Signal | TriggerRef, ...]
    severity: Severity
    mode: Mode | None
    plan: str
