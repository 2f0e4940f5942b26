"""One of the counts that a regression trigger compares: errors, health or latency.

It gathers what came in the open tick, keeps the history, and carries the evidence since the
release. Whether all streams together are enough is decided elsewhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

from rollbackd.core.bad_run import BadRun
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.facts import Histogram, Measure, MeasureKind, Ratio
from rollbackd.core.frozen import Baseline
from rollbackd.core.history import History
from rollbackd.core.kinds import LATENCY, Kind
from rollbackd.core.model import ProbeName
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.recall import bounds_of, recalled
from rollbackd.core.rows import LOOK_BOUNDS, PLAIN, Row, added, failed_ones, slow_ones
from rollbackd.core.rules import Regression

WARM_SECONDS, WARM_TOLERANCE = 60.0, 0.10
FEW_EVENTS, FEW_TOLERANCE = 30.0, 0.06  # a tick of so few says less
AGE_STEPS: Final = 2.5  # of the tick or the interval: older than this, nothing is known
JUST_NOW, LATELY = 3, 6  # ticks with data
SUMS: Final = (Ratio, Histogram)  # they tell of the time since the sample before


Seen: TypeAlias = tuple[float, float, bool]  # bad, total, and whether that is over the tolerance


class Stream:
    """Fed and closed by its regression watch, tick by tick."""

    __slots__ = (
        "baseline", "counted", "delay_seconds", "evidence", "first_at", "gap", "gap_ended_at",
        "gapped", "history", "judges", "kind", "late_row", "latest", "looks_per_tick",
        "max_age_seconds", "missed", "odds_needed", "pace_seconds", "probe", "raised", "recent",
        "row", "run", "seen_at", "slow", "taken_at", "tick_seconds", "ticks", "tolerance",
        "waited", "weight",
    )  # fmt: skip

    def __init__(self, kind: Kind, rule: Regression, probe: ProbePolicy) -> None:
        self.kind = kind
        self.probe: ProbeName = probe.name
        self.odds_needed = rule.odds
        self.tick_seconds = rule.tick_seconds
        self.delay_seconds = probe.delay_seconds
        self.pace_seconds = max(rule.tick_seconds, probe.interval_seconds)
        self.max_age_seconds = AGE_STEPS * self.pace_seconds
        self.slow = kind.name == LATENCY.name  # it counts the slow ones, not the failed ones
        self.counted = slow_ones if self.slow else failed_ones
        looks = probe.measure is MeasureKind.CHECK
        self.looks_per_tick = max(1.0, rule.tick_seconds / probe.interval_seconds) if looks else 1.0
        bounds = LOOK_BOUNDS if self.slow else PLAIN
        self.history = History(rule.history_at_most_seconds, bounds)
        self.first_at = math.inf  # the first sample of our own
        self.seen_at = -math.inf  # the newest sample, in the order they came
        self.taken_at = -math.inf  # the newest that is in a tick
        self.gap_ended_at = -math.inf
        self.baseline: Baseline | None = None
        self.tolerance = math.inf
        self.raised = 0.0  # the rate that is tolerated, too: it was there before the release
        self.weight = 0.0
        self.judges = False  # whether it can accuse the release
        self.evidence: Evidence | None = None
        self.run = BadRun()
        self.recent: deque[Seen] = deque(maxlen=LATELY)
        self.latest: deque[tuple[float, float]] = deque(maxlen=LATELY)  # bad, total; judged or not
        self.ticks = 0  # with data, since the evidence began
        self.waited = 0  # ticks that could have begun it
        self.missed = False  # a gap since the release
        self.gapped = False  # in the tick that was closed last
        self.row: Row | None = None  # of the open tick
        self.late_row: Row | None = None  # came in it, tells of the time before the release
        self.gap = False

    # What comes in -------------------------------------------------------------------------

    def arrive(self, at: float) -> bool:
        """Whether a sample is newer than all before."""
        if at <= self.seen_at:
            self.first_at = min(self.first_at, at)
            return False
        if self.first_at == math.inf:
            self.first_at = at
        self.seen_at = at
        return True

    def take(
        self, at: float, measure: Measure, *, since: float, before: float, counts: bool
    ) -> bool:
        """Take a sample into the open tick. `counts` False: seen, but not counted.

        Returns whether all it tells of is after `since`: what is not accuses nobody, and what
        tells of the time up to `before` only is kept for the guard.
        """
        previous, self.taken_at = self.taken_at, at
        history, passed = self.history, at - previous
        if passed <= self.max_age_seconds:
            history.covered_seconds += passed
        else:
            self.gap = True
            self.gap_ended_at = at if math.isfinite(previous) else self.gap_ended_at
        told = previous if isinstance(measure, SUMS) else at
        after = told - self.delay_seconds >= since
        found = self.counted(measure) if counts else None
        if found is None:
            return after
        bounds, row = found
        if bounds != history.bounds:
            history.use_bounds(bounds)
            self.row = self.late_row = None
        if after:
            self.row = row if self.row is None else added(self.row, row)
        elif at - self.delay_seconds <= before:
            self.late_row = added(self.late_row, row)
        return after

    def recall(self, samples: Sequence[tuple[float, Measure]], mark: float) -> None:
        """Put what the source still knows in front of the history. What is after `mark` is kept
        apart: it belongs to a release that is judged.
        """
        known = min(self.first_at, self.history.oldest_at)
        bounds = self.history.bounds if known < math.inf else bounds_of(samples, slow=self.slow)
        if bounds is None:
            return
        self.history.use_bounds(bounds)
        for after, before in ((mark, known), (-math.inf, min(mark, known))):
            if after < before:
                stretch = recalled(
                    samples,
                    slow=self.slow,
                    bounds=bounds,
                    after=after,
                    before=before,
                    tick_seconds=self.tick_seconds,
                    max_age_seconds=self.max_age_seconds,
                )
                self.history.recall(*stretch)

    # Ticks ---------------------------------------------------------------------------------

    def close(
        self, start_at: float, end_at: float, *, age_seconds: float | None, neutral: bool
    ) -> bool:
        """End the tick. `age_seconds` of the release as the tick began; inf: it needs no grace,
        None: no release is judged. `neutral`: something else judges it now.

        Returns whether more came to be known of the time before the release.
        """
        row, self.row = self.row, None
        late, self.late_row = self.late_row, None
        age = math.inf if age_seconds is None else age_seconds - self.delay_seconds
        self.history.add(start_at, end_at, late if age < WARM_SECONDS else row)
        self.gapped = self.gap or end_at - self.taken_at > self.max_age_seconds
        if self.gapped:
            self.gap, self.missed = False, True
            self.forget()
        if row is not None:
            self.latest.append((row[1], row[0]))
        if self.judges and not neutral and age_seconds is not None:
            self._step(start_at, row, age)
        return late is not None

    def flush(self, start_at: float, end_at: float) -> None:
        """End the tick early: it belongs to the history only."""
        row = self.row
        self.drop()
        if row is not None:
            self.history.add(start_at, end_at, row)

    def drop(self) -> None:
        """Forget what came in the open tick."""
        self.row = self.late_row = None
        self.gap = False

    def _step(self, start_at: float, row: Row | None, age: float) -> None:
        baseline, evidence = self.baseline, self.evidence
        assert baseline is not None, "it judges"
        assert evidence is not None, "it judges"
        if row is not None and self.history.bounds != baseline.bounds:
            row = None  # counted in another way than before: not to be compared
        if not evidence.started:
            if age < self.kind.grace_seconds:
                return
            if row is None:
                self.waited += 1
                return
            if self.missed and self.waited:
                evidence.skip(self.waited)
        if row is None:
            evidence.step(None)
            return
        total, bad, tolerated = row[0], row[1 + baseline.bound], self.tolerance
        warm = self.kind.warm and age < WARM_SECONDS
        if warm:
            grace = FEW_TOLERANCE if total < FEW_EVENTS else WARM_TOLERANCE
            tolerated = max(tolerated, grace)
        ratio = bad / total / tolerated
        evidence.step(ratio, tolerated * total, warm=warm)
        self.ticks += 1
        self.recent.append((bad, total, ratio > 1))
        if ratio > 1 or self.run.won:
            self.run.add(start_at, bad, total, ratio)

    # The release ---------------------------------------------------------------------------

    def begin(self, baseline: Baseline, *, age_seconds: float = 0.0) -> None:
        """Evidence starts anew against `baseline`, of a release that is so old already."""
        self.evidence = None
        if baseline.used:
            cap, late_cap = (
                cap_of(odds=self.odds_needed, weight=baseline.weight, ticks=ticks)
                for ticks in (baseline.early, baseline.late)
            )
            self.evidence = Evidence(
                cap=cap,
                late_cap=late_cap,
                tick_seconds=self.tick_seconds,
                age_seconds=max(0.0, age_seconds - self.delay_seconds - self.kind.grace_seconds),
                lift=self.kind.lift,
            )
        self.tolerate(baseline)
        self.ticks = self.waited = 0
        self.missed = False
        self.recent.clear()
        self.latest.clear()
        self.run.stop()

    def tolerate(self, baseline: Baseline) -> None:
        """Go on against a baseline that was raised."""
        self.baseline, self.weight = baseline, baseline.weight
        self.tolerance = baseline.tolerance
        self.judges = self.evidence is not None and baseline.tolerance < math.inf

    def forget(self) -> None:
        """What was counted accuses nobody any more."""
        if self.evidence is not None:
            self.evidence.forget()
        self.recent.clear()
        self.run.stop()

    # What is asked -------------------------------------------------------------------------

    @property
    def known_enough(self) -> bool:
        """Whether enough was seen of the time before the release."""
        return self.baseline is not None and self.baseline.enough

    @property
    def odds(self) -> float:
        return self.evidence.odds if self.judges and self.evidence is not None else 1.0

    def fresh(self, now: float) -> bool:
        return now - self.seen_at <= self.max_age_seconds

    def all_over(self, share: float) -> bool:
        """Whether every one of the last ticks with data was worse than that."""
        return len(self.latest) == LATELY and all(bad > share * total for bad, total in self.latest)

    def well(self, ticks: int) -> bool:
        """Whether its last `ticks` ticks with data were all tolerable."""
        return len(self.recent) >= ticks and not any(
            over for _, _, over in list(self.recent)[-ticks:]
        )

    def plain_rate(self) -> float | None:
        """The share of bad ones in the last ticks; None while there are too few."""
        if len(self.latest) < LATELY:
            return None
        return math.fsum([b for b, _ in self.latest]) / math.fsum([t for _, t in self.latest])

    def shown(self) -> tuple[float, float]:
        """Bad and total of the present bad run, else of the last ticks."""
        if self.run.since is not None:
            return self.run.bad, self.run.total
        return math.fsum(s[0] for s in self.recent), math.fsum(s[1] for s in self.recent)
