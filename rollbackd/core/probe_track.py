"""The newest of one probe: what the page shows, and what keeps late or broken samples out."""

from __future__ import annotations

import math
from typing import Final, assert_never

from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Histogram,
    Measure,
    MeasureKind,
    Miss,
    Ratio,
    Value,
)
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.snapshot import ProbeView
from rollbackd.core.window import RatioRing

DOWN_RATIO: Final = 0.5  # this share of bad requests is an outage, whatever the thresholds say
DOWN_TOTAL: Final = 5.0


class ProbeTrack:
    """One probe of one target."""

    def __init__(self, policy: ProbePolicy) -> None:
        self.policy = policy
        self.at = -math.inf  # of the newest sample of any worth
        self.outcome = ""
        self.detail = ""
        self.looked_at: float | None = None
        self.ok_at: float | None = None
        self.seconds: float | None = None
        self.value: float | None = None
        self.failures_in_a_row = 0
        self.asleep = False
        self.woke_at: float | None = None  # first sample after a sleep, until the first success
        self.recent = RatioRing(policy.window_seconds, policy.interval_seconds)

    def take(self, at: float, measure: Measure) -> bool:
        """Whether the sample is new and of any worth. Nothing counted is no evidence."""
        if at <= self.at or not sound(measure) or _kind(measure) is not self.policy.measure:
            return False
        if isinstance(measure, (Ratio, Histogram)) and _total(measure) <= 0:
            return False
        self.at = self.looked_at = at
        if self.asleep:
            self.asleep, self.woke_at = False, at
        self._show(at, measure)
        return True

    def miss(self, fact: Miss) -> bool:
        """Whether this is news: not older than the newest sample."""
        if fact.at < self.at:
            return False
        self.outcome, self.detail = "miss", fact.detail or fact.reason
        self.looked_at = fact.at
        return True

    def sleep(self, at: float) -> bool:
        """Whether this is news: not older than the newest sample."""
        if at < self.at:
            return False
        self.outcome, self.detail, self.looked_at = "asleep", "", at
        self.asleep = True
        return True

    def says_down(self, now: float) -> bool:
        """Whether the newest of this probe agrees that users cannot reach the app."""
        if self.policy.dependency or now - self.at > 2 * self.policy.interval_seconds:
            return False
        if self.policy.measure is MeasureKind.CHECK:
            return self.outcome == CheckOutcome.FAILED.value
        ratio = self.recent.ratio
        return ratio is not None and ratio >= DOWN_RATIO and self.recent.total >= DOWN_TOTAL

    def view(self) -> ProbeView:
        return ProbeView(
            name=self.policy.name,
            kind=self.policy.kind,
            interval_seconds=self.policy.interval_seconds,
            outcome=self.outcome,
            detail=self.detail,
            at=self.looked_at,
            ok_at=self.ok_at,
            seconds=self.seconds,
            value=self.value,
            samples=self.recent.total,
            failures_in_a_row=self.failures_in_a_row,
        )

    def _show(self, at: float, measure: Measure) -> None:
        self.outcome, self.detail = CheckOutcome.OK.value, ""
        match measure:
            case Check(outcome=outcome, seconds=seconds, why=why):
                self.outcome, self.detail, self.seconds = outcome.value, why, seconds
            case Ratio(bad=bad, total=total):
                self.recent.add(at, bad, total)
                self.value = self.recent.ratio
            case Value(value=value):
                self.value = value
            case Histogram():
                pass
            case _:
                assert_never(measure)
        if self.outcome == CheckOutcome.OK.value:
            self.ok_at, self.failures_in_a_row, self.woke_at = at, 0, None
        else:
            self.failures_in_a_row += 1


def is_down(measure: Ratio) -> bool:
    return measure.bad >= DOWN_RATIO * measure.total


def sound(measure: Measure) -> bool:
    """No NaN, no infinity, no negative counts, buckets that only grow and end in infinity."""
    match measure:
        case Check():
            return True
        case Ratio(bad=bad, total=total):
            return math.isfinite(total) and 0 <= bad <= total
        case Value(value=value):
            return math.isfinite(value)
        case Histogram(buckets=buckets):
            return _sound_buckets(buckets)
        case _:
            assert_never(measure)


def _sound_buckets(buckets: tuple[tuple[float, float], ...]) -> bool:
    if not buckets or buckets[-1][0] != math.inf or not math.isfinite(buckets[-1][1]):
        return False
    before_bound, before = -math.inf, 0.0
    for bound, count in buckets:
        if not bound > before_bound or not count >= before:
            return False
        before_bound, before = bound, count
    return True


def _kind(measure: Measure) -> MeasureKind:
    match measure:
        case Check():
            return MeasureKind.CHECK
        case Ratio():
            return MeasureKind.RATIO
        case Histogram():
            return MeasureKind.HISTOGRAM
        case Value():
            return MeasureKind.VALUE
        case _:
            assert_never(measure)


def _total(measure: Ratio | Histogram) -> float:
    return measure.total if isinstance(measure, Ratio) else measure.buckets[-1][1]
