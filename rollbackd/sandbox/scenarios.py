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
    ),
    Scenario(
        name="deploy-failed",
        story="v2 exits at boot: the deploy gives up after the first machine",
        image="crash",
        trigger="deploy-failed",
    ),
    Scenario(
        name="not-to-blame",
        story="the database behind the app breaks; ten seconds later a perfectly good v2 goes out",
        image="good-v2",
        outcome="held",
        reason="not_since_release",
        dependency_breaks=True,
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}

# Shortened times, stated in the output: a real configuration waits longer (config/).
CONFIGURATION = """\
# The demo's configuration. Times are shortened; config/ in the repository has real ones.
targets:
  shop:
    fly: {{app: shop}}
    url: {url}
    mode: auto
    probes:
      health:   {{http: {{path: /healthz}}, interval: 1s, timeout: 900ms}}
      machines: {{fly: {{}}, interval: 2s}}
      errors:   {{fly_edge: errors, interval: 1s, delay: 0s}}
      latency:  {{fly_edge: latency, interval: 1s, delay: 0s}}
    triggers:
      health-down:   {{probe: health, breach_when: {{failing: true}}, breaches: {{at_least: 4, of_last: 4}}}}
      crash-loop:    {{probe: machines, breach_when: {{failing: true}}, breaches: {{at_least: 3, of_last: 3}}}}
      deploy-failed: {{deploy_failed: true}}
      error-rate:
        probe: errors
        window: 10s
        breach_when: {{above: 5%}}
        clear_when: {{below: 2%}}
        for: 3s
        min_samples: 50
      slow-p95:
        probe: latency
        window: 10s
        breach_when: {{p95: {{above: 1s}}}}
        for: 3s
        min_samples: 20
    safety:
      settle: {{until: first_success, at_most: 5s}}
    after:
      smoke: [{{path: /, expect: {{status: 2xx}}}}]
      monitor: 2s
      success_when: {{clear_for: 5s}}
"""
