"""The number one signal reads off its samples. It compares it with a bound and judges no more."""

from __future__ import annotations

from typing import assert_never

from rollbackd.core import readers
from rollbackd.core.burn_rate import BurnRate
from rollbackd.core.facts import Check, CheckOutcome, Histogram, Measure, Ratio, Value
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rules import (
    BurnRateBound,
    Condition,
    Failing,
    FailingMachines,
    QuantileBound,
    RatioBound,
    Signal,
    ValueBound,
)
from rollbackd.core.window import HistogramRing, RatioRing


class Gauge:
    """Summed over the window where the signal counts, the newest number where it does not.

    A burn rate reads as the slower of its two windows, which is what its bound must hold for.
    """

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.ratio = RatioRing(signal.window_seconds, signal.interval_seconds)
        self.histogram = HistogramRing(signal.window_seconds, signal.interval_seconds)
        self.burn = (
            BurnRate(signal.breach, signal.interval_seconds)
            if isinstance(signal.breach, BurnRateBound)
            else None
        )
        self.value: float | None = None
        self.looks = 0

    def clear(self) -> None:
        """Forget everything: something else runs now."""
        if self.burn is not None:
            self.burn.clear()
        self.restart()

    def restart(self) -> None:
        """Count anew, but for a burn rate: the hours before still counted against the budget."""
        self.ratio.clear()
        self.histogram.clear()
        self.value = None
        self.looks = 0

    def read(self, at: float, measure: Measure, outcome: CheckOutcome) -> float | None:
        """Take a sample in and say what the signal stands at; None: it does not fit."""
        self.looks += 1
        self.value = self._read(at, measure, outcome)
        return self.value

    def as_json(self) -> JsonObject:
        return {
            "ratio": self.ratio.as_json(),
            "histogram": self.histogram.as_json(),
            "burn": None if self.burn is None else self.burn.as_json(),
            "value": self.value,
            "looks": self.looks,
        }

    def restore(self, kept: Json) -> None:
        """Raises Odd where it does not look like what `as_json` gave."""
        self.ratio.restore(readers.member(kept, "ratio"))
        self.histogram.restore(readers.member(kept, "histogram"))
        burn = readers.member(kept, "burn")
        if self.burn is not None and isinstance(burn, dict):
            self.burn.restore(burn)
        self.value = readers.maybe(readers.finite)(readers.member(kept, "value"))
        self.looks = readers.whole(readers.member(kept, "looks"))

    @property
    def sums(self) -> bool:
        """Whether the number is a sum over the window, which a gap would falsify."""
        return isinstance(self.signal.breach, RatioBound | QuantileBound)

    @property
    def samples(self) -> float:
        if self.burn is not None:
            return self.burn.long.total
        match self.signal.breach:
            case RatioBound():
                return self.ratio.total
            case QuantileBound():
                return self.histogram.total
            case _:
                return self.looks

    @property
    def thin(self) -> bool:
        covered = self.burn is None or self.burn.covered
        return self.samples < self.signal.min_samples or not covered

    @property
    def reach_seconds(self) -> float:
        """How long a restart must be past before being well speaks of the time after it."""
        return 0.0 if self.burn is None else self.burn.short.seconds

    @property
    def smoulders(self) -> bool:
        """A burn rate that breaches over the short window, and over the long one maybe not yet."""
        breach = self.signal.breach
        return (
            isinstance(breach, BurnRateBound)
            and self.burn is not None
            and self.burn.rates is not None
            and breach.bound.holds(self.burn.rates[1])
        )

    def holds(self, condition: Condition) -> bool:
        """Whether the newest reading is as `condition` says."""
        assert self.value is not None, "asked after a reading that fits"
        if isinstance(condition, BurnRateBound) and self.burn is not None:
            return all(map(condition.bound.holds, self.burn.rates or ()))
        return _holds(condition, self.value)

    def _read(self, at: float, measure: Measure, outcome: CheckOutcome) -> float | None:
        match self.signal.breach, measure:
            case Failing(), Check():
                return float(outcome is CheckOutcome.FAILED)
            case FailingMachines(), Check(failing_machines=int(failing)):
                return float(failing)
            case RatioBound(), Ratio(bad=bad, total=total):
                self.ratio.add(at, bad, total)
                return self.ratio.ratio
            case QuantileBound(quantile=quantile), Histogram(buckets=buckets):
                self.histogram.add(at, buckets)
                return self.histogram.quantile(quantile)
            case BurnRateBound(), Ratio(bad=bad, total=total) if self.burn is not None:
                self.burn.add(at, bad, total)
                return None if self.burn.rates is None else min(self.burn.rates)
            case ValueBound(), Value(value=value):
                return value
            case _:
                return None


def _holds(condition: Condition, value: float) -> bool:
    match condition:
        case Failing(failing=failing):
            return (value > 0) == failing
        case (
            FailingMachines(bound=bound)
            | RatioBound(bound=bound)
            | QuantileBound(bound=bound)
            | ValueBound(bound=bound)
            | BurnRateBound(bound=bound)
        ):
            return bound.holds(value)
        case _:
            assert_never(condition)
