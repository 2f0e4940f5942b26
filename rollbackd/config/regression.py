"""`regression:` -> the core's rule: which probe tells what, how much of the past is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from rollbackd.config.presets import NEEDS_PROMETHEUS
from rollbackd.config.probes import ProbeSetup
from rollbackd.config.schema_triggers import RegressionSpec
from rollbackd.config.scope import Scope
from rollbackd.config.shape import closest
from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import ProbeName
from rollbackd.core.rules import Regression

TICK_SECONDS: Final = 10.0
FLY_TICK_SECONDS: Final = 15.0  # Fly's Prometheus scrapes every 15 s
SHORTEST_TICK_SECONDS: Final = 0.1
LONGEST_HISTORY_SECONDS: Final = 7 * 86_400.0
MOST_TICKS: Final = 100_000  # of history; a day of 1 s ticks fits

Role = Literal["errors", "health", "latency"]
Probes = Mapping[str, ProbeSetup | None]  # None: its own entry was refused
_MEASURES: Mapping[Role, MeasureKind] = {
    "errors": MeasureKind.RATIO,
    "health": MeasureKind.CHECK,
    "latency": MeasureKind.HISTOGRAM,
}
_WANTED: Mapping[Role, str] = {
    "errors": "a probe that counts bad and total",
    "health": "a probe that checks",
    "latency": "a probe that gives buckets",
}
_HEALTH_KINDS = frozenset({"http", "tcp"})  # machines' states and commands may say other things
_BESIDE = ("breach_when", "clear_when", "window", "for", "breaches", "min_samples", "max_age")


def refuse_beside(keys: frozenset[str], scope: Scope) -> bool:
    """Whether something stands beside `regression` that belongs to thresholds."""
    found = [key for key in (*_BESIDE, "no_data") if key in keys]
    for key in found:
        scope.into(key).key_error(
            f"{key} does not go with regression", "it has no threshold to set: leave it out"
        )
    return bool(found)


def compile_regression(
    spec: RegressionSpec | Literal["auto"], probes: Probes, scope: Scope, *, fly_prometheus: bool
) -> Regression | None:
    """The rule, or None when the findings say what is wrong. `scope` stands at `regression`.

    `fly_prometheus`: queries go to Fly's own, which has nothing new more often than every 15 s.
    """
    given = RegressionSpec() if spec == "auto" else spec
    roles = auto_roles(probes) if spec == "auto" else _named(given, probes, scope)
    if roles is None:
        return None
    if not roles:
        _say_none(spec, probes, scope)
        return None
    tick = given.tick
    if tick is None:
        slow = _is_slow(roles, probes, fly_prometheus=fly_prometheus)
        tick = FLY_TICK_SECONDS if slow else TICK_SECONDS
    if not _times_fit(given, tick, scope):
        return None
    return Regression(
        errors=roles.get("errors"),
        health=roles.get("health"),
        latency=roles.get("latency"),
        tick_seconds=tick,
        odds=given.odds,
        history_at_least_seconds=given.history.at_least,
        history_at_most_seconds=given.history.at_most,
    )


def auto_roles(probes: Probes) -> dict[Role, ProbeName]:
    """For each role the probe of that name, else the only one that could be it."""
    found: dict[Role, ProbeName] = {}
    for role in _MEASURES:
        able = [name for name, probe in probes.items() if probe and _able(role, probe)]
        if role in able or len(able) == 1:
            found[role] = ProbeName(role if role in able else able[0])
    return found


def _able(role: Role, probe: ProbeSetup) -> bool:
    if probe.measure is not _MEASURES[role]:
        return False
    return role != "health" or probe.kind in _HEALTH_KINDS


def _named(spec: RegressionSpec, probes: Probes, scope: Scope) -> dict[Role, ProbeName] | None:
    """The roles as they are written; None where one of them cannot be."""
    roles: dict[Role, ProbeName] = {}
    sound = True
    for role, measure in _MEASURES.items():
        name = getattr(spec, role)
        if name is None:
            continue
        at = scope.into(role)
        probe = probes.get(name)
        if name not in probes:
            at.error(f"unknown probe {name!r}", closest(name, probes))
        elif probe is not None and probe.measure is not measure:
            message = f"{role} takes {_WANTED[role]}; {name!r} gives {_gives(probe.measure)}"
            at.error(message, _instead(role, probes))
        elif probe is not None:
            roles[role] = ProbeName(name)
            continue
        sound = False
    return roles if sound else None


def _gives(measure: MeasureKind) -> str:
    return {
        MeasureKind.CHECK: "checks",
        MeasureKind.RATIO: "a ratio",
        MeasureKind.HISTOGRAM: "buckets",
        MeasureKind.VALUE: "a plain number",
    }[measure]


def _instead(role: Role, probes: Probes) -> str:
    able = sorted(name for name, probe in probes.items() if probe and _able(role, probe))
    return (
        f"known: {', '.join(able[:8])}" if able else f"no probe of this target is {_WANTED[role]}"
    )


def _say_none(spec: RegressionSpec | Literal["auto"], probes: Probes, scope: Scope) -> None:
    if spec != "auto":
        scope.key_error(
            "regression needs one of errors, health, latency", "write regression: {health: health}"
        )
    elif any(probe is None for probe in probes.values()):
        pass  # a probe's own entry has the error, and it may be the one
    elif any(_able(role, probe) for role in _MEASURES for probe in probes.values() if probe):
        scope.error(
            "regression: auto finds several probes for the same role, and none of its name",
            "say which: regression: {errors: NAME, health: NAME, latency: NAME}",
        )
    else:
        scope.error(
            "regression: auto finds no probe that tells errors, health or latency",
            "add one, such as health: {http: {path: auto}} or errors: {fly_edge: errors}",
        )


def _is_slow(roles: Mapping[Role, ProbeName], probes: Probes, *, fly_prometheus: bool) -> bool:
    asked = (probes[name] for role, name in roles.items() if role != "health")
    return any(
        probe.kind == "fly_edge" or (fly_prometheus and asks_prometheus(probe))
        for probe in asked
        if probe is not None
    )


def asks_prometheus(probe: ProbeSetup) -> bool:
    """Whether it asks the process's Prometheus, not one of its own."""
    return probe.kind in NEEDS_PROMETHEUS and getattr(probe.config, "url", None) is None


def _times_fit(spec: RegressionSpec, tick: float, scope: Scope) -> bool:
    history = spec.history
    if tick < SHORTEST_TICK_SECONDS:
        scope.into("tick").error("tick is too short", "100ms at least; 10s is usual")
    elif history.at_least > history.at_most or history.at_least < tick:
        scope.into("history", "at_least").error(
            "history.at_least must be a tick or longer, and not longer than at_most",
            "at_least: 60m, at_most: 24h",
        )
    elif history.at_most > LONGEST_HISTORY_SECONDS:
        scope.into("history", "at_most").error("history.at_most is longer than 7d")
    elif history.at_most > MOST_TICKS * tick:
        scope.into("history", "at_most").error(
            f"history.at_most holds more than {MOST_TICKS:,} ticks", "shorten it, or a longer tick"
        )
    else:
        return True
    return False
