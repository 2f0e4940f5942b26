"""All that is remembered of one target. The loop owns it; it takes facts in and decides nothing.

The same facts give the same state. A sample costs O(1) and touches what depends on its probe only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import assert_never

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn, mode_now
from rollbackd.core.carry import by_probe, tracks, watches
from rollbackd.core.deploys import Change, Deploys
from rollbackd.core.facts import (
    Announced,
    Approved,
    Asleep,
    Blessed,
    CheckOutcome,
    ControlSeen,
    MachinesSeen,
    Miss,
    PastSeen,
    Paused,
    Quarantined,
    Rejected,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    Sample,
    TargetFact,
    Unlocked,
    Unquarantined,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.marks import same_content
from rollbackd.core.model import Decision, ProbeName, Release, TargetName, TriggerName
from rollbackd.core.observed import Place
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack
from rollbackd.core.regressions import Regressions
from rollbackd.core.rollbacks import Answer, Rollbacks
from rollbackd.core.rules import Mode, Trigger
from rollbackd.core.settle import Settling, outcome_of, settling, waking
from rollbackd.core.standing import close, learn
from rollbackd.core.triggers import veto_why
from rollbackd.core.vouching import hear
from rollbackd.core.watch import SignalWatch


class TargetState:
    """One target. Mutable, never shared between tasks."""

    __slots__ = (
        "_by_probe", "control_detail", "control_ok", "created_at", "decided", "deploys",
        "evaluated_at", "ledger", "local_minutes", "missing_images", "mode_set", "paused_by",
        "paused_until", "platform_seen_at", "policy", "probes", "regressions", "rollbacks",
        "suppressed", "triggers", "watches",
    )  # fmt: skip

    def __init__(self, policy: TargetPolicy, now: float) -> None:
        self.created_at = now
        self.policy = policy
        self.deploys = Deploys()
        self.ledger = Ledger()
        self.probes: dict[ProbeName, ProbeTrack] = {}
        self.watches: dict[Place, SignalWatch] = {}
        self.triggers: dict[TriggerName, Trigger] = {}
        self._by_probe: dict[ProbeName, tuple[Place, ...]] = {}
        self.regressions = Regressions()
        self.rollbacks = Rollbacks()
        self.paused_until: float | None = None
        self.paused_by = ""  # who, and why
        self.mode_set: ModeSet | None = None
        self.control_ok, self.control_detail = True, ""
        self.platform_seen_at = now
        self.missing_images: set[str] = set()
        self.local_minutes: Mapping[str, tuple[int, int]] = {}  # by time zone: weekday, minute
        self.suppressed = 0  # failed looks not counted because the release settles
        self.decided: Decision | None = None
        self.evaluated_at: float | None = None
        self.carry(policy, now)

    @property
    def name(self) -> TargetName:
        return self.policy.name

    @property
    def releases(self) -> tuple[Release, ...]:
        """As the platform listed them at the newest look."""
        return self.deploys.seen

    @property
    def current(self) -> Release | None:
        return self.deploys.current

    def paused(self, now: float) -> bool:
        return self.paused_until is not None and now < self.paused_until

    def mode(self, now: float) -> Mode:
        """The one that is wanted, as far as the token can do it."""
        return self.wanted_mode(now).cap(self.policy.token_ceiling)

    def wanted_mode(self, now: float) -> Mode:
        """The configured one, or what a person set."""
        return mode_now(self.policy.mode, self.mode_set, now)

    def carry(self, policy: TargetPolicy, now: float) -> None:
        """Go on under this policy: what did not change keeps its windows and what is pending."""
        old, self.policy = self.policy, policy
        self.triggers = {t.name: t for t in policy.triggers}
        self.probes = tracks(self.probes, old, policy)
        before = self.watches
        self.watches = watches(before, old, policy, now)
        for place, watch in self.watches.items():
            if not place.veto and watch is not before.get(place):
                watch.counts_after = self.deploys.current_since
        self._by_probe = by_probe(self.watches)
        for fresh in self.regressions.carry(old, policy):
            if self.current is not None:
                fresh.begin(max(now, self.deploys.current_since))

    def advance(self, until: float) -> None:
        """Close the ticks of regression triggers that ended by `until`."""
        end = self.regressions.next_end
        if end is None or end > until:
            return
        self.regressions.close(until, lambda name: bool(veto_why(self.triggers[name], self, until)))
        learn(self, until, set(self.regressions.watches))

    def apply(self, fact: TargetFact) -> None:
        """Take one fact in. Late, doubled or broken ones change nothing."""
        if not math.isfinite(fact.at):
            return
        match fact:
            case Sample():
                self._sample(fact)
            case Miss():
                self._miss(fact)
            case Asleep():
                self._sleep(fact)
            case ReleasesSeen():
                self._see_releases(fact)
            case MachinesSeen():
                self._see_machines(fact)
            case RollbackStarted():
                self.rollbacks.start(fact)
                hear(self.ledger, fact, self.deploys.known)
            case RollbackSwitched():
                self._switch(fact)
            case RollbackEnded():
                self.rollbacks.end(fact)
            case PastSeen():
                self.regressions.remember(fact)
            case Announced() | Blessed() | Quarantined() | Unquarantined():
                hear(self.ledger, fact, self.deploys.known)
            case _:
                self._hear(fact)

    def _hear(self, fact: ControlSeen | Paused | Resumed | Unlocked | ModeSet | Answer) -> None:
        match fact:
            case ControlSeen(ok=ok, detail=detail):
                self.control_ok, self.control_detail = ok, detail
            case Paused(until=until):
                self.paused_until, self.paused_by = until, f"{fact.by}: {fact.reason}".rstrip(": ")
            case Resumed():
                self.paused_until, self.paused_by = None, ""
            case Unlocked():
                self.rollbacks.locked_out = False
            case ModeSet():
                self.mode_set = fact
            case Approved() | Rejected() | Proposed() | Withdrawn():
                self.rollbacks.hear(fact)
            case _:
                assert_never(fact)

    def _sample(self, fact: Sample) -> None:
        track = self.probes.get(fact.probe)
        if track is None:
            return
        if fact.machine is not None or fact.version is not None:
            self.regressions.take_part(fact, self.deploys)
            return  # one machine's share is part of the whole, which comes by itself
        if not track.take(fact.at, fact.measure):
            return
        others = (t for name, t in self.probes.items() if name != fact.probe)
        outcome = outcome_of(fact, others)
        woken = waking(self.policy, self.deploys, track, fact, outcome)
        self.suppressed += woken
        counts = not woken and self._settle(fact, outcome)
        places = self._by_probe.get(fact.probe, ())
        for place in places:
            self.watches[place].take(fact.at, fact.measure, outcome, counts=counts or place.veto)
        if not woken:
            self.regressions.take(fact, outcome, counts=counts)
        learn(self, fact.at, {place.trigger for place in places if not place.veto})

    def _settle(self, fact: Sample, outcome: CheckOutcome) -> bool:
        """Whether the sample counts, or belongs to a start that may take its time."""
        match settling(self.policy, self.deploys, fact, outcome):
            case Settling.GOES_ON:
                self.suppressed += outcome is not CheckOutcome.OK
                return False
            case Settling.EXPIRES:
                self._settled(self.deploys.settle_until(self.policy.safety))
            case Settling.ENDS:
                # The success itself counts.
                self._settled(math.nextafter(fact.at, -math.inf))
            case _:
                pass
        return True

    def _settled(self, at: float) -> None:
        self.deploys.settled = True
        for watch in self._following():
            watch.restart(at)

    def _miss(self, fact: Miss) -> None:
        track = self.probes.get(fact.probe)
        if track is not None and track.miss(fact):
            for place in self._by_probe.get(fact.probe, ()):
                self.watches[place].miss(fact.reason)

    def _sleep(self, fact: Asleep) -> None:
        track = self.probes.get(fact.probe)
        if track is not None and track.sleep(fact.at):
            for place in self._by_probe.get(fact.probe, ()):
                self.watches[place].idle(fact.at)

    def _see_releases(self, fact: ReleasesSeen) -> None:
        if fact.at < self.deploys.releases_at:
            return
        self.platform_seen_at = max(self.platform_seen_at, fact.at)
        self._match(fact)
        before = {r.version: r.commit for r in self.deploys.known}
        if self.deploys.see_releases(fact) and self.current and self.deploys.newest:
            close(self, self.current, self.deploys.came_at(self.deploys.newest))
            self.regressions.foresee(fact.at)
        self.deploys.dress(self.ledger.authorship.dress)
        self.ledger.learn_commits(before, self.deploys.known)
        self.ledger.note_relapses(self.deploys.known)
        self._take_effect(fact.at)
        self.regressions.see(self.deploys)

    def _match(self, fact: ReleasesSeen) -> None:
        """See whether what appears was announced. What was there before we looked was not."""
        newest, running = self.deploys.newest, self.rollbacks.running
        if self.deploys.releases_at == -math.inf:
            return
        ours = "" if running is None else running.good.content
        self.ledger.authorship.match(
            (
                release
                for release in fact.releases
                if (newest is None or release.version > newest.version)
                and not (ours and same_content(release.content, ours))
            ),
            fact.at,
        )

    def _see_machines(self, fact: MachinesSeen) -> None:
        if fact.at >= self.deploys.machines_at:
            self.deploys.see_machines(fact)
            self._take_effect(fact.at)

    def _take_effect(self, at: float) -> None:
        running = self.rollbacks.running
        expected = None if running is None else running.good
        first = self.current is None
        change = self.deploys.take_effect(at, expected)
        if change is not None:
            self._begin(change)
            if not first and change.release.version not in self.deploys.ours:
                self.ledger.trial.watch(change.release.version)
        learn(self, at, set())

    def _begin(self, change: Change) -> None:
        self.suppressed = 0
        for watch in self._following():
            watch.cross(change.came_at, change.at, change.release.created_at)
        if self.rollbacks.running is None or change.release.version not in self.deploys.ours:
            # The record of our own rollback: evidence starts anew when the last machine switched.
            self.regressions.begin(change, machines_seen=self.deploys.machines is not None)

    def _switch(self, fact: RollbackSwitched) -> None:
        started = self.rollbacks.switch(fact)
        if started is None:
            return
        if fact.app:
            self.deploys.switch_back(started.good, fact.version, fact.at)
        for watch in self._following():
            watch.start_over(fact.at)
        self.regressions.put_back(fact.at)

    def _following(self) -> list[SignalWatch]:
        """The watches that start anew with a release; a veto looks at something else."""
        return [watch for place, watch in self.watches.items() if not place.veto]
