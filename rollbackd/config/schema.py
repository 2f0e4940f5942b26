"""The models of rollback-monitoring.yml: every key, its type, default and description.

Form only. Triggers stand in `schema_triggers.py`; what needs two places at once is compiled later.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from rollbackd.config.calendar import Clock, Days, Zone
from rollbackd.config.schema_database import DatabaseSpec, Invariants
from rollbackd.config.types import (
    Duration,
    Many,
    Ratio,
    Spec,
    StatusClasses,
    Url,
    Word,
    parse_ratio,
    refused,
)
from rollbackd.core.policy import Strategy, Traffic
from rollbackd.core.rules import Mode


class TimingSpec(Spec):
    """What every probe has beside its kind."""

    interval: Duration | None = Field(
        None, description="Time between looks; 10 s, and 30 s where Prometheus is asked."
    )
    timeout: Duration | None = Field(
        None, description="Deadline of a whole look; the smaller of 3 s and the interval."
    )


def _unavailable(value: object) -> float:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return float(value)
    if isinstance(value, str) and value.endswith("%") and value != "100%":
        ratio = parse_ratio(value)
        if ratio > 0:
            return ratio
    raise refused("expected a number of machines or a share of them", "write 1 or 34%")


Unavailable: TypeAlias = Annotated[
    float,
    BeforeValidator(_unavailable),
    WithJsonSchema(
        {"type": ["integer", "string"], "x-type": "count or ratio", "examples": [1, "34%"]}
    ),
]


class PlanSpec(Spec):
    """How a rollback is carried out."""

    steps: Many[str] = Field(
        min_length=1, description="What is rolled back, in order: app, database, data, pitr."
    )
    traffic: Word[Traffic] = Field(
        Traffic.DRAIN,
        description="drain cordons a machine around its update, stop all of them, keep none.",
    )
    strategy: Word[Strategy] = Field(
        Strategy.ROLLING, description="rolling, or immediate: all machines at once."
    )
    max_unavailable: Unavailable = Field(
        1.0, description="Machines (or a share of a group) that may be down at once."
    )
    deadline: Duration = Field(300.0, description="From the decision to traffic restored.")
    step_deadline: Duration = Field(120.0, description="One machine, from update to healthy.")


class SettleSpec(Spec):
    """How long a new release may take to come up before it is judged."""

    until: Literal["first_success", "at_most"] = Field(
        "first_success", description="The first healthy look ends it, or only the time does."
    )
    at_most: Literal["auto"] | Duration = Field(
        "auto", description="auto: 2 × the slowest of the last ten boots, within floor and ceiling."
    )
    floor: Duration = Field(60.0, description="The least that auto gives.")
    ceiling: Duration = Field(180.0, description="The most that auto gives; at least the floor.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.floor > self.ceiling:
            raise refused("the floor is above the ceiling", "floor <= ceiling")
        return self


class BudgetSpec(Spec):
    """How many rollbacks are made without asking."""

    rollbacks: int = Field(
        2,
        le=1000,
        description="Automatic ones; the next needs approval.",
        json_schema_extra={"minimum": 1},
    )
    per: Duration = Field(86_400.0, description="Within this time.")

    @field_validator("rollbacks")
    @classmethod
    def _some(cls, rollbacks: int) -> int:
        if rollbacks < 1:
            raise refused(f"a budget of {rollbacks} rollbacks never acts", "write mode: approve")
        return rollbacks


class WindowSpec(Spec):
    """A recurring time that makes the mode more careful."""

    name: str = Field(description="Shown as the reason of a hold.")
    days: Days = Field(description="mon-fri, sat, or a list of them.")
    from_: Clock = Field(alias="from", description='Local time, quoted: "09:00".')
    to: Clock = Field(description='Local time; before `from` means the next day: "17:00".')
    tz: Zone = Field("UTC", description="IANA time zone: America/Los_Angeles.")
    mode: Word[Mode] = Field(Mode.APPROVE, description="The most that may happen inside.")


class SafetySpec(Spec):
    """What keeps a rollback from doing harm."""

    settle: SettleSpec = Field(SettleSpec(), description="Boot allowance after a release.")
    watch: Duration = Field(
        3600.0, description="A breach later than this after a release is not blamed on it."
    )
    cooldown: Duration = Field(300.0, description="Quiet time after a rollback.")
    budget: BudgetSpec = Field(BudgetSpec(), description="Rollbacks before a person is asked.")
    approval: Duration = Field(600.0, description="How long an approval may be given.")
    interrupted_after: Duration = Field(
        900.0, description="A release still running after this counts as interrupted."
    )
    blind_after: Duration = Field(
        90.0, description="Without a look at the releases for this long: hold, blind."
    )
    windows: Many[WindowSpec] = Field((), description="Times with a more careful mode.")


class ExpectSpec(Spec):
    status: StatusClasses = Field(("2xx",), description="Status classes or codes, one or several.")
    contains: str | None = Field(None, description="Text the body must hold.")


class SmokeSpec(Spec):
    """One request after the rollback, to the target's url."""

    path: str = Field(pattern="^/", description="Path, starting with /.")
    expect: ExpectSpec = Field(ExpectSpec(), description="What must come back.")


