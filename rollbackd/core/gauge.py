"""The number one signal reads off its samples. It compares it with a bound and judges no more."""

from __future__ import annotations

from typing import assert_never

from rollbackd.core.facts import Check, CheckOutcome, Histogram, Measure, Ratio, Value
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
    """Summed over the window where the signal counts, the newest number where it does not."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.ratio = RatioRing(signal.window_seconds, signal.interval_seconds)
        self.histogram = HistogramRing(signal.window_seconds, signal.interval_seconds)
        self.value: float | None = None
        self.looks = 0

    def clear(self) -> None:
        self.ratio.clear()
        self.histogram.clear()
        self.value = None
        self.looks = 0

    def read(self, at: float, measure: Measure, outcome: CheckOutcome) -> float | None:
        """Take a sample in and say what the signal stands at; None: it does not fit."""
        self.looks += 1
        self.value = self._read(at, measure, outcome)
        return self.value

    @property
    def sums(self) -> bool:
        """Whether the number is a sum over the window, which a gap would falsify."""
        return isinstance(self.signal.breach, RatioBound | QuantileBound)

    @property
    def samples(self) -> float:
        match self.signal.breach:
            case RatioBound():
                return self.ratio.total
            case QuantileBound():
                return self.histogram.total
            case _:
                return self.looks

    @property
    def thin(self) -> bool:
        return self.samples < self.signal.min_samples

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
            case ValueBound(), Value(value=value):
                return value
            case _:
                return None


def holds(condition: Condition, value: float) -> bool:
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
