"""One target of the YAML -> its `TargetPolicy`, and what only the daemon needs of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from pydantic import SecretStr, TypeAdapter

from rollbackd.config.compiled import after, plan, safety
from rollbackd.config.database import (
    DatabaseSettings,
    at_hand,
    compile_database,
    judge_plan,
    usual_plans,
    warn_of_password,
)
from rollbackd.config.diagnostics import Findings
from rollbackd.config.fingerprints import fingerprints, signals
from rollbackd.config.nodes import Entry, Leaf, Table, reach, shown
from rollbackd.config.presets import as_table, preset_probes, preset_triggers
from rollbackd.config.probes import ProbeSetup, compile_probe
from rollbackd.config.regression import auto_roles
from rollbackd.config.schema import PlanSpec, TargetSpec
from rollbackd.config.scope import Scope
from rollbackd.config.settings import Settings
from rollbackd.config.shape import closest, fit
from rollbackd.config.triggers import Known, compile_triggers
from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import Json, JsonObject, ProbeName, TargetName
from rollbackd.core.policy import PlanPolicy, ProbePolicy, TargetPolicy
from rollbackd.core.rules import BurnRateBound, Trigger
from rollbackd.plugins import ProbePlugin

MOST_OF_A_KIND = 200  # probes, triggers or plans of one target
DEFAULT_PLAN = "app"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")  # a metric label and a URL path segment

_TARGET: TypeAdapter[TargetSpec] = TypeAdapter(TargetSpec)
_PLAN: TypeAdapter[PlanSpec] = TypeAdapter(PlanSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlySettings:
    """`token` None: the process's own."""

    app: str
    org: str | None
    token: SecretStr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """What the daemon builds a target's platform and probes from. `control` empty: the default."""

    fly: FlySettings | None
    url: str | None
    control: tuple[str, ...]
    prometheus_url: str | None
    prometheus_of_fly: bool = False
    database: DatabaseSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is the same for all targets."""

    settings: Settings
    plugins: Mapping[str, type[ProbePlugin]]
    steps: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    policy: TargetPolicy
    settings: TargetSettings
    probes: Mapping[str, ProbeSetup]
    written: frozenset[str]  # the keys that the YAML has, inherited ones too


def compile_target(name: str, table: Table, around: Around, scope: Scope) -> Compiled | None:
    """The target, or None when it cannot be made. `scope` stands at its key."""
    written = frozenset(table.entries)
    spec = fit(_TARGET, table, scope.findings, key=scope.key_mark())
    settings = _settings(spec, around.settings) if spec else None
    if settings and settings.fly is None and settings.url is None:
        scope.key_error("a target needs fly: {app: …} or url", "fly is needed to roll back")
    _warn_of_tokens(table, scope)
    warn_of_password(table, scope)
    table = _with_probes(table, settings)
    probes = _probes(table, around, Scope(root=table, findings=scope.findings))
    table = _with_triggers(table, probes, settings)
    inner = Scope(root=table, findings=scope.findings)
    plans = _plans(table, around, spec, inner)
    triggers = _triggers(table, probes, plans, settings, inner)
    database = compile_database(spec, inner) if spec else None
    made = {probe: setup for probe, setup in probes.items() if setup is not None}
    if spec is None or settings is None:
        return None
    policy = TargetPolicy(
        name=TargetName(name),
        mode=spec.mode,
        probes={ProbeName(p): _probe_policy(p, made[p], triggers) for p in made},
        triggers=triggers,
        plans=plans,
        safety=safety(spec.safety),
        after=after(spec.after),
        settings=_json(settings, made, table),
        fingerprints=fingerprints(table, made, triggers),
        database=database[0] if database else None,
    )
    if database:
        settings = replace(settings, database=database[1])
    return Compiled(policy=policy, settings=settings, probes=made, written=written)


def _settings(spec: TargetSpec, settings: Settings) -> TargetSettings:
    fly = (
        FlySettings(app=spec.fly.app, org=spec.fly.org, token=spec.fly.token) if spec.fly else None
    )
    prometheus = settings.prometheus_url
    if prometheus is None and fly and fly.org:
        prometheus = f"{settings.fly_api_url}/prometheus/{fly.org}"
    return TargetSettings(
        fly=fly,
        url=spec.url,
        control=spec.control or (),
        prometheus_url=prometheus,
        prometheus_of_fly=prometheus is not None and same_host(prometheus, settings.fly_api_url),
    )


def same_host(url: str, other: str) -> bool:
    """A Fly token goes to Fly's own host and to nobody else's Prometheus."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def _warn_of_tokens(table: Table, scope: Scope) -> None:
    probes = table.get("probes")
    names = probes.entries if isinstance(probes, Table) else ()
    for path in (
        ("fly", "token"),
        ("database", "supabase", "token"),
        *(("probes", name, "supabase", "token") for name in names),
    ):
        place = reach(table, path)
        if len(place.path) < len(path) or not isinstance(place.node, Leaf):
            continue
        if not place.node.secrets:
            hint = 'write token: "${NAME}" and set NAME as a secret'
            scope.findings.warn(place.node.mark, "a token stands in the file", hint)


