"""One of the counts that a regression trigger compares: errors, health or latency.

It gathers what came in the open tick, keeps the history, and carries the evidence since the
release. Whether all streams together are enough is decided elsewhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rollbackd.core.baseline import Slack, early_persistence, late_persistence, pick_bound
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.facts import Check, CheckOutcome, Histogram, Measure, MeasureKind, Ratio
from rollbackd.core.frozen import Baseline, Past
from rollbackd.core.history import EMPTY_ROWS, History, Row
from rollbackd.core.model import ProbeName
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rules import Regression

WARM_SECONDS, WARM_TOLERANCE = 60.0, 0.10
AGE_STEPS: Final = 2.5  # of the tick or the interval: older than this, nothing is known
LOOK_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RUN_BET: Final = 0.3
JUST_NOW, LATELY = 3, 6  # ticks with data


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is compared and how strictly. `grace_seconds`: so young, a release is not judged."""

    name: str
    weight: float
    slack: Slack
    grace_seconds: float
    warm: bool  # right after the grace, one in ten is tolerated


ERRORS: Final = Kind(
    name="errors", weight=0.45, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
HEALTH: Final = Kind(
    name="health", weight=0.25, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
HEALTH_ALONE: Final = Kind(
    name="health", weight=0.70, slack=Slack(1.5, 0.0025), grace_seconds=20.0, warm=True
)
LATENCY: Final = Kind(
    name="latency", weight=0.30, slack=Slack(2.0, 0.02), grace_seconds=60.0, warm=False
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick with data."""

    bad: float
    total: float
    over: bool  # worse than tolerated


class Stream:
    """Fed and closed by its regression watch, tick by tick."""

    def __init__(self, kind: Kind, rule: Regression, probe: ProbePolicy) -> None:
        self.kind = kind
        self.probe: ProbeName = probe.name
        self.odds_needed = rule.odds
        self.tick_seconds = rule.tick_seconds
        self.delay_seconds = probe.delay_seconds
        self.pace_seconds = max(rule.tick_seconds, probe.interval_seconds)
        self.max_age_seconds = AGE_STEPS * self.pace_seconds
        self.looks_per_tick = max(1.0, rule.tick_seconds / probe.interval_seconds)
        self._looks = probe.measure is MeasureKind.CHECK
        self.history = History(rule.history_at_most_seconds, _bounds_at_first(kind))
        self.first_at = math.inf  # the first sample of our own
        self.seen_at = -math.inf  # the newest sample, in the order it came
        self.taken_at = -math.inf  # the newest that is in a tick
        self.gap_ended_at = -math.inf
        self.baseline: Baseline | None = None
        self.evidence: Evidence | None = None
        self.recent: deque[Seen] = deque(maxlen=LATELY)
        self.ticks = 0  # with data, since the evidence began
        self.waited = 0  # ticks that could have begun it
        self.missed = False  # a gap since the release, before the evidence began
        self._gap = self.gapped = False
        self.latest: deque[tuple[float, float]] = deque(maxlen=LATELY)  # judged or not
        self._row: list[float] | None = None
        self.run_since: float | None = None
        self.run_won = self.run_bad = self.run_total = 0.0

    # What comes in -------------------------------------------------------------------------

    def arrive(self, at: float) -> bool:
        """Whether a sample is newer than all before."""
        if at <= self.seen_at:
            return False
        self.seen_at = at
        self.first_at = min(self.first_at, at)
        return True

    def take(self, at: float, measure: Measure, *, since: float, counts: bool) -> bool:
        """Take a sample into the open tick. `counts` False: seen, but not counted.

        Returns whether all it tells of is after `since`; what is not is not counted either.
        """
        previous, self.taken_at = self.taken_at, at
        gap = at - previous
        if gap > self.max_age_seconds:
            self._gap = True
            self.gap_ended_at = at if math.isfinite(previous) else self.gap_ended_at
        else:
            self.history.covered_seconds += gap
        told = previous if isinstance(measure, Ratio | Histogram) else at
        if told - self.delay_seconds < since:
            return False
        row = self.row_of(measure)
        if counts and row is not None:
            same = self._row
            self._row = row if same is None else [a + b for a, b in zip(same, row, strict=True)]
        return True

    def row_of(self, measure: Measure) -> list[float] | None:
        """What a sample counts: total, then bad by each bound; None: nothing of this stream."""
        match measure:
            case Ratio(bad=bad, total=total):
                return [total, bad] if total > 0 else None
            case Histogram(buckets=buckets):
                return self._row_of_buckets(buckets)
            case Check(outcome=outcome, seconds=seconds):
                if self.kind.name != LATENCY.name:
                    refused = outcome is CheckOutcome.REFUSED
                    return None if refused else [1.0, float(outcome is CheckOutcome.FAILED)]
                if outcome is not CheckOutcome.OK or seconds is None:
                    return None
                return [1.0, *(float(seconds > bound) for bound in LOOK_BOUNDS)]
            case _:
                return None

    def _row_of_buckets(self, buckets: tuple[tuple[float, float], ...]) -> list[float] | None:
        bounds = tuple(bound for bound, _ in buckets[:-1])
        total = buckets[-1][1]
        if total <= 0 or not bounds:
            return None
        if bounds != self.history.bounds:
            self.history.use_bounds(bounds)
            self._row = None
        return [total, *(total - count for _, count in buckets[:-1])]

    # Ticks ---------------------------------------------------------------------------------

    def close(
        self, start_at: float, end_at: float, *, age_seconds: float | None, neutral: bool
    ) -> None:
        """End the tick. `age_seconds` of the release as the tick began; inf: it needs no grace,
        None: no release is judged. `neutral`: something else judges it now.
        """
        row, self._row = self._row, None
        age = None if age_seconds is None else age_seconds - self.delay_seconds
        young = age is not None and age < WARM_SECONDS
        if row is not None:
            self.latest.append((row[1], row[0]))
        self.history.add(start_at, end_at, None if young else row)
        self.gapped, self._gap = self._gap or end_at - self.taken_at > self.max_age_seconds, False
        if self.gapped:
            self.forget()
            self.missed = True
        if age is None or neutral or self.evidence is None or self.tolerance == math.inf:
            return
        self._step(start_at, self._counted(row), age)

    def flush(self, start_at: float, end_at: float) -> None:
        """End the tick early: it belongs to the history only."""
        row, self._row = self._row, None
        self._gap = False
        if row is not None:
            self.history.add(start_at, end_at, row)

    def drop(self) -> None:
        """Forget what came in the open tick."""
        self._row, self._gap = None, False

    def _counted(self, row: Row | None) -> tuple[float, float] | None:
        """Bad and total of a tick by the bound that was frozen."""
        assert self.baseline is not None, "there is evidence against it"
        if row is None or self.history.bounds != self.baseline.bounds:
            return None
        return row[1 + self.baseline.bound], row[0]

    def _step(self, start_at: float, counted: tuple[float, float] | None, age: float) -> None:
        assert self.evidence is not None, "asked by close"
        if not self.evidence.started:
            if age < self.kind.grace_seconds:
                return
            if counted is None:
                self.waited += 1
                return
            if self.missed and self.waited:
                self.evidence.skip(self.waited)
        if counted is None:
            self.evidence.step(None)
            return
        bad, total = counted
        tolerated = self.tolerance
        if self.kind.warm and age < WARM_SECONDS:
            tolerated = max(tolerated, WARM_TOLERANCE)
        ratio = bad / total / tolerated
        self.evidence.step(ratio, tolerated * total)
        self.ticks += 1
        self.recent.append(Seen(bad, total, ratio > 1))
        self._run(start_at, bad, total, ratio)

    def _run(self, start_at: float, bad: float, total: float, ratio: float) -> None:
        """Since when it is bad: where a small bet on "worse" began to win (Page's CUSUM)."""
        self.run_won = self.run_won + math.log(1 + RUN_BET * (ratio - 1))
        if self.run_won <= 0:
            self._end_run()
            return
        if self.run_since is None:
            self.run_since = start_at
        self.run_bad += bad
        self.run_total += total

    def _end_run(self) -> None:
        self.run_since = None
        self.run_won = self.run_bad = self.run_total = 0.0

    # The release ---------------------------------------------------------------------------

    def begin(self, baseline: Baseline) -> None:
        """Evidence starts anew against `baseline`."""
        self.baseline = baseline
        self.ticks = self.waited = 0
        self.missed = False
        self.recent.clear()
        self.latest.clear()
        self._end_run()
        self.evidence = self._anew(baseline)

    def _anew(self, baseline: Baseline) -> Evidence | None:
        if not baseline.used:
            return None
        cap, late_cap = (
            cap_of(odds=self.odds_needed, weight=baseline.weight, ticks=ticks)
            for ticks in (
                early_persistence(baseline.persistence),
                late_persistence(baseline.persistence),
            )
        )
        return Evidence(cap=cap, late_cap=late_cap, tick_seconds=self.tick_seconds)

    def forget(self) -> None:
        """What was counted accuses nobody any more."""
        if self.evidence is not None:
            self.evidence.forget()
        self.recent.clear()
        self._end_run()

    # What is asked -------------------------------------------------------------------------

    @property
    def tolerance(self) -> float:
        return math.inf if self.baseline is None else self.baseline.tolerance

    @property
    def judges(self) -> bool:
        """Whether it can accuse the release."""
        return self.evidence is not None and self.tolerance < math.inf

    @property
    def weight(self) -> float:
        return 0.0 if self.baseline is None or not self.baseline.used else self.baseline.weight

    @property
    def odds(self) -> float:
        return 1.0 if self.evidence is None or not self.judges else self.evidence.odds

    def fresh(self, now: float) -> bool:
        return now - self.seen_at <= self.max_age_seconds

    def well(self, ticks: int) -> bool:
        """Whether its last `ticks` ticks with data were all tolerable."""
        if len(self.recent) < ticks:
            return False
        return not any(seen.over for seen in list(self.recent)[-ticks:])

    def past(self, at: float, until: float, recent_seconds: float) -> Past:
        """What is known of the time before `at`, from stretches that began before `until`."""
        sums = self.history.sums(until)
        bound = pick_bound(sums[1:], sums[0]) if self.kind.name == LATENCY.name else 0
        bad, total = self.history.ticks(bound, until)
        if self._row is not None and until == math.inf:
            bad.append(self._row[1 + bound])
            total.append(self._row[0])
        silent = at - self.seen_at > self.max_age_seconds and until == math.inf
        return Past(
            name=self.kind.name,
            weight=self.kind.weight,
            slack=self.kind.slack,
            ticks=(bad, total),
            bounds=self.history.bounds,
            bound=bound,
            covered_seconds=self.history.covered(until),
            unbroken=not silent and self.gap_ended_at <= at - recent_seconds,
            pace_seconds=self.pace_seconds,
            looks=self.looks_per_tick if self.is_look else 1.0,
        )

    @property
    def counts_by_bound(self) -> bool:
        """Whether bad means slow."""
        return self.kind.name == LATENCY.name

    def plain_rate(self) -> float | None:
        """The share of bad ones in the last ticks; None while there are too few."""
        if len(self.latest) < LATELY:
            return None
        return sum(bad for bad, _ in self.latest) / sum(total for _, total in self.latest)

    def recall(self, samples: Sequence[tuple[float, Measure]], mark: float) -> None:
        """Put what the source still knows in front of the history; ticks end before `mark` or
        begin after it.
        """
        known = min([self.first_at, *(s.start_at for s in self.history.stretches[:1])])
        parts: dict[bool, dict[int, list[float]]] = {True: {}, False: {}}
        covered = {True: 0.0, False: 0.0}
        before = -math.inf
        for at, measure in samples:
            row = self.row_of(measure)
            if row is None or not before < at < known:
                continue
            old, gap, before = at <= mark, at - before, at
            covered[old] += gap if gap <= self.max_age_seconds else 0.0
            slot = math.ceil(at / self.tick_seconds)
            found = parts[old].get(slot)
            parts[old][slot] = (
                row if found is None else [a + b for a, b in zip(found, row, strict=True)]
            )
        if known - before <= self.max_age_seconds:
            covered[before <= mark] += known - before
        for old in (False, True):
            self.history.recall(_filled(parts[old], self.tick_seconds), covered[old])

    @property
    def is_look(self) -> bool:
        """Whether it counts looks of ours, not the traffic of users."""
        return self._looks


def _filled(slots: dict[int, list[float]], tick_seconds: float) -> list[tuple[float, float, Row]]:
    """Ticks without holes, but for long ones."""
    found: list[tuple[float, float, Row]] = []
    last = None
    for slot in sorted(slots):
        row = slots[slot]
        hole = 0 if last is None else slot - last - 1
        empty = [0.0] * len(row)
        holes = range(hole, 0, -1) if hole <= EMPTY_ROWS else ()
        found += [_tick(slot - back, tick_seconds, empty) for back in holes]
        found.append(_tick(slot, tick_seconds, row))
        last = slot
    return found


def _tick(slot: int, tick_seconds: float, row: Row) -> tuple[float, float, Row]:
    return (slot - 1) * tick_seconds, slot * tick_seconds, row


def _bounds_at_first(kind: Kind) -> tuple[float, ...]:
    return LOOK_BOUNDS if kind.name == LATENCY.name else (0.0,)
