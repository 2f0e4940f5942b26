"""rollbackd's regression trigger over a run: its core alone, or the whole decision around it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from generate import BOUNDS, TICK, Run, Seen

from rollbackd.config.load import load_directory
from rollbackd.config.settings import Settings
from rollbackd.core.decide import decide
from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Histogram,
    Measure,
    Ratio,
    ReleasesSeen,
    Sample,
)
from rollbackd.core.model import (
    ProbeName,
    Release,
    ReleaseStatus,
    RollBack,
    TargetName,
    TriggerName,
    TriggerState,
)
from rollbackd.core.policy import Policy
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Regression
from rollbackd.core.state import TargetState

DEPLOY = 1_800_000_000.0  # the release comes here
EARLIER = 600.0  # before we began to look, the release before came
SETTLE = 60.0  # `settle.at_most: auto` where no boots are known
SHOP, TRIGGER = TargetName("shop"), TriggerName("release-regression")
HEALTH, ERRORS, LATENCY = ProbeName("health"), ProbeName("errors"), ProbeName("latency")
CONFIGURATION = """\
targets:
  shop:
    fly: {{app: shop}}
    url: https://shop.test
    mode: auto
    probes:
      health: {{http: {{path: /healthz}}, interval: {every:g}s}}
      {errors}
      {latency}
    triggers:
      release-regression: {{regression: {{{what}}}}}
"""
COUNTED = (
    "errors: {scrape: {url: 'http://shop.test/metrics', bad: bad, total: total}, interval: 10s}",
    "latency: {scrape: {url: 'http://shop.test/metrics', histogram: seconds}, interval: 10s}",
    "errors: errors, health: health, latency: latency",
)


def ours(run: Run) -> float | None:
    """Seconds after the deploy at which it would roll back, or None. Drives the core alone.

    The gate `settling` is minded here: it holds until the first good look, a minute at most.
    """
    watch = watch_of(run)
    watch.begin(DEPLOY - run.setting.history - EARLIER, machines_seen=False)
    first = next((seen.end for seen in run.after if seen.up), math.inf)
    for seen in run.before:
        for probe, measure in measures(seen):
            _take(watch, DEPLOY + seen.end, probe, measure, counts=True)
        watch.close(DEPLOY + seen.end, excused=False)
    watch.foresee(DEPLOY)
    watch.begin(DEPLOY, machines_seen=False)
    for seen in run.after:
        now = DEPLOY + seen.end
        for probe, measure in measures(seen):
            _take(watch, now, probe, measure, counts=seen.end >= first or seen.end > SETTLE)
        for probe, measure, new in parts(seen):
            watch.take_part(now, probe, measure, who="new" if new else "old", new=new)
        watch.close(now, excused=False)
        if seen.end >= min(first, SETTLE) and watch.state(now) is TriggerState.BREACHED:
            return seen.end
    return None


def whole(run: Run) -> float | None:
    """The same through facts, state, gates and decision, from a configuration file on."""
    policy = _policy(run.setting.look_every, counted=run.setting.counted)
    long_ago = DEPLOY - run.setting.history - EARLIER
    state = TargetState(policy.targets[SHOP], long_ago)
    state.apply(_releases(long_ago, 41))
    for seen in run.before:
        _play(policy, state, seen, 41)
    state.apply(_releases(DEPLOY, 42, 41))
    for seen in run.after:
        if _play(policy, state, seen, 42, 41):
            return seen.end
    return None


def _play(policy: Policy, state: TargetState, seen: Seen, *versions: int) -> bool:
    now = DEPLOY + seen.end
    state.apply(_releases(now, *versions))  # who does not see them is blind
    for probe, measure in measures(seen):
        state.apply(Sample(target=SHOP, probe=probe, at=now, measure=measure))
    for probe, measure, new in parts(seen):
        version = 42 if new else 41
        part = Sample(
            target=SHOP,
            probe=probe,
            at=now,
            measure=measure,
            machine=f"m{version}",
            version=version,
        )
        state.apply(part)
    state.advance(now)
    return isinstance(decide(policy, state, now), RollBack)


def measures(seen: Seen) -> Iterator[tuple[ProbeName, Measure]]:
    """What the probes of the whole app say at the end of a tick."""
    if seen.up is not None:
        outcome = CheckOutcome.OK if seen.up else CheckOutcome.FAILED
        yield HEALTH, Check(outcome=outcome, seconds=seen.seconds)
    if seen.buckets:
        yield ERRORS, Ratio(bad=float(seen.bad), total=float(seen.total))
        yield LATENCY, _histogram(seen.buckets)


def parts(seen: Seen) -> Iterator[tuple[ProbeName, Measure, bool]]:
    """What the machines of either release say, where a canary runs."""
    if seen.new is None or seen.end <= 0.0:
        return
    bad, total = seen.new
    old = tuple(a - b for a, b in zip(seen.buckets, seen.new_buckets, strict=True))
    yield ERRORS, Ratio(bad=float(bad), total=float(total)), True
    yield ERRORS, Ratio(bad=float(seen.bad - bad), total=float(seen.total - total)), False
    yield LATENCY, _histogram(seen.new_buckets), True
    yield LATENCY, _histogram(old), False


def _histogram(buckets: tuple[int, ...]) -> Histogram:
    pairs = zip(BOUNDS, buckets, strict=True)
    return Histogram(buckets=tuple((bound, float(count)) for bound, count in pairs))


def _take(
    watch: RegressionWatch, at: float, probe: ProbeName, measure: Measure, *, counts: bool
) -> None:
    outcome = measure.outcome if isinstance(measure, Check) else CheckOutcome.OK
    watch.take(at, probe, measure, outcome, counts=counts)


def watch_of(run: Run) -> RegressionWatch:
    target = _policy(run.setting.look_every, counted=run.setting.counted).targets[SHOP]
    rule = next(t.rule for t in target.triggers if t.name == TRIGGER)
    assert isinstance(rule, Regression)
    probes = {p for p in (rule.errors, rule.health, rule.latency) if p is not None}
    return RegressionWatch(rule, {name: target.probes[name] for name in probes})


@cache
def _policy(every: float, *, counted: bool) -> Policy:
    errors, latency, what = COUNTED if counted else ("", "", "health: health")
    text = CONFIGURATION.format(every=every, errors=errors, latency=latency, what=what)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "rollback-monitoring.yml").write_text(text, encoding="utf-8")
        return load_directory(Path(name), settings=Settings(config=Path(name))).policy


def _releases(at: float, *versions: int) -> ReleasesSeen:
    releases = tuple(
        Release(
            version=v,
            image=f"shop:{v}",
            status=ReleaseStatus.COMPLETE,
            content=f"shop:{v}",
        )
        for v in versions
    )
    return ReleasesSeen(target=SHOP, at=at, releases=releases)


assert TICK == 10.0, "the configuration says so, too"
