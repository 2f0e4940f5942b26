"""How long each trigger needs from onset to recovery at worst: does it keep five minutes?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rollbackd.config.types import format_duration
from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import ProbeName, TriggerName
from rollbackd.core.policy import ProbePolicy, TargetPolicy
from rollbackd.core.rules import (
    Composite,
    DeployFailed,
    Mode,
    Regression,
    Severity,
    Signal,
    Trigger,
    TriggerRef,
)

PROMISED_SECONDS = 300.0  # the runbook: recovery in less than five minutes
RECOVERY_SECONDS = 60.0  # decided to recovered: three machines that boot in five seconds
REGRESSION_SECONDS = 140.0  # +5 points at 100 requests/s (docs/detection.md); an outage is faster
RELEASES_SECONDS = 10.0  # how often the platform is asked for releases
_SUMS = frozenset({MeasureKind.RATIO, MeasureKind.HISTOGRAM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`seconds` from onset to recovered at worst; `why_not` empty when the promise is kept."""

    target: str
    trigger: str
    seconds: float
    why_not: str

    @property
    def kept(self) -> bool:
        return not self.why_not

    def __str__(self) -> str:
        takes = format_duration(round(self.seconds))
        if self.kept:
            return f"{self.target}: {self.trigger}: keeps 5 minutes, {takes} at worst"
        return f"{self.target}: {self.trigger}: does not keep 5 minutes: {self.why_not}"


def promises(target: TargetPolicy, ceiling: Mode) -> tuple[Promise, ...]:
    """One for each trigger, in the order of the file."""
    by_name = {trigger.name: trigger for trigger in target.triggers}
    made = []
    for trigger in target.triggers:
        detect = _detect(trigger, by_name, target.probes)
        settle = target.safety.settle_at_most_seconds
        if settle is None:
            settle = target.safety.settle_ceiling_seconds
        seconds = max(detect, settle) + RECOVERY_SECONDS
        made.append(
            Promise(
                target=target.name,
                trigger=trigger.name,
                seconds=seconds,
                why_not=_why_not(trigger, target, ceiling, detect, settle),
            )
        )
    return tuple(made)


def _why_not(
    trigger: Trigger, target: TargetPolicy, ceiling: Mode, detect: float, settle: float
) -> str:
    mode = (trigger.mode or target.mode).cap(target.mode)
    if trigger.severity is Severity.WARNING:
        return "severity warning never acts"
    if mode.cap(ceiling) is not mode:
        return f"ROLLBACKD_MODE caps it to {mode.cap(ceiling)}"
    if mode is Mode.OBSERVE:
        return f"mode observe never acts (auto: {_takes(detect, settle)})"
    if mode is Mode.APPROVE:
        return f"mode approve waits for a person (auto: {_takes(detect, settle)})"
    watch = target.safety.watch_seconds
    if detect > watch:
        return f"watch ends {format_duration(watch)} after a release, before it is noticed"
    recovery = format_duration(RECOVERY_SECONDS)
    if detect + RECOVERY_SECONDS > PROMISED_SECONDS:
        noticed = format_duration(round(detect))
        return f"noticed after {noticed} at worst, and {recovery} to recover"
    if settle + RECOVERY_SECONDS > PROMISED_SECONDS:
        return f"settle lasts {format_duration(settle)} at most, and {recovery} to recover"
    return ""


def _takes(detect: float, settle: float) -> str:
    return f"{format_duration(round(max(detect, settle) + RECOVERY_SECONDS))} at worst"


def _detect(
    trigger: Trigger,
    by_name: Mapping[TriggerName, Trigger],
    probes: Mapping[ProbeName, ProbePolicy],
) -> float:
    match trigger.rule:
        case DeployFailed():
            return RELEASES_SECONDS
        case Signal() as signal:
            return _signal(signal, probes)
        case Regression() as regression:
            return _regression(regression, probes)
        case Composite(parts=parts):
            return max(
                _detect(by_name[part.trigger], by_name, probes)
                if isinstance(part, TriggerRef)
                else _signal(part, probes)
                for part in parts
            )


def _regression(rule: Regression, probes: Mapping[ProbeName, ProbePolicy]) -> float:
    """Whole ticks of evidence, from the first look of the probe that tells most on.

    A tick closes at the first fact after its end, live one second later.
    """
    ticks = math.ceil(REGRESSION_SECONDS / rule.tick_seconds)
    name = rule.errors or rule.latency or rule.health
    probe = None if name is None else probes.get(name)
    first = 0.0 if probe is None else probe.interval_seconds + probe.delay_seconds
    return first + ticks * rule.tick_seconds + 1


def _signal(signal: Signal, probes: Mapping[ProbeName, ProbePolicy]) -> float:
    """One interval until the first look, then what the rule waits for.

    A sum crosses its limit at the latest when the whole window lies after the onset.
    """
    interval = signal.interval_seconds
    if signal.breaches:
        return interval * (1 + signal.breaches.at_least)
    summed = probes[signal.probe].measure in _SUMS
    return interval * 2 + (signal.window_seconds if summed else 0.0) + signal.for_seconds
