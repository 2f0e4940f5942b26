"""The `fly_edge` probe: what users got at Fly's edge, by presets over Fly's Prometheus.

Edge series and not app series: a total outage shows there, and may make the app's own vanish.
Only the app series know machines: they are asked for the parts, while two releases serve.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rollbackd.config.types import Duration
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import MeasureKind
from rollbackd.plugins import ProbeContext
from rollbackd.probes.access import needed_access
from rollbackd.probes.promql import INTERVAL_SECONDS, PromQl, Shares
from rollbackd.probes.queries import BadOfTotalQuery, HistogramQuery, Query, kind_of

DELAY_SECONDS = 30.0  # the newest half minute is not there yet

# sum over everything else takes in proxy_id, which flips whenever Fly restarts its proxies.
_TOTAL = "sum(increase(fly_edge_http_responses_count{app=%s}[$window]))"
_BAD = 'sum(increase(fly_edge_http_responses_count{app=%s,status=~"5.."}[$window]))'
_SECONDS = "sum by (le) (increase(fly_edge_http_response_time_seconds_bucket{app=%s}[$window]))"

MACHINE = "instance"  # Fly's label for the machine's id
_OF_MACHINES = "app=%s,instance=~%s"
_TOTAL_BY = "sum by (instance) (increase(fly_app_http_responses_count{%s}[$window]))"
_BAD_BY = 'sum by (instance) (increase(fly_app_http_responses_count{%s,status=~"5.."}[$window]))'
_SECONDS_BY = (
    "sum by (le, instance) (increase(fly_app_http_response_time_seconds_bucket{%s}[$window]))"
)


class FlyEdgeConfig(BaseModel):
    """`errors`: 5xx of all answers. `latency`: how long answers took, as a histogram.

    The preset's name alone stands for `{preset: name}`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    preset: Literal["errors", "latency"] = Field(
        description="errors: 5xx of all answers at Fly's edge. latency: their times."
    )
    delay: Duration = Field(
        DELAY_SECONDS, description="How far in the past it is asked for; the newest is missing."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"preset": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        written = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [{"enum": ["errors", "latency"]}, dict(written)]}

    def query(self, app: str) -> Query:
        quoted = json.dumps(app)
        if self.preset == "latency":
            return HistogramQuery(histogram=_SECONDS % quoted)
        total = _TOTAL % quoted
        # Without a single 5xx its series does not exist, and an empty vector is not a zero.
        return BadOfTotalQuery(bad=f"{_BAD % quoted} or 0 * {total}", total=total)

    def query_by_machine(self, app: str, machines: Sequence[str]) -> Query:
        """The same of what reached these machines, told apart by MACHINE."""
        ids = "|".join(map(re.escape, machines))
        which = _OF_MACHINES % (json.dumps(app), json.dumps(ids))
        if self.preset == "latency":
            return HistogramQuery(histogram=_SECONDS_BY % which)
        total = _TOTAL_BY % which
        return BadOfTotalQuery(bad=f"{_BAD_BY % which} or 0 * {total}", total=total)


class FlyEdgeProbe(PromQl):
    """Asks Fly's Prometheus about the target's own app."""

    kind: ClassVar[str] = "fly_edge"
    Config: ClassVar[type[FlyEdgeConfig]] = FlyEdgeConfig

    @classmethod
    def measure(cls, config: FlyEdgeConfig) -> MeasureKind:
        return kind_of(config.query("app"))

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {"interval_seconds": INTERVAL_SECONDS}

    @classmethod
    def build(cls, config: FlyEdgeConfig, context: ProbeContext) -> Self:
        if context.app is None:
            raise ConfigError(
                f"probe {context.name} needs a Fly app, and target {context.target} names none",
                hint="give the target fly: {app: name}",
            )
        app = context.app
        shares = Shares(label=MACHINE, query=partial(config.query_by_machine, app))
        return cls(config.query(app), needed_access(context), context, config.delay, shares)