class SuccessSpec(Spec):
    clear_for: Duration = Field(180.0, description="How long the triggers must stay clear.")


class AfterSpec(Spec):
    """How a rollback is proved."""

    smoke: Many[SmokeSpec] = Field((), description="Requests that must succeed.")
    invariants: Invariants = Field(
        (), description="SQL that must hold in the target's database, as in database.invariants."
    )
    success_when: SuccessSpec = Field(SuccessSpec(), description="When the rollback is proved.")
    monitor: Duration = Field(15.0, description="How long to look on before traffic is restored.")
    prove_within: Duration = Field(
        600.0, description="Give up proving after this; longer than monitor and clear_for together."
    )

    @model_validator(mode="after")
    def _can_be_proved(self) -> Self:
        if self.prove_within <= self.monitor + self.success_when.clear_for:
            raise refused(
                "prove_within is too short: nothing could be proved in it",
                "longer than monitor and success_when.clear_for together",
            )
        return self


class FlySpec(Spec):
    app: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="Name of the Fly app.")
    org: str | None = Field(
        None, pattern="^[a-z0-9][a-z0-9-]*$", description="Its organisation, for Fly's Prometheus."
    )
    token: SecretStr | None = Field(
        None, description="${NAME} of a token of its own; by default ROLLBACKD_FLY_TOKEN."
    )


class TargetSpec(Spec):
    """One watched app. Probes, triggers and plans are held against their own models."""

    like: str | None = Field(None, description="Another target whose keys are taken over.")
    fly: FlySpec | None = Field(None, description="The Fly app; needed to roll back.")
    url: Url | None = Field(None, description="Where users reach the app.")
    mode: Word[Mode] = Field(
        Mode.OBSERVE, description="observe: only say; approve: ask first; auto: act."
    )
    control: Many[Url] | None = Field(
        None, description="Addresses that tell whether our own network works; replace the default."
    )
    probes: dict[str, Any] | None = Field(
        None, description="What looks at the app; by default health, machines, errors, latency."
    )
    triggers: dict[str, Any] | None = Field(
        None,
        description="What a rollback follows from; by default release-regression, health-down, "
        "deploy-failed.",
    )
    plans: dict[str, Any] = Field(
        {},
        description="Ways to roll back; `app` is always there, with a database also `database` "
        "and `app-and-database`.",
    )
    database: DatabaseSpec | None = Field(
        None, description="The app's Postgres; needed to roll it back."
    )
    safety: SafetySpec = Field(SafetySpec(), description="Gates and their times.")
    after: AfterSpec = Field(AfterSpec(), description="Proof after a rollback.")


class MassSpec(Spec):
    """Many targets at once is not one bad release: hold all."""

    targets: int = Field(3, ge=2, description="This many breached targets, or")
    or_share: Ratio = Field(0.3, description="this share of all targets (at least two),")
    within: Duration = Field(60.0, description="within this time.")


class TogetherSpec(Spec):
    mass: MassSpec = Field(MassSpec(), description="When many targets break at once.")


class MonitoringSpec(Spec):
    """rollback-monitoring.yml."""

    version: Literal[1] = Field(1, description="Version of this format.")
    targets: dict[str, Any] = Field(description="The watched apps, by name.")
    safety: TogetherSpec = Field(TogetherSpec(), description="What concerns all targets together.")
    tick: Duration = Field(1.0, description="How often time passing is judged.")