def _with_probes(table: Table, settings: TargetSettings | None) -> Table:
    if settings is None or "probes" in table.entries:
        return table
    probes = preset_probes(
        has_url=settings.url is not None,
        has_fly=settings.fly is not None,
        has_prometheus=settings.prometheus_url is not None,
    )
    return table.extended("probes", as_table(probes, table.mark))


def _with_triggers(
    table: Table, probes: Mapping[str, ProbeSetup | None], settings: TargetSettings | None
) -> Table:
    if settings is None or "triggers" in table.entries:
        return table
    health = probes.get("health")
    triggers = preset_triggers(
        has_roles=bool(auto_roles(probes)),
        has_health=health is not None and health.measure is MeasureKind.CHECK,
        has_fly=settings.fly is not None,
    )
    return table.extended("triggers", as_table(triggers, table.mark))


def _probes(table: Table, around: Around, scope: Scope) -> dict[str, ProbeSetup | None]:
    has = at_hand(table)
    return {
        name: compile_probe(entry.node, around.plugins, scope.into("probes", name), has=has)
        for name, entry in _named(table, "probes", scope).items()
    }


def _triggers(
    table: Table,
    probes: Mapping[str, ProbeSetup | None],
    plans: Mapping[str, PlanPolicy],
    settings: TargetSettings | None,
    scope: Scope,
) -> tuple[Trigger, ...]:
    entries = _named(table, "triggers", scope)
    known = Known(
        probes=probes,
        triggers=frozenset(entries),
        plans=frozenset(plans),
        has_fly=settings is None or settings.fly is not None,
        fly_prometheus=settings is not None and settings.prometheus_of_fly,
    )
    return compile_triggers(entries, known, scope.into("triggers"))


def _plans(
    table: Table, around: Around, target: TargetSpec | None, scope: Scope
) -> dict[str, PlanPolicy]:
    """A plan that was refused still counts as known: one error a mistake."""
    plans = {DEFAULT_PLAN: plan(DEFAULT_PLAN, PlanSpec(steps=("app",)))}
    plans |= usual_plans(target, around.steps)
    for name, entry in _named(table, "plans", scope).items():
        spec = fit(_PLAN, entry.node, scope.findings, key=entry.mark)
        if spec is None:
            plans[name] = plans[DEFAULT_PLAN]
            continue
        for at, step in enumerate(spec.steps):
            if step not in around.steps:
                hint = closest(step, around.steps)
                scope.into("plans", name, "steps", at).error(f"unknown step {step!r}", hint)
        plans[name] = plan(name, spec)
        if target is not None:
            judge_plan(
                plans[name],
                target.database,
                scope.into("plans", name),
                has_fly=target.fly is not None,
            )
    return plans


def _named(table: Table, key: str, scope: Scope) -> dict[str, Entry]:
    """The entries under `key`, with names that fit metrics and URLs."""
    node = table.get(key)
    if not isinstance(node, Table):
        return {}  # absent, or the schema has said so
    for name, entry in node.entries.items():
        check_name(name, entry, scope.findings)
    if len(node.entries) > MOST_OF_A_KIND:
        scope.into(key).key_error(f"more than {MOST_OF_A_KIND} {key} in one target")
        return {}
    return dict(node.entries)


def check_name(name: str, entry: Entry, findings: Findings) -> None:
    if not NAME.fullmatch(name):
        hint = "letters, digits, - _ . only, 63 at most"
        findings.error(entry.mark, f"not a usable name: {name[:40]!r}", hint)


def _probe_policy(name: str, setup: ProbeSetup, triggers: tuple[Trigger, ...]) -> ProbePolicy:
    reach = [2 * setup.interval_seconds]
    for signal in (s for trigger in triggers for s in signals(trigger) if s.probe == name):
        # A burn rate keeps its hours itself.
        breach = signal.breach
        window = (
            breach.short_seconds if isinstance(breach, BurnRateBound) else signal.window_seconds
        )
        reach += [window, signal.max_age_seconds]
        if signal.breaches:
            reach.append(1.5 * signal.breaches.of_last * setup.interval_seconds)
    return ProbePolicy(
        name=ProbeName(name),
        kind=setup.kind,
        measure=setup.measure,
        interval_seconds=setup.interval_seconds,
        window_seconds=max(reach),
        delay_seconds=float(getattr(setup.config, "delay", 0.0)),
        dependency=setup.dependency,
    )


def _json(settings: TargetSettings, probes: Mapping[str, ProbeSetup], table: Table) -> JsonObject:
    """Opaque to the core; holds no secret, because it ends up in journals."""
    fly: Json = {"app": settings.fly.app, "org": settings.fly.org} if settings.fly else None
    return {
        "fly": fly,
        "url": settings.url,
        "control": list(settings.control),
        "prometheus_url": settings.prometheus_url,
        "probes": {
            name: {
                "kind": setup.kind,
                "config": _shown_config(table, name, setup.kind),
                "interval_seconds": setup.interval_seconds,
                "timeout_seconds": setup.timeout_seconds,
                "delay_seconds": float(getattr(setup.config, "delay", 0.0)),
            }
            for name, setup in probes.items()
        },
    }


def _shown_config(table: Table, name: str, kind: str) -> Json:
    node = reach(table, ("probes", name, kind)).node
    return shown(node)
