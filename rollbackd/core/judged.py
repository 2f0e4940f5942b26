"""What a regression watch says of the release, from what it was fed. It takes nothing in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from rollbackd.core import regression_words
from rollbackd.core.hard_down import HardDown
from rollbackd.core.history import History
from rollbackd.core.model import Json, ProbeName, TriggerState
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rows import PLAIN
from rollbackd.core.rules import Regression
from rollbackd.core.side_by_side import SideBySide
from rollbackd.core.stream import JUST_NOW, LATELY
from rollbackd.core.streams import Frozen, streams_of
from rollbackd.core.tick_clock import TickClock

WATCHING: Final = 20.0  # odds from which it is worth a look
PLAINLY_WELL: Final = 0.1  # with nothing to compare with, one in ten may fail


class Judged:
    """The reading half of a regression watch."""

    def __init__(self, rule: Regression, probes: Mapping[ProbeName, ProbePolicy]) -> None:
        self.rule = rule
        self.worth_a_look = min(WATCHING, rule.odds)
        self.probes = probes
        self.streams = streams_of(rule, probes)
        self.fed_by = {
            name: tuple(s for s in self.streams.values() if s.probe == name)
            for name in {s.probe for s in self.streams.values()}
        }
        self.hard = HardDown(None)
        self.downs = History(rule.history_at_most_seconds, PLAIN)
        self.sides = SideBySide(self.streams)
        self.clock = TickClock(rule.tick_seconds)
        self.frozen: Frozen | None = None  # of the release that is judged
        self.foreseen: Frozen | None = None  # of one that runs nowhere yet
        self.begun_at: float | None = None
        self.innocent_until = -math.inf  # what was by then is not the release's doing
        self.at_once = False  # it was running before: it needs no time to warm up
        self.crossed = False
        self.held_odds = 0.0  # what the old machines left behind when they went
        self.excused = False

    def state(self, now: float) -> TriggerState:
        """breached: the evidence is enough; pending: worth watching; no_data: cannot tell."""
        if not self.fresh(now):
            return TriggerState.NO_DATA
        if self.breached:
            return TriggerState.BREACHED
        if self.ill_before() is not None:
            return TriggerState.NO_DATA
        return TriggerState.PENDING if self.reaches(WATCHING) else TriggerState.OK

    def why(self, now: float) -> str:
        """One line, numbers first."""
        return regression_words.why(self, now)

    def learning(self) -> str:
        """Why there is too little history to act on; empty when there is enough."""
        if self.compares or self.held_odds:
            return ""  # the old machines are what it is compared with
        if self.frozen is None:
            return "nothing is known of the time before the release"
        return self.frozen.learning

    def ill_before(self) -> float | None:
        """Since when it was ill when the release came, if it was; then nobody is accused."""
        for stream in self.streams.values():
            if stream.judges:
                return None
        if self.compares or self.held_odds:
            return None
        since = [s.baseline.ill_since for s in self.streams.values() if s.baseline is not None]
        return min((at for at in since if at is not None), default=None)

    def known_well(self, now: float) -> bool:
        """Whether fresh samples say that it is no worse than before."""
        if self.begun_at is None or self.state(now) is not TriggerState.OK:
            return False
        if self.compares:
            return self.sides.well
        if self.learning():
            rates = [s.plain_rate() for s in self.streams.values() if not s.slow]
            known = [rate for rate in rates if rate is not None]
            return bool(known) and max(known) <= PLAINLY_WELL
        judging = [s for s in self.streams.values() if s.judges and s.ticks]
        return any(s.ticks >= LATELY for s in judging) and all(s.well(JUST_NOW) for s in judging)

    def plainly_ill(self, now: float) -> bool:
        """Whether all of the last minute was bad: more than is tolerated or, where nothing is known
        of the time before, than one in ten. A release that is so is no good one.
        """
        return self.fresh(now) and any(
            s.all_over(s.tolerance if s.judges else PLAINLY_WELL)
            for s in self.streams.values()
            if not s.slow
        )

    def judges_before(self, at: float) -> bool:
        """Whether it judges a release that ran before `at`, or none."""
        return self.begun_at is None or self.begun_at < at

    def fresh(self, now: float) -> bool:
        """Whether anything was seen lately."""
        for stream in self.streams.values():
            if now - stream.seen_at <= stream.max_age_seconds:
                return True
        return self.compares and self.sides.fresh(now)

    @property
    def compares(self) -> bool:
        """Whether machines of both releases serve: then they are compared with each other."""
        return self.sides.on

    @property
    def breached(self) -> bool:
        """Whether it was enough, and nothing has shown since that it is over."""
        return self.crossed or self.hard.fired

    @property
    def onset(self) -> float | None:
        """When what is bad now began."""
        if not self.breached and self.odds < WATCHING:
            return None
        runs = [s.run.since for s in self.streams.values() if s.odds > 1]
        found = [*runs, self.hard.since if self.hard.fired else None, self.sides.onset]
        return min((at for at in found if at is not None), default=None)

    def reaches(self, odds: float) -> bool:
        """Whether the evidence is that much. A mean is never above the largest, so where no stream
        alone has it, nothing has to be added up: that is nearly every tick.
        """
        if not (self.sides.on or self.held_odds):
            for stream in self.streams.values():
                evidence = stream.evidence
                if evidence is not None and evidence.odds >= odds:
                    break
            else:
                return False
        return self.odds >= odds

    @property
    def odds(self) -> float:
        """The evidence now, N to 1."""
        if self.sides.on:
            return self.sides.odds
        if self.frozen is None:
            return 1.0
        weighed = math.fsum([s.weight * s.odds for s in self.streams.values()])
        return max(weighed, self.held_odds)

    @property
    def samples(self) -> float:
        """How many events the evidence was made from."""
        if self.compares:
            return self.sides.samples
        return math.fsum(s.shown()[1] for s in self.streams.values())

    def evidence(self) -> dict[str, Json]:
        """The numbers behind `why`: per signal bad, total, before, tolerated; odds, onset_at."""
        return regression_words.evidence(self)
