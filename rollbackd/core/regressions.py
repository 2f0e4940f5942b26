"""All regression triggers of one target: which sample concerns which of them. It judges nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from rollbackd.core.deploys import Change, Deploys
from rollbackd.core.facts import CheckOutcome, PastSeen, Sample
from rollbackd.core.model import Json, JsonObject, ProbeName, TriggerName
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import sound
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Regression


class Regressions:
    """One watch per regression trigger."""

    def __init__(self) -> None:
        self.watches: dict[TriggerName, RegressionWatch] = {}
        self._by_probe: dict[ProbeName, tuple[RegressionWatch, ...]] = {}

    def carry(self, old: TargetPolicy, new: TargetPolicy) -> list[RegressionWatch]:
        """Go on under this policy; returns the watches that are new."""
        kept, self.watches = self.watches, {}
        fresh = []
        for trigger in new.triggers:
            rule = trigger.rule
            if not isinstance(rule, Regression):
                continue
            probes = {name: new.probes[name] for name in probes_of(rule)}
            same = trigger.name in kept and _same(old, new, trigger.name)
            watch = kept[trigger.name] if same else RegressionWatch(rule, probes)
            self.watches[trigger.name] = watch
            if not same:
                fresh.append(watch)
        self._by_probe = _by_probe(self.watches)
        return fresh

    def take(self, sample: Sample, outcome: CheckOutcome, *, counts: bool) -> None:
        for watch in self._by_probe.get(sample.probe, ()):
            watch.take(sample.at, sample.probe, sample.measure, outcome, counts=counts)

    def take_part(self, sample: Sample, deploys: Deploys) -> None:
        """One machine's share: of the current release, or of one before it. An older one with its
        content is no other arm: what they differ in is chance.
        """
        watches = self._by_probe.get(sample.probe, ())
        current = deploys.current
        version = deploys.version_of(sample.machine) if sample.version is None else sample.version
        if not watches or current is None or version is None or version > current.version:
            return
        if not sound(sample.measure) or deploys.runs_the_same(version):
            return
        who, new = sample.machine or f"v{version}", version == current.version
        for watch in watches:
            watch.take_part(sample.at, sample.probe, sample.measure, who=who, new=new)

    def remember(self, fact: PastSeen) -> None:
        for watch in self._by_probe.get(fact.probe, ()):
            watch.remember(fact.probe, fact.samples)

    def foresee(self, at: float) -> None:
        for watch in self.watches.values():
            watch.foresee(at)

    def begin(self, change: Change, *, machines_seen: bool) -> None:
        """`machines_seen`: no machine ran it before, as far as looks at them tell."""
        for watch in self.watches.values():
            watch.begin(change.at, machines_seen=machines_seen)

    def see(self, deploys: Deploys) -> None:
        """At every look at the releases: the last machine of a deploy may have been switched."""
        if deploys.rolled_out:
            for watch in self.watches.values():
                watch.complete()

    def put_back(self, at: float) -> None:
        for watch in self.watches.values():
            watch.put_back(at)

    def close(self, until: float, excused: Callable[[TriggerName], bool]) -> None:
        """Close the ticks that ended by `until`. `excused` is asked only where one did."""
        for name, watch in self.watches.items():
            end = watch.next_end
            if end is not None and end <= until:
                watch.close(until, excused=excused(name))

    def as_json(self, policy: TargetPolicy) -> JsonObject:
        return {
            name: {"mark": _mark(policy, name), "kept": watch.as_json()}
            for name, watch in self.watches.items()
        }

    def restore(self, kept: Json, policy: TargetPolicy) -> list[RegressionWatch]:
        """Go on where an earlier process stopped; returns the watches that could not."""
        fresh = []
        for name, watch in self.watches.items():
            made = RegressionWatch(watch.rule, watch.probes)
            row = kept.get(name) if isinstance(kept, dict) else None
            past = row.get("kept") if isinstance(row, dict) else None
            same = isinstance(row, dict) and row.get("mark") == _mark(policy, name)
            if not (same and isinstance(past, dict) and _went_on(made, past)):
                made = RegressionWatch(watch.rule, watch.probes)
                fresh.append(made)
            self.watches[name] = made
        self._by_probe = _by_probe(self.watches)
        return fresh

    @property
    def next_end(self) -> float | None:
        """When the next tick ends."""
        ends = [w.next_end for w in self.watches.values() if w.next_end is not None]
        return min(ends, default=None)


def probes_of(rule: Regression) -> tuple[ProbeName, ...]:
    """The probes it is made from."""
    return tuple(p for p in (rule.errors, rule.health, rule.latency) if p is not None)


def _by_probe(
    watches: Mapping[TriggerName, RegressionWatch],
) -> dict[ProbeName, tuple[RegressionWatch, ...]]:
    found: dict[ProbeName, list[RegressionWatch]] = {}
    for watch in watches.values():
        for probe in probes_of(watch.rule):
            found.setdefault(probe, []).append(watch)
    return {probe: tuple(each) for probe, each in found.items()}


def _went_on(watch: RegressionWatch, past: JsonObject) -> bool:
    try:
        watch.restore(past)
    except Exception:  # noqa: BLE001 -- whatever lies on the disk, it must not keep us from starting
        return False
    return True


def _mark(policy: TargetPolicy, name: TriggerName) -> int:
    """Changes with the rule and with every probe it is made from."""
    rule = next(t.rule for t in policy.triggers if t.name == name)
    assert isinstance(rule, Regression), "asked of regression triggers only"
    probes = [(policy.probes[p], policy.fingerprints.get(f"probe:{p}")) for p in probes_of(rule)]
    return zlib.crc32(repr((rule, policy.fingerprints.get(f"trigger:{name}"), probes)).encode())


def _same(old: TargetPolicy, new: TargetPolicy, name: TriggerName) -> bool:
    key = f"trigger:{name}"
    before = {t.name: t.rule for t in old.triggers}.get(name)
    after = {t.name: t.rule for t in new.triggers}.get(name)
    return before == after and old.fingerprints.get(key) == new.fingerprints.get(key)
