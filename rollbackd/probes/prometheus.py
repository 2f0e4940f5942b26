"""The `prometheus` probe: PromQL of one's own against Fly's Prometheus, or any other."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import Field, SecretStr, StringConstraints, model_validator

from rollbackd.config.types import Duration, Spec, Url, refused
from rollbackd.core.facts import MeasureKind
from rollbackd.plugins import ProbeContext, PrometheusAccess
from rollbackd.probes.access import needed_access
from rollbackd.probes.promql import INTERVAL_SECONDS, PromQl, Shares
from rollbackd.probes.queries import (
    BadOfTotalQuery,
    HistogramQuery,
    Query,
    ValueQuery,
    kind_of,
)

LabelName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class PrometheusConfig(Spec):
    """Queries. One of: bad + total, histogram, value. `$window` is the probe's own interval."""

    bad: str | None = Field(
        default=None,
        min_length=1,
        description="Counts what went wrong within $window.",
        examples=['sum(increase(http_requests_total{status=~"5.."}[$window]))'],
    )
    total: str | None = Field(
        default=None, min_length=1, description="Counts all there was within $window."
    )
    histogram: str | None = Field(
        default=None,
        min_length=1,
        description="Bucket counts within $window, by le alone.",
        examples=["sum by (le) (increase(request_seconds_bucket[$window]))"],
    )
    value: str | None = Field(default=None, min_length=1, description="One plain number.")
    delay: Duration = Field(
        default="30s",
        validate_default=True,
        description="How far in the past to ask, until the data has arrived.",
    )
    url: Url | None = Field(
        default=None, description="Another Prometheus than the one in ROLLBACKD_PROMETHEUS_URL."
    )
    token: SecretStr | None = Field(default=None, description="The token for `url`.")
    by: LabelName | None = Field(
        default=None,
        description="The label with the machine's id, which the queries keep; all are summed.",
        examples=["instance"],
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        ratio = self.bad is not None or self.total is not None
        if ratio and (self.bad is None or self.total is None):
            raise refused("bad and total belong together", "give both")
        if sum((ratio, self.histogram is not None, self.value is not None)) != 1:
            raise refused("exactly one of bad + total, histogram, value")
        if self.token is not None and self.url is None:
            raise refused("a token without a url", "the token belongs to the url beside it")
        if self.by is not None and self.value is not None:
            raise refused("by and value together", "only counts can be told apart and summed")
        return self

    def query(self) -> Query:
        if self.histogram is not None:
            return HistogramQuery(histogram=self.histogram)
        if self.value is not None:
            return ValueQuery(value=self.value)
        assert self.bad is not None
        assert self.total is not None
        return BadOfTotalQuery(bad=self.bad, total=self.total)

    def access(self, context: ProbeContext) -> PrometheusAccess:
        if self.url is not None:
            token = self.token.get_secret_value() if self.token else ""
            return PrometheusAccess(url=self.url, token=token)
        return needed_access(context)


class PrometheusProbe(PromQl):
    """What it reads about is in the past, so an app that sleeps now does not matter to it."""

    kind: ClassVar[str] = "prometheus"
    Config: ClassVar[type[PrometheusConfig]] = PrometheusConfig

    @classmethod
    def measure(cls, config: PrometheusConfig) -> MeasureKind:
        return kind_of(config.query())

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {"interval_seconds": INTERVAL_SECONDS}

    @classmethod
    def build(cls, config: PrometheusConfig, context: ProbeContext) -> Self:
        shares = None if config.by is None else Shares(label=config.by)
        return cls(config.query(), config.access(context), context, config.delay, shares)
