"""The triggers of one target -> core triggers: references resolved, conditions fitted to probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from rollbackd.config.conditions import check_breach, check_clear, compile_condition
from rollbackd.config.nodes import Entry, Node, Table
from rollbackd.config.probes import ProbeSetup
from rollbackd.config.regression import compile_regression, refuse_beside
from rollbackd.config.schema_triggers import (
    TRIGGER_KINDS,
    AllSpec,
    AnySpec,
    BreachesSpec,
    DeployFailedSpec,
    PartSpec,
    RefSpec,
    RegressionTriggerSpec,
    SignalSpec,
    SignalTriggerSpec,
    TriggerSpec,
)
from rollbackd.config.scope import Scope
from rollbackd.config.shape import closest, fit
from rollbackd.config.types import format_duration
from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import ProbeName, TriggerName
from rollbackd.core.rules import (
    Breaches,
    BurnRateBound,
    Composite,
    DeployFailed,
    Rule,
    Signal,
    Trigger,
    TriggerRef,
)

_TRIGGER: TypeAdapter[TriggerSpec] = TypeAdapter(TriggerSpec)
MAX_AGE = 2.5  # intervals: one miss and its jitter are not a gap (ADR 5)
_SUMS = frozenset({MeasureKind.RATIO, MeasureKind.HISTOGRAM})
LONGEST_WINDOW_SECONDS = 86_400.0  # of samples kept one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a trigger may refer to. A probe whose own entry was refused is None."""

    probes: Mapping[str, ProbeSetup | None]
    triggers: frozenset[str]
    plans: frozenset[str]
    has_fly: bool
    fly_prometheus: bool = False  # the process's Prometheus is Fly's own


def compile_triggers(
    entries: Mapping[str, Entry], known: Known, scope: Scope
) -> tuple[Trigger, ...]:
    """Those that could be compiled; the findings say what is wrong with the others."""
    found = (_trigger(name, e.node, known, scope.into(name)) for name, e in entries.items())
    made = [trigger for trigger in found if trigger is not None]
    _refuse_circles(made, scope)
    return tuple(made)


def _trigger(name: str, node: Node, known: Known, scope: Scope) -> Trigger | None:
    if not isinstance(node, Table):
        scope.error("a trigger is a mapping", "write {probe: health, breach_when: {failing: true}}")
        return None
    if not _one_kind(node, scope):
        return None
    if "regression" in node.entries and refuse_beside(frozenset(node.entries), scope):
        return None
    spec = fit(_TRIGGER, node, scope.findings, key=scope.key_mark())
    if spec is None:
        return None
    rule = _rule(spec, known, scope)
    unless = _parts(spec.unless, known, scope.into("unless"))
    if spec.plan not in known.plans:
        scope.into("plan").error(f"unknown plan {spec.plan!r}", closest(spec.plan, known.plans))
    if any(isinstance(part, TriggerRef) and part.trigger == name for part in unless):
        scope.into("unless").key_error("a trigger cannot veto itself")
    if rule is None:
        return None
    return Trigger(
        name=TriggerName(name),
        rule=rule,
        unless=unless,
        severity=spec.severity,
        mode=spec.mode,
        plan=spec.plan,
    )


def _one_kind(node: Table, scope: Scope) -> bool:
    given = [key for key in TRIGGER_KINDS if key in node.entries]
    if len(given) > 1:
        scope.into(given[1]).key_error(f"a trigger has one of {' and '.join(given)}, not both")
    if not given:
        scope.key_error("a trigger needs one of probe, regression, deploy_failed, all, any")
    return len(given) == 1


def _rule(spec: TriggerSpec, known: Known, scope: Scope) -> Rule | None:
    match spec:
        case SignalTriggerSpec():
            return _signal(spec, known, scope)
        case DeployFailedSpec():
            if not known.has_fly:
                scope.key_error("deploy_failed needs the target's fly: {app: …}")
            return DeployFailed()
        case RegressionTriggerSpec():
            inner = scope.into("regression")
            return compile_regression(
                spec.regression, known.probes, inner, fly_prometheus=known.fly_prometheus
            )
        case AllSpec():
            return _composite(spec.all, known, scope.into("all"), every=True)
        case AnySpec():
            return _composite(spec.any, known, scope.into("any"), every=False)


def _composite(
    specs: tuple[PartSpec, ...], known: Known, scope: Scope, *, every: bool
) -> Composite | None:
    parts = _parts(specs, known, scope)
    return Composite(every=every, parts=parts) if len(parts) == len(specs) else None


