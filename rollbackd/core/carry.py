"""Which signals to watch under a policy, and which watches outlive a reload. It feeds none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollbackd.core.model import ProbeName
from rollbackd.core.observed import Place
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack
from rollbackd.core.rules import Composite, Signal
from rollbackd.core.watch import SignalWatch


def signals(policy: TargetPolicy) -> Iterator[tuple[Place, Signal]]:
    for trigger in policy.triggers:
        rule = trigger.rule
        parts = rule.parts if isinstance(rule, Composite) else (rule,)
        for veto, found in ((False, parts), (True, trigger.unless)):
            for index, part in enumerate(found):
                if isinstance(part, Signal):
                    yield Place(trigger.name, veto=veto, at=index), part


def tracks(
    kept: Mapping[ProbeName, ProbeTrack], old: TargetPolicy, new: TargetPolicy
) -> dict[ProbeName, ProbeTrack]:
    """One per probe, the old one where the probe did not change."""
    return {
        name: kept[name] if name in kept and _same_probe(old, new, name) else ProbeTrack(probe)
        for name, probe in new.probes.items()
    }


def watches(
    kept: Mapping[Place, SignalWatch], old: TargetPolicy, new: TargetPolicy, now: float
) -> dict[Place, SignalWatch]:
    """One per signal, the old one where neither it nor its probe changed."""
    return {
        place: kept[place]
        if place in kept and _same_signal(old, new, place, kept[place].signal, signal)
        else SignalWatch(signal, now, delay_seconds=_delay(new, signal))
        for place, signal in signals(new)
    }


def by_probe(watched: Mapping[Place, SignalWatch]) -> dict[ProbeName, tuple[Place, ...]]:
    places: dict[ProbeName, list[Place]] = {}
    for place, watch in watched.items():
        places.setdefault(watch.signal.probe, []).append(place)
    return {probe: tuple(found) for probe, found in places.items()}


def _same_signal(
    old: TargetPolicy, new: TargetPolicy, place: Place, before: Signal, after: Signal
) -> bool:
    same_trigger = _mark(old, "trigger", place.trigger) == _mark(new, "trigger", place.trigger)
    return before == after and same_trigger and _same_probe(old, new, after.probe)


def _same_probe(old: TargetPolicy, new: TargetPolicy, name: ProbeName) -> bool:
    same_settings = _mark(old, "probe", name) == _mark(new, "probe", name)
    return old.probes.get(name) == new.probes.get(name) and same_settings


def _delay(policy: TargetPolicy, signal: Signal) -> float:
    probe = policy.probes.get(signal.probe)
    return 0.0 if probe is None else probe.delay_seconds


def _mark(policy: TargetPolicy, kind: str, name: str) -> str | None:
    return policy.fingerprints.get(f"{kind}:{name}")
