"""One entry of `probes:` -> the plugin's own Config, its times and what the core must know."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from rollbackd.config.nodes import Node, Table
from rollbackd.config.schema import TimingSpec
from rollbackd.config.scope import Scope
from rollbackd.config.shape import closest, fit
from rollbackd.core.facts import MeasureKind
from rollbackd.plugins import Need, ProbePlugin, is_dependency, needs_of

INTERVAL_SECONDS = 10.0
TIMEOUT_SECONDS = 3.0
SHORTEST_INTERVAL_SECONDS = 0.1  # below it the loop is all there is

_TIMING: TypeAdapter[TimingSpec] = TypeAdapter(TimingSpec)
_TIMES = frozenset(TimingSpec.model_fields)
_MISSING = {
    Need.DATABASE: (
        "it asks the target's database, and the target has no database:",
        'add database: {url: "${DATABASE_URL}"} to the target',
    ),
    Need.INVARIANTS: (
        "there are no invariants to ask",
        "add database: {invariants: [{name: …, sql: SELECT …}]} to the target",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSetup:
    """What the daemon builds a probe from."""

    kind: str
    config: BaseModel
    measure: MeasureKind
    interval_seconds: float
    timeout_seconds: float
    dependency: bool = False
    needs: frozenset[Need] = frozenset()


def compile_probe(
    node: Node,
    plugins: Mapping[str, type[ProbePlugin]],
    scope: Scope,
    *,
    has: Collection[Need] = (),
) -> ProbeSetup | None:
    """The probe, or None when the findings say what is wrong with it.

    `has`: what of the things a probe may need the target has.
    """
    if not isinstance(node, Table):
        scope.error("a probe is a mapping", "write {http: {path: /health}, interval: 5s}")
        return None
    kind = _kind(node, plugins, scope)
    timing = fit(
        _TIMING,
        Table(entries={k: e for k, e in node.entries.items() if k in _TIMES}, mark=node.mark),
        scope.findings,
    )
    if kind is None:
        return None
    inner = node.get(kind)
    assert inner is not None
    plugin = plugins[kind]
    config: Any = fit(
        TypeAdapter(plugin.Config), inner, scope.findings, key=scope.into(kind).key_mark()
    )
    if config is None or timing is None:
        return None
    times = _times(timing, plugin.defaults(), scope)
    needs = needs_of(plugin, config)
    if times is None or _lacks(needs, has, scope.into(kind)):
        return None
    return ProbeSetup(
        kind=kind,
        config=config,
        measure=plugin.measure(config),
        interval_seconds=times[0],
        timeout_seconds=times[1],
        dependency=is_dependency(plugin, config),
        needs=needs,
    )


def _kind(node: Table, plugins: Mapping[str, type[ProbePlugin]], scope: Scope) -> str | None:
    given = [key for key in node.entries if key not in _TIMES]
    unknown = [key for key in given if key not in plugins]
    for key in unknown:
        scope.into(key).key_error(
            f"unknown probe or key {key!r}", closest(key, {*plugins, *_TIMES})
        )
    if not given:
        scope.key_error("a probe needs a kind", f"one of {', '.join(sorted(plugins))}")
    known = [key for key in given if key in plugins]
    if len(known) > 1:
        scope.into(known[1]).key_error(
            f"a probe has one kind, not {' and '.join(known)}", "make two probes of it"
        )
    return known[0] if len(known) == 1 and not unknown else None


def _lacks(needs: frozenset[Need], has: Collection[Need], scope: Scope) -> bool:
    missing = sorted(needs - set(has))
    if missing:
        message, hint = _MISSING[missing[0]]
        scope.key_error(message, hint)
    return bool(missing)


def _times(
    timing: TimingSpec, defaults: Mapping[str, float], scope: Scope
) -> tuple[float, float] | None:
    interval = timing.interval
    if interval is None:
        interval = defaults.get("interval_seconds", INTERVAL_SECONDS)
    elif interval < SHORTEST_INTERVAL_SECONDS:
        scope.into("interval").error("interval is too short", "100ms at least")
        return None
    timeout = timing.timeout
    if timeout is None:
        timeout = min(defaults.get("timeout_seconds", TIMEOUT_SECONDS), interval)
    elif timeout == 0:
        scope.into("timeout").error("timeout is 0", "no look could ever succeed")
        return None
    elif timeout > interval:
        hint = "looks must not overlap: shorten it, or lengthen the interval"
        scope.into("timeout").error("timeout is longer than the interval", hint)
        return None
    return interval, timeout
