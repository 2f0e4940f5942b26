"""What became of each release in a replay: left alone, gone back from, asked about. Values only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.facts import (
    MeasureKind,
    Ratio,
    ReleasesSeen,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    Sample,
)
from rollbackd.core.known_good import returns_to
from rollbackd.core.marks import same_content
from rollbackd.core.model import (
    Decision,
    Hold,
    HoldReason,
    Release,
    ReleaseStatus,
    RollBack,
    TargetName,
    TriggerName,
)
from rollbackd.core.policy import Policy, TargetPolicy
from rollbackd.core.rules import Regression, Signal
from rollbackd.replay.chart import Counted
from rollbackd.replay.told import Told

BEFORE_SECONDS: Final = 300.0  # of the release, and after the decision: what a picture shows
KEPT: Final = 4000  # counts per probe, for the picture
BY_MODE: Final = frozenset({HoldReason.BUDGET_SPENT, HoldReason.WINDOW, HoldReason.OBSERVE_MODE})


@dataclass(slots=True, kw_only=True)
class Fate:
    """One release. `decided`: what went furthest; `counted` is what was seen around it."""

    target: TargetName
    release: Release
    came_at: float
    until: float  # when the next one came, or the facts ended
    successor: Fate | None = None
    brings_back: int | None = None  # the older version whose content it has
    put_back_by: str = ""  # it is the record of a rollback: rollbackd's own, or a person's with it
    decided: Decision | None = None
    counted: list[Counted] = field(default_factory=list)

    @property
    def acts(self) -> bool:
        """Whether it would have been gone back from, but for the mode."""
        return isinstance(self.decided, RollBack) or (
            isinstance(self.decided, Hold) and self.decided.reason in BY_MODE
        )

    @property
    def asks(self) -> bool:
        return isinstance(self.decided, Hold) and (
            self.decided.reason is HoldReason.AWAITING_APPROVAL
        )


class Releases:
    """Hears facts and decisions, and remembers what became of every release that came."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._fates: dict[TargetName, list[Fate]] = {}
        self._first: dict[TargetName, Release | None] = {}  # what was there before
        self._counts: dict[tuple[TargetName, str], deque[Counted]] = {}
        self._running: dict[TargetName, RollbackStarted] = {}
        self._drawn: list[tuple[Fate, str]] = []  # pictures that still want what comes after
        self.began_at: float | None = None
        self.ended_at = 0.0

    def hear(self, told: Told) -> None:
        self.ended_at = told.at
        if self.began_at is None:
            self.began_at = told.at
        match told:
            case Sample(measure=Ratio(bad=bad, total=total), machine=None, version=None):
                self._count(told.target, told.probe, (told.at, bad, total))
            case ReleasesSeen():
                self._see(told)
            case RollbackStarted():
                self._running[told.target] = told
            case RollbackSwitched():
                self._switched(told)
            case RollbackEnded():
                self._running.pop(told.target, None)
            case _:
                pass

    def note(self, decision: Decision) -> None:
        if decision.bad is None:
            return
        for fate in self._fates.get(decision.target, ()):
            if fate.release.version == decision.bad.version and _further(decision, fate.decided):
                fate.decided = decision
                self._draw(fate, decision.trigger)

    def fates(self) -> Mapping[TargetName, list[Fate]]:
        """Of every release that came, oldest first."""
        for fates in self._fates.values():
            if fates:
                fates[-1].until = self.ended_at
        return self._fates

    def _see(self, told: ReleasesSeen) -> None:
        fates = self._fates.setdefault(told.target, [])
        oldest_first = sorted(told.releases, key=lambda one: one.version)
        if told.target not in self._first:
            self._first[told.target] = oldest_first[-1] if oldest_first else None
            return
        first = self._first[told.target]
        newest = fates[-1].release if fates else first
        for release in oldest_first:
            known = next((f for f in fates if f.release.version == release.version), None)
            if known is not None:
                known.release = release
            elif newest is None or release.version > newest.version:
                self._add(fates, release, told)
                newest = release

    def _add(self, fates: list[Fate], release: Release, told: ReleasesSeen) -> None:
        older = returns_to(told.releases, release)
        fate = Fate(
            target=told.target,
            release=release,
            came_at=told.at,
            until=told.at,
            brings_back=None if older is None else older.version,
        )
        running = self._running.get(told.target)
        if running is not None and same_content(running.good.content, release.content):
            fate.put_back_by = _who(running)
        if fates:
            fates[-1].until, fates[-1].successor = told.at, fate
        fates.append(fate)

    def _switched(self, told: RollbackSwitched) -> None:
        """Its record may have been seen before the rollback was heard of."""
        running = self._running.get(told.target)
        for fate in self._fates.get(told.target, ()):
            if running is not None and fate.release.version == told.version:
                fate.put_back_by = _who(running)

    # The picture -----------------------------------------------------------------------------

    def _count(self, target: TargetName, probe: str, counted: Counted) -> None:
        kept = self._counts.get((target, probe))
        if kept is None:
            kept = self._counts[target, probe] = deque(maxlen=KEPT)
        kept.append(counted)
        for fate, drawn in tuple(self._drawn):
            if fate.target == target and drawn == probe:
                if fate.decided is not None and counted[0] > fate.decided.at + BEFORE_SECONDS:
                    self._drawn.remove((fate, drawn))
                else:
                    fate.counted.append(counted)

    def _draw(self, fate: Fate, trigger: TriggerName | None) -> None:
        target = self._policy.targets.get(fate.target)
        probe = None if target is None else next(_rates(target, trigger), None)
        if probe is None:
            return
        since = fate.came_at - BEFORE_SECONDS
        kept = self._counts.get((fate.target, probe), ())
        fate.counted = [counted for counted in kept if counted[0] >= since]
        self._drawn = [(other, p) for other, p in self._drawn if other is not fate]
        self._drawn.append((fate, probe))


def _who(running: RollbackStarted) -> str:
    return "rollbackd" if running.automatic else "a person with rollbackd"


def _rates(target: TargetPolicy, trigger: TriggerName | None) -> Iterator[str]:
    """The probes that count, the trigger's own first."""
    rule = next((t.rule for t in target.triggers if t.name == trigger), None)
    own = rule.errors if isinstance(rule, Regression) else None
    own = rule.probe if isinstance(rule, Signal) else own
    counting = [p for p, policy in target.probes.items() if policy.measure is MeasureKind.RATIO]
    if own in counting:
        yield own
    yield from counting


def _further(decision: Decision, before: Decision | None) -> bool:
    """The first that acts counts; before that, the newest that held for some reason."""
    return before is None or _rank(decision) > _rank(before)


def _rank(decision: Decision) -> int:
    if isinstance(decision, RollBack):
        return 3
    if decision.reason in BY_MODE:
        return 2
    return 1 if decision.reason is HoldReason.AWAITING_APPROVAL else 0


def failed(release: Release) -> bool:
    return release.status in {ReleaseStatus.FAILED, ReleaseStatus.INTERRUPTED}
