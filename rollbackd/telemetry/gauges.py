"""Draws the gauges from the newest snapshot at scrape time. Keeps nothing: what is gone is gone."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from rollbackd.core.model import Machine, TriggerState
from rollbackd.core.rules import Mode
from rollbackd.core.sentence import odds_of
from rollbackd.core.snapshot import ProbeView, ReleaseView, Snapshot, TargetView
from rollbackd.telemetry.catalogue import ALWAYS, GAUGES

_MACHINE_STATES = ("started", "stopped", "suspended", "failed", "other")
_MACHINE_RELEASES = ("current", "goal", "other")
_CANDIDATES = frozenset({"good", "unknown"})


@dataclass(slots=True)
class _Sheet:
    """The families of one scrape, filled by name."""

    families: dict[str, GaugeMetricFamily] = field(
        default_factory=lambda: {
            name: GaugeMetricFamily(f"rollbackd_{name}", text, labels=labels)
            for name, text, labels in GAUGES
        }
    )

    def put(self, name: str, value: float | None, *labels: str) -> None:
        """An unknown value is no sample: a gauge that lies is worse than one that is absent."""
        if value is not None:
            self.families[name].add_metric(labels, float(value))


class Gauges(Collector):
    """One custom collector, so that a deleted probe leaves no gauge behind."""

    def __init__(
        self, snapshot: Callable[[], Snapshot | None], loop_lag: Callable[[], float], version: str
    ) -> None:
        self._snapshot = snapshot
        self._loop_lag = loop_lag
        self._version = version

    def describe(self) -> Iterable[Metric]:
        return [*_Sheet().families.values(), self._lag(), self._build()]

    def collect(self) -> Iterator[Metric]:
        sheet = _Sheet()
        snapshot = self._snapshot()
        if snapshot is not None:
            sheet.put("config_info", 1, snapshot.config_hash[:8])
            sheet.put("control_ok", snapshot.control_ok)
            for target in snapshot.targets:
                _draw(sheet, target)
        yield from sheet.families.values()
        yield self._lag()
        yield self._build()

    def _lag(self) -> Metric:
        name, text, _ = ALWAYS[0]
        return GaugeMetricFamily(f"rollbackd_{name}", text, value=self._loop_lag())

    def _build(self) -> Metric:
        name, text, _ = ALWAYS[1]
        about = {"version": self._version, "python_version": platform.python_version()}
        return InfoMetricFamily(f"rollbackd_{name.removesuffix('_info')}", text, value=about)


def _draw(sheet: _Sheet, target: TargetView) -> None:
    name = target.name
    paused = target.paused_until is not None
    sheet.put("target_healthy", target.healthy, name)
    for mode in Mode:
        sheet.put("target_mode", not paused and mode is target.mode, name, str(mode))
    sheet.put("target_mode", paused, name, "paused")
    sheet.put("paused", paused, name)
    sheet.put("pause_until_timestamp_seconds", target.paused_until or 0, name)
    sheet.put("locked_out", target.locked_out, name)
    sheet.put("cooldown_until_timestamp_seconds", target.cooldown_until or 0, name)
    sheet.put("evaluation_last_timestamp_seconds", target.evaluated_at, name)
    rollback = target.rollback
    sheet.put("rollback_in_progress", rollback is not None, name)
    sheet.put("rollback_started_timestamp_seconds", rollback.started_at if rollback else 0, name)
    sheet.put("rollback_budget_remaining", target.budget_left, name)
    for probe in target.probes:
        _draw_probe(sheet, name, probe)
    _draw_triggers(sheet, target)
    _draw_releases(sheet, target)
    _draw_machines(sheet, target)


def _draw_probe(sheet: _Sheet, target: str, probe: ProbeView) -> None:
    success = {"ok": 1.0, "failed": 0.0, "refused": 0.0}.get(probe.outcome)
    sheet.put("probe_success", success, target, probe.name, probe.kind)
    sheet.put("probe_value", probe.value, target, probe.name)
    sheet.put("probe_samples", probe.samples, target, probe.name)
    sheet.put("probe_last_run_timestamp_seconds", probe.at, target, probe.name)
    sheet.put("probe_last_success_timestamp_seconds", probe.ok_at, target, probe.name)
    sheet.put("probe_interval_seconds", probe.interval_seconds, target, probe.name)
    sheet.put("probe_consecutive_failures", probe.failures_in_a_row, target, probe.name)


def _draw_triggers(sheet: _Sheet, target: TargetView) -> None:
    for verdict in target.verdicts:
        labels = (target.name, verdict.trigger)
        for state in TriggerState:
            sheet.put("trigger_state", state is verdict.state, *labels, str(state))
        sheet.put("trigger_value", verdict.value, *labels)
        sheet.put("trigger_threshold", verdict.threshold, *labels)
        sheet.put("evidence_odds", odds_of(verdict), *labels)
        pending = verdict.state is TriggerState.PENDING
        since = verdict.since if pending else 0
        sheet.put("trigger_pending_since_timestamp_seconds", since, *labels)


def _draw_releases(sheet: _Sheet, target: TargetView) -> None:
    others = [r for r in target.releases if not r.current]
    candidates = sum(r.standing in _CANDIDATES for r in others)
    sheet.put("release_candidates", candidates, target.name)
    current = _the(target.releases, current=True)
    if current is None:
        return
    release = current.release
    tag = image_tag(release.image)
    sheet.put("target_release_info", 1, target.name, f"v{release.version}", tag)
    sheet.put("target_release_version", release.version, target.name)
    sheet.put("target_release_timestamp_seconds", release.created_at, target.name)


def _draw_machines(sheet: _Sheet, target: TargetView) -> None:
    current = _the(target.releases, current=True)
    goal = _the(target.releases, current=False)
    counts = {(s, r): 0 for s in _MACHINE_STATES for r in _MACHINE_RELEASES}
    for machine in target.machines:
        state = machine.state if machine.state in _MACHINE_STATES else "other"
        counts[state, _runs(machine, current, goal)] += 1
    for (state, release), count in counts.items():
        sheet.put("target_machines", count, target.name, state, release)
    critical = sum(m.critical_checks for m in target.machines)
    sheet.put("target_machine_checks", critical, target.name, "critical")


def _the(releases: Iterable[ReleaseView], *, current: bool) -> ReleaseView | None:
    """The current release, or the goal of a rollback."""
    return next((r for r in releases if (r.current if current else r.goal)), None)


def _runs(machine: Machine, current: ReleaseView | None, goal: ReleaseView | None) -> str:
    if current is not None and machine.content == current.release.content:
        return "current"
    if goal is not None and machine.content == goal.release.content:
        return "goal"
    return "other"


def image_tag(image: str) -> str:
    """`registry/app:deployment-1@sha256:…` is `deployment-1`; a bare digest is its beginning."""
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    return tag or digest.removeprefix("sha256:")[:12]
