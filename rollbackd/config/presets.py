"""What a target watches and judges when it does not say: the short file."""

from __future__ import annotations

from collections.abc import Mapping

from rollbackd.config.diagnostics import Mark
from rollbackd.config.nodes import Entry, Items, Leaf, Node, Table
from rollbackd.core.model import Json, JsonObject

NEEDS_PROMETHEUS = frozenset({"fly_edge", "prometheus"})

_HEALTH: JsonObject = {"http": {"path": "auto"}, "interval": "5s"}
_MACHINES: JsonObject = {"fly": {}}
_EDGE: dict[str, JsonObject] = {
    "errors": {"fly_edge": "errors"},
    "latency": {"fly_edge": "latency"},
}
_REGRESSION: JsonObject = {"regression": "auto"}
_HEALTH_DOWN: JsonObject = {
    "probe": "health",
    "breach_when": {"failing": True},
    "breaches": {"at_least": 4, "of_last": 4},
}
_DEPLOY_FAILED: JsonObject = {"deploy_failed": True}


def preset_probes(*, has_url: bool, has_fly: bool, has_prometheus: bool) -> dict[str, JsonObject]:
    """The edge presets need a Prometheus; without one they are left out."""
    probes: dict[str, JsonObject] = {}
    if has_url:
        probes["health"] = _HEALTH
    if has_fly:
        probes["machines"] = _MACHINES
    if has_fly and has_prometheus:
        probes |= _EDGE
    return probes


def preset_triggers(*, has_roles: bool, has_health: bool, has_fly: bool) -> dict[str, JsonObject]:
    """`has_roles`: some probe tells whether a release made it worse."""
    triggers: dict[str, JsonObject] = {}
    if has_roles:
        triggers["release-regression"] = _REGRESSION
    if has_health:
        triggers["health-down"] = _HEALTH_DOWN
    if has_fly:
        triggers["deploy-failed"] = _DEPLOY_FAILED
    return triggers


def as_table(values: Mapping[str, Json], mark: Mark) -> Table:
    """Plain values as nodes that all stand at one place."""
    entries = {key: Entry(mark=mark, node=_node(value, mark)) for key, value in values.items()}
    return Table(entries=entries, mark=mark, size=1 + sum(e.node.size for e in entries.values()))


def _node(value: Json, mark: Mark) -> Node:
    if isinstance(value, dict):
        return as_table(value, mark)
    if isinstance(value, list):
        return Items(values=tuple(_node(one, mark) for one in value), mark=mark)
    return Leaf(value=value, mark=mark)
