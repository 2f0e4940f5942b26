"""Did this release make it worse? One regression trigger's watch over one target.

Compares the app with itself before the release, tick by tick, with evidence that may be looked at
after every tick. It knows no gates. Formulas: docs/detection.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from rollbackd.core import regression_words
from rollbackd.core.facts import Check, CheckOutcome, Measure, Ratio
from rollbackd.core.hard_down import HardDown
from rollbackd.core.history import History
from rollbackd.core.model import Json, JsonObject, ProbeName, TriggerState
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rules import Regression
from rollbackd.core.side_by_side import SideBySide
from rollbackd.core.stream import JUST_NOW, LATELY, Stream
from rollbackd.core.streams import Frozen, freeze_all, raise_by, raise_recent, streams_of

WATCHING: Final = 20.0  # odds from which it is worth a look
PLAINLY_WELL: Final = 0.1  # with nothing to compare with, one in ten may fail
IDLE_TICKS: Final = 1000  # so many empty ones are not walked one by one


class RegressionWatch:
    """Fed sample by sample in the order of time, then closed tick by tick.

    Ticks are aligned to the release and cover (t, t + tick_seconds].
    """

    def __init__(self, rule: Regression, probes: Mapping[ProbeName, ProbePolicy]) -> None:
        self.rule = rule
        self.probes = probes
        self.streams = streams_of(rule, probes)
        self.hard = HardDown(None)
        self.downs = History(rule.history_at_most_seconds, (0.0,))
        self.sides = SideBySide(self.streams)
        self.frozen: Frozen | None = None  # of the release that is judged
        self.foreseen: Frozen | None = None  # of one that runs nowhere yet
        self.begun_at: float | None = None
        self.at_once = False  # it was running before: it needs no time to warm up
        self.crossed = False
        self.held_odds = 0.0  # what the old machines left behind when they went
        self._start = self._end = math.nan
        self._excused = False
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

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
        if isinstance(measure, Check) and measure.outcome is CheckOutcome.REFUSED:
            measure = Check(outcome=outcome)  # another probe agrees that it is down
        if isinstance(measure, Check) and outcome is CheckOutcome.OK:
            self.hard.answered()
        for stream in self.streams.values():
            if stream.probe == probe and stream.arrive(at):
                self._place(
                    at - stream.delay_seconds,
                    partial(self._count, stream, at, measure, counts=counts),
                )

    def take_part(
        self, at: float, probe: ProbeName, measure: Measure, *, who: str, new: bool
    ) -> None:
        """One machine's sample (`who`): of the current release (`new`), or of an older one."""
        for name, stream in self.streams.items():
            if stream.probe != probe or self.begun_at is None:
                continue
            told, row = at - stream.delay_seconds, stream.row_of(measure)
            if row is not None and told > self.begun_at:
                self._place(
                    told,
                    partial(self.sides.take, at, name, who, row, new=new),
                )

    def remember(self, probe: ProbeName, samples: Sequence[tuple[float, Measure]]) -> None:
        """The past as the source tells it: fills the history before what was seen by ourselves."""
        mark = math.inf if self.frozen is None else self.frozen.mark
        for stream in self.streams.values():
            if stream.probe == probe:
                stream.recall(samples, mark)
        if self.frozen is not None and self.frozen.learning:
            self.frozen = freeze_all(self, self.frozen.at, self.frozen.mark, until=mark)
            self._anew()

    def foresee(self, at: float) -> None:
        """Another version was seen at `at`: freeze what it will be compared with."""
        mark = at if math.isnan(self._start) else self._start
        for history in (self.downs, *(s.history for s in self.streams.values())):
            history.cut()
        self.foreseen = freeze_all(self, at, mark)

    def begin(self, at: float, *, machines_seen: bool = False) -> None:
        """The first machine runs it since `at`: ticks and evidence start here.

        Without `foresee` before (the first release we see) the history so far is frozen now.
        `machines_seen`: until `at` no machine ran it, so what was bad by then raises the
        tolerance.
        """
        self._drain(at)
        if not math.isnan(self._start):
            for stream in self.streams.values():
                stream.flush(self._start, self._end)
        if self.foreseen is None:
            self.foresee(at)
        self.frozen, self.foreseen = self.foreseen, None
        self.begun_at, self.at_once = at, False
        if not math.isnan(self._start):
            self._align(at)
        self.sides.forget()
        self._anew()
        if machines_seen:
            raise_recent(self)

    def put_back(self, at: float) -> None:
        """A rollback put the release before back: its time is struck from the history, evidence
        starts anew against the same baseline.
        """
        self._waiting.clear()
        mark = at if self.frozen is None else self.frozen.mark
        for stream in self.streams.values():
            stream.drop()
            stream.history.strike(mark)
        self.downs.strike(mark)
        self.foreseen = None
        self.begun_at, self.at_once = at, True
        if not math.isnan(self._start):
            self._align(at)
        self.sides.forget()
        self._anew()

    def close(self, until: float, *, excused: bool) -> None:
        """Close every tick that ended at or before `until`.

        `excused`: something else is to blame now; when that ends, evidence starts anew.
        """
        if self._excused and not excused:
            self._forget()
        self._excused = excused
        dt = self.rule.tick_seconds
        if not self._waiting and until - self._end > IDLE_TICKS * dt:
            self._close_tick()
            self._start += math.floor((until - self._start) / dt - IDLE_TICKS / 2) * dt
            self._end = self._start + dt
        while self._end <= until:
            self._close_tick()

    # What comes out ------------------------------------------------------------------------

    @property
    def next_end(self) -> float | None:
        """When the open tick ends; None while nothing is fed."""
        return None if math.isnan(self._end) else self._end

    def state(self, now: float) -> TriggerState:
        """breached: the evidence is enough; pending: worth watching; no_data: cannot tell."""
        if not self._fresh(now):
            return TriggerState.NO_DATA
        if self.breached:
            return TriggerState.BREACHED
        if self.ill_before() is not None:
            return TriggerState.NO_DATA
        return TriggerState.PENDING if self.odds >= WATCHING else TriggerState.OK

    def why(self, now: float) -> str:
        """One line, numbers first."""
        return regression_words.why(self, now, fresh=self._fresh(now))

    def learning(self) -> str:
        """Why there is too little history to act on; empty when there is enough."""
        if self.compares or self.held_odds:
            return ""  # the old machines are what it is compared with
        if self.frozen is None:
            return "nothing is known of the time before the release"
        return self.frozen.learning

    def ill_before(self) -> float | None:
        """Since when it was ill when the release came, if it was; then nobody is accused."""
        if not self.disabled:
            return None
        since = [s.baseline.ill_since for s in self.streams.values() if s.baseline is not None]
        return min((at for at in since if at is not None), default=None)

    def known_well(self, now: float) -> bool:
        """Whether fresh samples say that it is no worse than before."""
        if self.begun_at is None or self.state(now) is not TriggerState.OK:
            return False
        if self.compares:
            return self.sides.well
        if self.frozen is not None and self.frozen.learning:
            rates = [s.plain_rate() for s in self.streams.values() if not s.counts_by_bound]
            known = [r for r in rates if r is not None]
            return bool(known) and max(known) <= PLAINLY_WELL
        judging = [s for s in self.streams.values() if s.judges]
        return any(s.ticks >= LATELY for s in judging) and all(
            s.well(JUST_NOW) for s in judging if s.ticks
        )

    @property
    def compares(self) -> bool:
        """Whether machines of both releases serve: then they are compared with each other."""
        return self.sides.on

    @property
    def breached(self) -> bool:
        return self.crossed or self.hard.fired

    @property
    def disabled(self) -> bool:
        """Whether no stream can accuse the release."""
        if self.compares or self.frozen is None:
            return False
        return not any(s.judges for s in self.streams.values())

    @property
    def onset(self) -> float | None:
        """When what is bad now began."""
        if not self.breached and self.odds < WATCHING:
            return None
        runs = [s.run_since for s in self.streams.values() if s.odds > 1]
        found = [*runs, self.hard.since if self.hard.fired else None, self.sides.onset]
        return min((at for at in found if at is not None), default=None)

    @property
    def odds(self) -> float:
        """The evidence now, N to 1."""
        if self.compares:
            return self.sides.odds if self.sides.started else 1.0
        if self.frozen is None:
            return 1.0
        return max(math.fsum(s.weight * s.odds for s in self.streams.values()), self.held_odds)

    @property
    def samples(self) -> float:
        """How many events the evidence was made from."""
        return math.fsum(total for _, total in map(regression_words.shown, self.streams.values()))

    def evidence(self) -> dict[str, Json]:
        """The numbers behind `why`: per signal bad, total, before, tolerated; odds, onset_at."""
        return regression_words.evidence(self)

    # Across restarts -----------------------------------------------------------------------

    def as_json(self) -> JsonObject:
        """Everything but the policy, small; `restore` reads it back."""
        return {}

    def restore(self, kept: JsonObject) -> None:
        """Go on where an earlier process stopped; the time between is no data."""

    # ---------------------------------------------------------------------------------------

    def _place(self, told: float, count: Callable[[], None]) -> None:
        """Count it in the tick that it tells of, or in the open one if that is closed."""
        if math.isnan(self._start):
            dt = self.rule.tick_seconds
            origin = told if self.begun_at is None else self.begun_at
            self._start = origin + (math.ceil((told - origin) / dt) - 1) * dt
            self._end = self._start + dt
        if told > self._end:
            self._waiting.append((told, count))
        else:
            count()

    def _drain(self, until: float) -> None:
        waiting, self._waiting = self._waiting, deque()
        for told, count in waiting:
            if told > until:
                self._waiting.append((told, count))
            else:
                count()

    def _count(self, stream: Stream, at: float, measure: Measure, *, counts: bool) -> None:
        since = -math.inf if self.begun_at is None else self.begun_at
        if not stream.take(at, measure, since=since, counts=counts):
            return
        if isinstance(measure, Check) and not stream.counts_by_bound:
            self.hard.look(ok=measure.outcome is CheckOutcome.OK)
        elif isinstance(measure, Ratio):
            self.hard.count(measure.bad, measure.total)

    def _close_tick(self) -> None:
        start, end = self._start, self._end
        age = self._age(start)
        if self.begun_at is not None:
            self._compare(start, end, math.inf if age is None else age)
        for stream in self.streams.values():
            stream.close(start, end, age_seconds=age, neutral=self.compares)
        if all(end - s.taken_at > s.max_age_seconds for s in self.streams.values()):
            self.hard.stop()
        if any(s.gapped for s in self.streams.values() if not s.counts_by_bound):
            self.hard.stop()  # latency falls silent in an outage: no request succeeds
        down = self.hard.close(start, neutral=self.compares or age is None)
        young = age is not None and age < 60
        self.downs.add(start, end, None if down is None or young else [1.0, float(down)])
        self._judge(end)
        self._start, self._end = end, self._next(end)
        if self._waiting:
            self._drain(self._end)

    def _age(self, start: float) -> float | None:
        if self.begun_at is None:
            return None
        dt = self.rule.tick_seconds
        return math.inf if self.at_once else round((start - self.begun_at) / dt) * dt

    def _next(self, end: float) -> float:
        dt = self.rule.tick_seconds
        if self.begun_at is None:
            return end + dt
        return self.begun_at + (round((end - self.begun_at) / dt) + 1) * dt

    def _align(self, at: float) -> None:
        """Ticks begin at `at`; those that were closed already stay closed."""
        dt = self.rule.tick_seconds
        passed = max(0, math.ceil((self._start - at) / dt))
        self._start = at + passed * dt
        self._end = self._start + dt
        self._drain(self._end)

    def _compare(self, start: float, end: float, age: float) -> None:
        self.sides.close(start, end, age_seconds=age)
        if not self.sides.on or self.sides.serving(end):
            return
        if not self.sides.fresh_new(end) and not any(s.fresh(end) for s in self.streams.values()):
            return  # nobody is seen: that is a gap, not the end of the old machines
        self.held_odds = self.sides.odds if self.crossed else 0.0
        raise_by(self, self.sides, end)
        self.sides.on = False
        for stream in self.streams.values():
            if stream.baseline is not None:
                stream.begin(stream.baseline)
        self.hard.stop()

    def _judge(self, end: float) -> None:
        """Cross, or come back."""
        if self.held_odds and not self._fresh(end):
            self.held_odds = 0.0
        odds = self.odds
        if odds >= self.rule.odds or (self.hard.fired and odds >= WATCHING):
            self.crossed = True
        if not self.crossed:
            return
        accusers = [s for s in self.streams.values() if s.judges and (s.odds > 1 or self.held_odds)]
        if not self.compares and accusers and all(s.well(JUST_NOW) for s in accusers):
            self._forget()
        elif odds < WATCHING and not self.hard.streak:
            self.crossed = False

    def _forget(self) -> None:
        """What was counted accuses nobody any more."""
        for stream in self.streams.values():
            stream.forget()
        for comparison in self.sides.comparisons.values():
            comparison.forget()
        self.hard.stop()
        self.crossed, self.held_odds = False, 0.0

    def _anew(self) -> None:
        """Judge the release from here on."""
        assert self.frozen is not None or self.at_once, "frozen before"
        if self.frozen is not None:
            for name, stream in self.streams.items():
                stream.begin(self.frozen.baselines[name])
        self.hard = HardDown(None if self.frozen is None else self.frozen.need)
        self.crossed, self.held_odds, self._excused = False, 0.0, False

    def _fresh(self, now: float) -> bool:
        return any(s.fresh(now) for s in self.streams.values()) or (
            self.compares and self.sides.fresh_new(now)
        )
