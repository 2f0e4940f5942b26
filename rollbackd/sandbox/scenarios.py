"""The demo's scenarios: what is deployed, and what rollbackd is expected to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`outcome` is recovered or held; `reason` is the hold's. `image` goes out as the new release.

    `dependency_breaks`: something the app depends on fails, so that every release is equally ill:
    before the deploy, or `breaks_after` seconds after it. `sentence`: what the hold has to say
    before it is the outcome; `note`: why it may take so long. `configuration`: the file
    beside this one that the daemon runs. `database`: the app has a real PostgreSQL, and a migration
    goes out with the release.
    """

    name: str
    story: str
    image: str
    outcome: str = "recovered"
    reason: str = ""
    trigger: str = ""
    dependency_breaks: bool = False
    breaks_after: float | None = None
    sentence: str = ""
    note: str = ""
    configuration: str = "demo.yml"
    database: bool = False
    longest_seconds: float = 75.0
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
        name="bad-migration",
        story="v2 comes with a migration whose function reads a table that nobody made",
        image="database-v2",
        trigger="error-rate",
        configuration="demo-migration.yml",
        database=True,
        longest_seconds=120.0,
    ),
    Scenario(
        name="not-to-blame",
        story="a perfectly good v2, into an outage that is not its own",
        image="good-v2",
        outcome="held",
        reason="not_since_release",
        dependency_breaks=True,
    ),
    Scenario(
        name="dependency-after",
        story="a perfectly good v2, on one machine of three; two go on with v1",
        image="good-v2",
        outcome="held",
        reason="ok",
        breaks_after=10.0,
        sentence="on the old ones",
        note="a minute after a release its machines are compared with those it has not replaced",
        configuration="demo-beside.yml",
        longest_seconds=110.0,
        deploy={"outcome": "complete", "after": 1},
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}