def _parts(
    specs: tuple[PartSpec, ...], known: Known, scope: Scope
) -> tuple[Signal | TriggerRef, ...]:
    made = (_part(spec, known, scope.into(at)) for at, spec in enumerate(specs))
    return tuple(part for part in made if part is not None)


def _part(spec: PartSpec, known: Known, scope: Scope) -> Signal | TriggerRef | None:
    if not isinstance(spec, RefSpec):
        return _signal(spec, known, scope)
    if spec.trigger not in known.triggers:
        hint = closest(spec.trigger, known.triggers)
        scope.into("trigger").error(f"unknown trigger {spec.trigger!r}", hint)
        return None
    return TriggerRef(trigger=TriggerName(spec.trigger))


def _signal(spec: SignalSpec, known: Known, scope: Scope) -> Signal | None:
    if spec.probe not in known.probes:
        hint = closest(spec.probe, known.probes)
        scope.into("probe").error(f"unknown probe {spec.probe!r}", hint)
        return None
    breaches = _breaches(spec.breaches, scope)
    probe = known.probes[spec.probe]
    if probe is None:
        return None  # its own entry has the error
    _check_samples(spec, probe, scope)
    breach = compile_condition(
        spec.breach_when, probe.measure, probe.kind, scope.into("breach_when")
    )
    clear = None
    if spec.clear_when is not None:
        inner = scope.into("clear_when")
        clear = compile_condition(spec.clear_when, probe.measure, probe.kind, inner)
        if breach is not None and clear is not None:
            check_clear(breach, clear, inner)
    if isinstance(breach, BurnRateBound) and "window" in spec.model_fields_set:
        scope.into("window").key_error(
            "window does not go with burn_rate", "it has windows: {long: 1h, short: 5m} of its own"
        )
    if breach is None:
        return None
    check_breach(breach, scope.into("breach_when"))
    return Signal(
        probe=ProbeName(spec.probe),
        breach=breach,
        clear=clear,
        window_seconds=breach.long_seconds if isinstance(breach, BurnRateBound) else spec.window,
        for_seconds=spec.for_,
        breaches=breaches,
        min_samples=float(spec.min_samples or 1),
        max_age_seconds=MAX_AGE * probe.interval_seconds if spec.max_age is None else spec.max_age,
        interval_seconds=probe.interval_seconds,
        no_data=spec.no_data,
    )


def _check_samples(spec: SignalSpec, probe: ProbeSetup, scope: Scope) -> None:
    sums = probe.measure in _SUMS
    if sums and spec.min_samples is None:
        scope.key_error("min_samples is required for ratios and quantiles", "write min_samples: 50")
    if sums and spec.breaches:
        scope.into("breaches").key_error(
            "breaches counts looks; this probe's samples are summed over the window", "use for"
        )
    if spec.breaches and "for_" in spec.model_fields_set:
        scope.into("breaches").key_error("breaches and for exclude each other", "keep one")
    if spec.window == 0:
        scope.into("window").error("window is 0", "a window has to hold samples")
    if spec.window > LONGEST_WINDOW_SECONDS:
        scope.into("window").error(
            f"a window of {format_duration(spec.window)} is longer than 1d",
            "burn_rate looks back 3d in little memory",
        )


def _breaches(spec: BreachesSpec | None, scope: Scope) -> Breaches | None:
    if spec is None:
        return None
    if spec.at_least > spec.of_last:
        scope.into("breaches", "at_least").error(
            f"at_least {spec.at_least} of_last {spec.of_last} can never be", "m of n: m <= n"
        )
    return Breaches(at_least=spec.at_least, of_last=spec.of_last)


def _refuse_circles(triggers: list[Trigger], scope: Scope) -> None:
    needs = {
        trigger.name: [p.trigger for p in trigger.rule.parts if isinstance(p, TriggerRef)]
        for trigger in triggers
        if isinstance(trigger.rule, Composite)
    }
    done: set[TriggerName] = set()
    for name in needs:
        circle = _circle(name, needs, (), done)
        if circle:
            scope.into(circle[0]).key_error(
                f"triggers need each other in a circle: {' -> '.join(circle)}"
            )
            return


def _circle(
    name: TriggerName,
    needs: Mapping[TriggerName, list[TriggerName]],
    asked: tuple[TriggerName, ...],
    done: set[TriggerName],
) -> tuple[TriggerName, ...]:
    if name in asked:
        return (*asked[asked.index(name) :], name)
    if name in done:
        return ()
    for other in needs.get(name, ()):
        circle = _circle(other, needs, (*asked, name), done)
        if circle:
            return circle
    done.add(name)
    return ()
