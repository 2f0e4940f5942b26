"""Warnings about a configuration that is valid and may still not do what its author wants."""

from __future__ import annotations

from rollbackd.config.database_advice import Installed, advise_database, installed
from rollbackd.config.diagnostics import Findings
from rollbackd.config.fingerprints import signals
from rollbackd.config.nodes import Table, reach
from rollbackd.config.policy import Monitoring
from rollbackd.config.regression import asks_prometheus
from rollbackd.config.scope import Scope
from rollbackd.config.targets import Compiled
from rollbackd.config.types import format_duration
from rollbackd.core.burn_rate import ENOUGH_COVERED
from rollbackd.core.facts import MeasureKind
from rollbackd.core.rules import (
    BurnRateBound,
    Comparison,
    Condition,
    Failing,
    Mode,
    RatioBound,
    Regression,
    Signal,
    Trigger,
    ValueBound,
)

MOST_SERIES = 20_000
# Upper bounds of what /metrics shows: a probe's histograms are most of it.
_PER_TARGET, _PER_PROBE, _PER_TRIGGER = 120, 40, 12
_UPWARD = frozenset({Comparison.ABOVE, Comparison.AT_LEAST})
_COUNTED = frozenset({MeasureKind.CHECK, MeasureKind.VALUE})


def advise(
    document: Table, made: Monitoring, findings: Findings, here: Installed | None = None
) -> None:
    here = here or installed()
    scope = Scope(root=document, findings=findings, path=("targets",))
    apps: dict[str, str] = {}
    for name, compiled in made.targets.items():
        inner = scope.into(name)
        _same_app(name, compiled, apps, inner)
        _prometheus(compiled, inner)
        _reachable(compiled, inner)
        _windows(compiled, inner)
        advise_database(compiled.policy, compiled.settings.database, here, inner)
        for trigger in compiled.policy.triggers:
            _trigger(trigger, compiled, _where(inner, "triggers", trigger.name))
    series = _series(made)
    if series > MOST_SERIES:
        scope.warn(f"about {series} metric series, over {MOST_SERIES}", "fewer probes or targets")


def _where(scope: Scope, *steps: str) -> Scope:
    """As far down as the target itself says it; what it is like or leaves out is at its key."""
    inner = scope.into(*steps)
    return inner if reach(inner.root, inner.path).path == inner.path else scope


def _same_app(name: str, compiled: Compiled, apps: dict[str, str], scope: Scope) -> None:
    fly = compiled.settings.fly
    if fly is None:
        return
    first = apps.setdefault(fly.app, name)
    if first != name:
        _where(scope, "fly", "app").warn(
            f"targets {first!r} and {name!r} watch the same app {fly.app!r}",
            "each could roll it back on its own",
        )


def _prometheus(compiled: Compiled, scope: Scope) -> None:
    if compiled.settings.prometheus_url is not None:
        return
    hint = "set ROLLBACKD_PROMETHEUS_URL, or fly: {org: …}"
    if "probes" not in compiled.written and compiled.settings.fly:
        scope.warn("no Prometheus address: errors and latency at Fly's edge are not watched", hint)
    blind = [name for name, setup in compiled.probes.items() if asks_prometheus(setup)]
    if blind:
        scope.warn(f"no Prometheus address: {', '.join(blind)} have no data", hint)


def _reachable(compiled: Compiled, scope: Scope) -> None:
    policy = compiled.policy
    if not policy.triggers:
        scope.warn("no triggers: this target is shown, and never judged")
    if compiled.settings.fly is None and policy.mode is not Mode.OBSERVE:
        scope.warn(f"mode {policy.mode} without fly: there is nothing to roll back with")
    if compiled.settings.url is None and policy.after.smoke:
        scope.warn("smoke requests need the target's url: they are not made")


def _windows(compiled: Compiled, scope: Scope) -> None:
    for window in compiled.policy.safety.windows:
        if window.mode is Mode.AUTO:
            _where(scope, "safety", "windows").warn(
                f"the window {window.name} changes nothing: no mode is above auto",
                "a window can only be more careful: approve or observe",
            )


def _trigger(trigger: Trigger, compiled: Compiled, scope: Scope) -> None:
    target = compiled.policy.mode
    if trigger.mode is Mode.AUTO and target is Mode.APPROVE:
        scope.warn(
            "mode auto is more than the target's approve: it counts as approve",
            "a trigger can only be more careful",
        )
    mode = (trigger.mode or target).cap(target)
    if isinstance(trigger.rule, Regression) and mode is Mode.AUTO and not trigger.unless:
        scope.warn(
            "no dependency veto: what something else breaks after a deploy looks like the release",
            "add unless: [{probe: database, breach_when: {failing: true}}]",
        )
    for signal in signals(trigger):
        _signal(signal, compiled, scope)
        breach = signal.breach
        proves = mode is not Mode.OBSERVE and signal not in trigger.unless
        if proves and isinstance(breach, BurnRateBound):
            _proof(breach, compiled, scope)


def _signal(signal: Signal, compiled: Compiled, scope: Scope) -> None:
    probe = compiled.policy.probes[signal.probe]
    interval = signal.interval_seconds
    breach = signal.breach
    window = breach.short_seconds if isinstance(breach, BurnRateBound) else signal.window_seconds
    if probe.measure is not MeasureKind.CHECK and window < 2 * interval:
        scope.warn(
            f"the window {window:g} s holds less than two samples",
            f"probe {signal.probe!r} looks every {interval:g} s: 2 × that at least",
        )
    if probe.measure in _COUNTED and signal.min_samples > window / interval:
        scope.warn(
            f"the window never holds {signal.min_samples:g} samples: it cannot breach or clear",
            "a longer window, or fewer min_samples",
        )
    if signal.max_age_seconds < interval:
        scope.warn("max_age is shorter than the interval: no data between looks")
    if _never(signal.breach):
        scope.warn("this can never be in breach")
    if signal.clear is not None and _never(signal.clear):
        scope.warn("this can never clear")


def _proof(bound: BurnRateBound, compiled: Compiled, scope: Scope) -> None:
    """After a rollback its windows start empty, and are judged when they hold enough again."""
    after = compiled.policy.after
    needed = ENOUGH_COVERED * bound.long_seconds + after.clear_for_seconds
    if needed > after.prove_within_seconds:
        scope.warn(
            "a rollback starts its window anew, and within "
            f"{format_duration(after.prove_within_seconds)} it cannot clear: recovered_unproven",
            f"after: {{prove_within: {format_duration(needed)}}} would prove it",
        )


def _never(condition: Condition) -> bool:
    if isinstance(condition, Failing):
        return False
    bound = condition.bound
    if bound.comparison is Comparison.BELOW and bound.limit <= 0:
        return not isinstance(condition, ValueBound)
    if isinstance(condition, BurnRateBound) and bound.comparison in _UPWARD:
        return bound.limit * (1 - condition.slo) >= 1  # faster than everything failing
    return isinstance(condition, RatioBound) and (
        bound.comparison is Comparison.ABOVE and bound.limit >= 1
    )


def _series(made: Monitoring) -> int:
    return sum(
        _PER_TARGET
        + _PER_PROBE * len(compiled.probes)
        + _PER_TRIGGER * len(compiled.policy.triggers)
        for compiled in made.targets.values()
    )
