"""The demo's scenarios: what is deployed, and what rollbackd is expected to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`outcome` is recovered or held; `reason` is the hold's. `image` goes out as the new release.

    `dependency_breaks`: something the app depends on fails before the deploy, so that every
    release is equally ill. `killed`: the deploying client dies half-way.
    """

    name: str
    story: str
    image: str
    outcome: str = "recovered"
    reason: str = ""
    trigger: str = ""
    dependency_breaks: bool = False
    deploy: dict[str, object] = field(default_factory=dict)


_ALL = (
    Scenario(
        name="errors",
        story="v2 answers 40 % of all requests with 500; its health check stays green",
        image="errors-40",
        trigger="error-rate",
    ),
    Scenario(
        name="outage",
        story="v2 starts, takes connections and never answers one",
        image="outage",
        trigger="health-down",
        deploy={"strategy": "immediate"},
    ),
    Scenario(
        name="slow",
        story="v2 answers everything, each time after a second and a half",
        image="slow-1.5s",
        trigger="slow-p95",
    ),
    Scenario(
        name="crash-loop",
        story="v2 exits a moment after it has started, again and again",
        image="crash-1s",
        deploy={"strategy": "immediate"},
    ),
    Scenario(
        name="deploy-failed",
        story="v2 exits at boot: the deploy gives up after the first machine",
        image="crash",
        trigger="deploy-failed",
    ),
    Scenario(
        name="not-to-blame",
        story="a perfectly good v2, into an outage that is not its own",
        image="good-v2",
        outcome="held",
        reason="not_since_release",
        dependency_breaks=True,
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}
