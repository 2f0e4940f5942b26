"""The models of triggers: what is judged, when it counts as a breach, what follows. Form only."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, WithJsonSchema

from rollbackd.config.types import Duration, Many, Ratio, Spec, Word
from rollbackd.core.rules import Mode, NoData, Severity

Limit: TypeAlias = Annotated[
    str | int | float,
    WithJsonSchema(
        {"type": ["string", "number"], "x-type": "limit", "examples": ["5%", "2s", 100]}
    ),
]


class BoundSpec(Spec):
    """Exactly one comparison."""

    above: Limit | None = Field(None, description="Breached when the value is greater.")
    at_least: Limit | None = Field(None, description="Breached when it is greater or equal.")
    below: Limit | None = Field(None, description="Breached when it is smaller.")
    at_most: Limit | None = Field(None, description="Breached when it is smaller or equal.")


class BurnWindowsSpec(Spec):
    """Both have to burn: the long one says that it matters, the short one that it goes on."""

    long: Duration = Field(3600.0, description="At most 3d.")
    short: Duration = Field(300.0, description="Shorter than the long one; a twelfth is usual.")


class BurnRateSpec(BoundSpec):
    """How many times faster than the objective allows the error budget burns."""

    slo: Ratio = Field(description="The objective: 99.9% of the requests are good.")
    windows: BurnWindowsSpec = Field(BurnWindowsSpec(), description="How far back, twice.")


class ConditionSpec(BoundSpec):
    """One condition that fits the probe's measure: a check, a ratio, buckets or a value."""

    failing: bool | None = Field(None, description="For checks: the look failed.")
    failing_machines: BoundSpec | None = Field(
        None, description="For the fly probe: how many machines fail."
    )
    burn_rate: BurnRateSpec | None = Field(
        None, description="For ratios: how fast the error budget burns, over two windows."
    )
    p50: BoundSpec | None = Field(None, description="For histograms: the median, as a duration.")
    p75: BoundSpec | None = Field(None, description="For histograms: 75 % are faster.")
    p90: BoundSpec | None = Field(None, description="For histograms: 90 % are faster.")
    p95: BoundSpec | None = Field(None, description="For histograms: 95 % are faster.")
    p99: BoundSpec | None = Field(None, description="For histograms: 99 % are faster.")
    p999: BoundSpec | None = Field(None, description="For histograms: 99.9 % are faster.")


class BreachesSpec(Spec):
    """m of the last n samples; excludes `for`."""

    at_least: int = Field(ge=1, description="How many samples must be in breach (m).")
    of_last: int = Field(ge=1, le=1000, description="Of how many samples (n); at least m.")


class SignalSpec(Spec):
    """One probe judged by one condition."""

    probe: str = Field(description="A probe of the same target, by name.")
    breach_when: ConditionSpec = Field(description="When the signal counts as in breach.")
    clear_when: ConditionSpec | None = Field(
        None, description="When a breach is over; by default when it is not in breach any more."
    )
    window: Duration = Field(120.0, description="How far back samples are summed up.")
    for_: Duration = Field(
        0.0, alias="for", description="How long the breach must last; excludes `breaches`."
    )
    breaches: BreachesSpec | None = Field(
        None, description="m of the last n looks, for checks and values."
    )
    min_samples: int | None = Field(
        None,
        ge=1,
        description="Fewer events in the window are no data; required for ratios and quantiles.",
    )
    max_age: Duration | None = Field(
        None, description="An older newest sample is no data; by default 2.5 × the interval."
    )
    no_data: Word[NoData] = Field(NoData.HOLD, description="What no data means: hold, or ok.")


class RefSpec(Spec):
    """Another trigger of the same target."""

    trigger: str = Field(description="Its name.")


def _part(value: object) -> str | None:
    if not isinstance(value, dict):
        return "<signal>"
    return "<trigger>" if "trigger" in value else "<signal>"


PartSpec: TypeAlias = Annotated[
    Annotated[SignalSpec, Tag("<signal>")] | Annotated[RefSpec, Tag("<trigger>")],
    Discriminator(_part),
]


class EffectSpec(Spec):
    """What follows from a breach."""

    unless: Many[PartSpec] = Field((), description="Vetoes: any of them in breach holds.")
    severity: Word[Severity] = Field(
        Severity.CRITICAL, description="A warning is judged and shown, and never acts."
    )
    mode: Word[Mode] | None = Field(
        None, description="observe, approve or auto; can only be more careful than the target's."
    )
    plan: str = Field("app", description="The plan that is carried out.")


class SignalTriggerSpec(SignalSpec, EffectSpec):
    """A trigger on one probe."""


class DeployFailedSpec(EffectSpec):
    """Breached when a deploy failed or was interrupted with a machine on its content."""

    deploy_failed: Literal[True] = Field(description="true")


class HistorySpec(Spec):
    """How much of the time before a release it is compared with."""

    at_least: Duration = Field(3600.0, description="With less it learns, and does not act.")
    at_most: Duration = Field(86_400.0, description="What is older is forgotten; at most 7d.")


class RegressionSpec(Spec):
    """The probes that tell whether a release made it worse; one of them at least."""

    errors: str | None = Field(None, description="A probe that counts bad and total.")
    health: str | None = Field(None, description="A probe that checks.")
    latency: str | None = Field(None, description="A probe that gives buckets.")
    tick: Duration | None = Field(
        None, description="How often it is judged; 10 s, and 15 s where Fly's Prometheus is asked."
    )
    odds: float = Field(
        2000.0, gt=1, le=1_000_000_000, description="Breached at evidence of this many to 1."
    )
    history: HistorySpec = Field(HistorySpec(), description="The time before the release.")


def _which(value: object) -> str:
    return "<auto>" if isinstance(value, str) else "<probes>"


Compared: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("<auto>")] | Annotated[RegressionSpec, Tag("<probes>")],
    Discriminator(_which),
]


class RegressionTriggerSpec(EffectSpec):
    """Breached when the release made it worse than it was before; needs no threshold."""

    regression: Compared = Field(
        description="auto takes the target's own errors, health and latency probes."
    )


class AllSpec(EffectSpec):
    """Breached when every part is."""

    all: Many[PartSpec] = Field(min_length=1, description="Signals, or other triggers by name.")


class AnySpec(EffectSpec):
    """Breached when any part is."""

    any: Many[PartSpec] = Field(min_length=1, description="Signals, or other triggers by name.")


TRIGGER_KINDS = ("probe", "deploy_failed", "all", "any", "regression")


def _trigger(value: object) -> str | None:
    given = value if isinstance(value, dict) else {}
    return next((f"<{kind}>" for kind in TRIGGER_KINDS if kind in given), "<probe>")


TriggerSpec: TypeAlias = Annotated[
    Annotated[SignalTriggerSpec, Tag("<probe>")]
    | Annotated[DeployFailedSpec, Tag("<deploy_failed>")]
    | Annotated[AllSpec, Tag("<all>")]
    | Annotated[AnySpec, Tag("<any>")]
    | Annotated[RegressionTriggerSpec, Tag("<regression>")],
    Discriminator(_trigger),
]
