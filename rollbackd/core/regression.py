"""Did this release make it worse? One regression trigger's watch over one target.

Compares the app with itself before the release, tick by tick, with evidence that may be looked at
after every tick. It knows no gates. Formulas: docs/detection.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from rollbackd.core import regression_kept
from rollbackd.core.facts import Check, CheckOutcome, Measure, Ratio
from rollbackd.core.hard_down import HardDown
from rollbackd.core.judged import WATCHING, Judged
from rollbackd.core.model import JsonObject, ProbeName
from rollbackd.core.rows import counted
from rollbackd.core.stream import JUST_NOW, WARM_SECONDS, Stream
from rollbackd.core.streams import (
    Frozen,
    freeze_all,
    raise_again,
    raise_by,
    raise_carried,
    raise_recent,
)

VOTES: Final = ((1.0, 0.0), (1.0, 1.0))  # a tick that was not down, one that was


class RegressionWatch(Judged):
    """Fed sample by sample in the order of time, then closed tick by tick.

    Ticks are aligned to the release and cover (t, t + tick_seconds].
    """

    # What comes in -------------------------------------------------------------------------

    def take(
        self,
        at: float,
        probe: ProbeName,
        measure: Measure,
        outcome: CheckOutcome,
        *,
        counts: bool,
    ) -> None:
        """One sample of the whole app. `counts` False: the release settles; only the hard-down
        fast path looks at it, and neither the evidence nor the history does.
        """
        if outcome is CheckOutcome.REFUSED:
            return  # it tells nothing of how the app is
        if isinstance(measure, Check):
            if measure.outcome is not outcome:
                measure = Check(outcome=outcome)  # refused, and another probe says: down
            if outcome is CheckOutcome.OK and (self.hard.streak or self.hard.fired):
                self.hard.stop()  # an answer ends it at once, not at the end of the tick
        end = self.clock.end
        for stream in self.fed_by.get(probe, ()):
            if not stream.arrive(at):
                continue
            told = at - stream.delay_seconds
            if told <= end:
                self._count(stream, at, measure, counts=counts)
            else:
                later = partial(self._count, stream, at, measure, counts=counts)
                self.clock.place(told, later)
                end = self.clock.end  # the first sample of all sets the grid

    def take_part(
        self, at: float, probe: ProbeName, measure: Measure, *, who: str, new: bool
    ) -> None:
        """One machine's sample (`who`): of the current release (`new`), or of an older one."""
        for name, stream in self.streams.items():
            if stream.probe != probe or self.begun_at is None:
                continue
            told, found = at - stream.delay_seconds, counted(measure, slow=stream.slow)
            if found is not None and told > self.begun_at:
                self.clock.place(told, partial(self.sides.take, at, name, who, found, new=new))

    def remember(self, probe: ProbeName, samples: Sequence[tuple[float, Measure]]) -> None:
        """The past as the source tells it: fills the history before what was seen by ourselves."""
        mark = math.inf if self.frozen is None else self.frozen.mark
        for stream in self.streams.values():
            if stream.probe == probe:
                stream.recall(samples, mark)
        lacking = [s for s in self.streams.values() if s.probe == probe and not s.known_enough]
        if self.frozen is not None and lacking:
            self.frozen = freeze_all(self, self.frozen.at, mark, until=mark)
            self._know_more(self.frozen)

    def foresee(self, at: float) -> None:
        """Another version was seen at `at`: freeze what it will be compared with."""
        self._cut()
        self.foreseen = freeze_all(self, at, self.clock.start if self.clock.runs else at)

    def begin(self, at: float, *, machines_seen: bool = False) -> None:
        """The first machine runs it since `at`: ticks and evidence start here.

        Without `foresee` before (the first release we see) the history so far is frozen now.
        `machines_seen`: until `at` no machine ran it, so what was bad by then raises the
        tolerance.
        """
        self.clock.drain(at)
        if self.clock.runs:
            for stream in self.streams.values():
                stream.flush(self.clock.start, self.clock.end)
        self.frozen = self.foreseen or self._frozen_late(at)
        self.foreseen = None
        self._start(at, at_once=False)
        self.innocent_until = at if machines_seen else self.frozen.at
        if machines_seen:
            raise_recent(self)

    def complete(self) -> None:
        """Its last machine was switched just now: what begins with that begins with the release."""
        for stream in self.streams.values():
            if stream.evidence is not None:
                stream.evidence.renew(stream.delay_seconds)

    def put_back(self, at: float) -> None:
        """A rollback put the release before back: its time is struck from the history, evidence
        starts anew against the same baseline.
        """
        self.clock.drop()
        mark = at if self.frozen is None else self.frozen.mark
        for stream in self.streams.values():
            stream.drop()
            stream.history.strike(mark)
        self.downs.strike(mark)
        self.foreseen = None
        self._start(at, at_once=True)
        self.innocent_until = -math.inf

    def close(self, until: float, *, excused: bool) -> None:
        """Close every tick that ended at or before `until`.

        `excused`: something else is to blame now; when that ends, evidence starts anew.
        """
        if self.excused and not excused:
            self._forget()
        self.excused = excused
        clock = self.clock
        while clock.end <= until:
            self._close_tick()
            if clock.end <= until:
                clock.skip_idle(until)

    @property
    def next_end(self) -> float | None:
        """When the open tick ends; None while nothing is fed."""
        return self.clock.end if self.clock.runs else None

    # Across restarts -----------------------------------------------------------------------

    def as_json(self) -> JsonObject:
        """Everything but the policy, small; `restore` reads it back."""
        return regression_kept.as_json(self)

    def restore(self, kept: JsonObject) -> None:
        """Go on where an earlier process stopped; the time between is no data."""
        regression_kept.restore(self, kept)

    # ---------------------------------------------------------------------------------------

    def _count(self, stream: Stream, at: float, measure: Measure, *, counts: bool) -> None:
        since = -math.inf if self.begun_at is None else self.begun_at
        after = stream.take(at, measure, since=since, before=self.innocent_until, counts=counts)
        if stream.slow or not after:
            return
        if isinstance(measure, Check):
            self.hard.look(ok=measure.outcome is CheckOutcome.OK)
        elif isinstance(measure, Ratio):
            self.hard.count(measure.bad, measure.total)

    def _close_tick(self) -> None:
        clock, hard = self.clock, self.hard
        start, end = clock.start, clock.end
        age = self._age(start)
        if age is not None and self.sides.told_apart:
            self._compare(start, end, age)
        late, neutral = False, self.sides.on
        for stream in self.streams.values():
            late |= stream.close(start, end, age_seconds=age, neutral=neutral)
        if late:
            raise_recent(self)
        gapped = {n for n, s in self.streams.items() if s.gapped} if hard.attentive else ()
        young = age is not None and age < WARM_SECONDS
        down = hard.close(start, gapped=gapped, neutral=neutral or age is None, young=young)
        self.downs.add(start, end, None if down is None or young else VOTES[down])
        if self.crossed or self.held_odds or self.reaches(self.worth_a_look):
            self._cross(end)
        clock.next()

    def _age(self, start: float) -> float | None:
        if self.begun_at is None or self.at_once:
            return None if self.begun_at is None else math.inf
        ticks = round((start - self.begun_at) / self.rule.tick_seconds)
        return ticks * self.rule.tick_seconds

    def _compare(self, start: float, end: float, age: float) -> None:
        """Compare both arms; where the old one is gone, the app is judged by itself again."""
        self.sides.close(start, end, age_seconds=age)
        if not self.compares or self.sides.serving(end):
            return
        if not self.sides.fresh(end) and not any(s.fresh(end) for s in self.streams.values()):
            return  # nobody is seen: that is a gap, not the end of the old machines
        self.held_odds = self.sides.odds if self.crossed else 0.0
        for stream in self.streams.values():
            assert stream.baseline is not None, "begun"
            stream.begin(stream.baseline)
        self.hard.forget()
        raise_by(self, self.sides, end)
        self.sides.on = False

    def _cross(self, end: float) -> None:
        if self.held_odds and not self.fresh(end):
            self.held_odds = 0.0
        odds, enough = self.odds, self.worth_a_look if self.hard.loops else self.rule.odds
        if odds >= enough and not (self.crossed or self.compares or self.held_odds):
            raise_carried(self)
            odds = self.odds
        if odds >= enough or (self.hard.fired and odds >= WATCHING):
            self.crossed = True
        if not self.crossed or self.compares:
            self.crossed = self.crossed and odds >= WATCHING
            return
        accusers = [s for s in self.streams.values() if s.judges and (s.odds > 1 or self.held_odds)]
        if accusers and all(s.well(JUST_NOW) for s in accusers):
            self._forget()
        elif odds < WATCHING and not self.hard.streak:
            self.crossed = False

    def _forget(self) -> None:
        """What was counted accuses nobody any more."""
        for stream in self.streams.values():
            stream.forget()
        self.sides.stop_accusing()
        self.hard.forget()
        self.crossed, self.held_odds = False, 0.0

    def _frozen_late(self, at: float) -> Frozen:
        """Nobody foresaw it. What was seen since `at` is its own doing already."""
        self._cut()
        running = self.clock.runs and at < self.clock.start
        return freeze_all(self, at, at, until=at if running else math.inf)

    def _cut(self) -> None:
        for history in (self.downs, *(s.history for s in self.streams.values())):
            history.cut()

    def _start(self, at: float, *, at_once: bool) -> None:
        """Judge from `at` on."""
        self.begun_at, self.at_once = at, at_once
        self.clock.align(at)
        self.sides.forget()
        self._judge_anew()

    def _know_more(self, frozen: Frozen) -> None:
        """Only streams that knew too little begin anew; what the others saw stays as it is."""
        assert self.begun_at is not None, "frozen when it began"
        for name, stream in self.streams.items():
            before, baseline = stream.baseline, frozen.baselines[name]
            if before is not None and before.enough and before.used and baseline.used:
                stream.tolerate(replace(before, weight=baseline.weight))
            else:
                stream.begin(baseline, age_seconds=self.clock.start - self.begun_at)
        raise_again(self)
        # What it stood on may be gone; that all is down needs no baseline.
        self.crossed = self.crossed and self.odds >= self.rule.odds

    def _judge_anew(self) -> None:
        if self.frozen is not None:
            for name, stream in self.streams.items():
                stream.raised = 0.0
                stream.begin(self.frozen.baselines[name])
        self.hard = HardDown(None if self.frozen is None else self.frozen.need)
        self.crossed, self.held_odds, self.excused = False, 0.0, False
