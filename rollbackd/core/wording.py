"""Numbers for people: the number first, then its unit. It only words, it never judges."""

from __future__ import annotations

import math
from typing import assert_never

from rollbackd.core.burn_rate import ENOUGH_COVERED, BurnRate
from rollbackd.core.model import Json, TriggerState
from rollbackd.core.rules import (
    Bound,
    BurnRateBound,
    Comparison,
    Failing,
    FailingMachines,
    QuantileBound,
    RatioBound,
    ValueBound,
)
from rollbackd.core.watch import SignalWatch

_WORDS = {
    Comparison.ABOVE: "above",
    Comparison.AT_LEAST: "at least",
    Comparison.BELOW: "below",
    Comparison.AT_MOST: "at most",
}
_FOUR_DIGITS, _READABLE = 1e4, 1e12
MINUTE, HOUR, DAY = 60, 3600, 86400


def count(number: float) -> str:
    """1,004, or 12.5 where there are fractions."""
    return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"


def some(number: float, noun: str) -> str:
    """1 look, 3 looks, 1,004 requests."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if ratio < 0.1 else f"{100 * ratio:.0f} %"  # noqa: PLR2004 — 9.9 %, then 10 %


def plain(number: float) -> str:
    return f"{number:,.6g}"


def figure(number: float) -> str:
    """Four digits, or all of those before the point while people can read them."""
    return f"{number:,.0f}" if _FOUR_DIGITS <= abs(number) < _READABLE else f"{number:.4g}"


def seconds(duration: float) -> str:
    """0 s, 51 ms, 2.3 s, 4 min, 3 h, 2 d."""
    if 0 < duration < 1:
        return f"{1000 * duration:.0f} ms"
    for size, unit, upto in ((1, "s", 2 * MINUTE), (MINUTE, "min", 2 * HOUR), (HOUR, "h", 2 * DAY)):
        if duration < upto:
            return f"{duration / size:.3g} {unit}"
    return f"{duration / DAY:.3g} d"


def pause(until: float, by: str, now: float) -> str:
    """`paused for 34 min more by ann: a sale`; `by` is who, and why."""
    left = "" if math.isinf(until) else f" for {seconds(until - now)} more"
    return f"paused{left} by {by}"


def threshold(watch: SignalWatch) -> float | None:
    match watch.signal.breach:
        case Failing():
            breaches = watch.signal.breaches
            return None if breaches is None else float(breaches.at_least)
        case (
            FailingMachines(bound=bound)
            | RatioBound(bound=bound)
            | QuantileBound(bound=bound)
            | ValueBound(bound=bound)
            | BurnRateBound(bound=bound)
        ):
            return bound.limit
        case _:
            assert_never(watch.signal.breach)


def signal(watch: SignalWatch, now: float) -> str:
    """One line on where a signal stands."""
    probe, standing = watch.signal.probe, watch.state(now)
    if watch.refused_at is not None and standing is TriggerState.ERROR:
        return f"{probe} answers but refuses the probe, and nothing else agrees that it is down"
    if not watch.fresh(now):
        return f"{probe}: {_nothing(watch, now)}"
    text = _measured(watch)
    if standing is TriggerState.PENDING and watch.signal.for_seconds:
        held, wanted = seconds(watch.covered_seconds), seconds(watch.signal.for_seconds)
        text += f", for {held} of {wanted}"
    return text


def evidence(watch: SignalWatch, now: float) -> dict[str, Json]:
    found: dict[str, Json] = {}
    standing = watch.state(now)
    if standing in {TriggerState.BREACHED, TriggerState.PENDING} and watch.onset is not None:
        found["onset_at"] = watch.onset
    if standing is TriggerState.ERROR:
        refused = watch.refused_at is not None
        found["reason"] = "misconfigured_probe" if refused else watch.missed
    if watch.asleep and standing is TriggerState.NO_DATA:
        found["reason"] = "asleep"
    if isinstance(watch.signal.breach, RatioBound):
        found["bad"], found["total"] = watch.gauge.ratio.bad, watch.gauge.ratio.total
    if watch.gauge.burn is not None:
        found |= _burnt(watch.gauge.burn)
    if watch.signal.breaches is not None:
        found["failed"], found["looks"] = watch.tally.bad, len(watch.tally)
    return found


def _burnt(burn: BurnRate) -> dict[str, Json]:
    long, short = burn.rates or (None, None)
    windows = (("long", burn.long, long), ("short", burn.short, short))
    return {
        name: {"burn_rate": rate, "bad": window.bad, "total": window.total, "covered": window.share}
        for name, window, rate in windows
    }


def _nothing(watch: SignalWatch, now: float) -> str:
    if watch.asleep:
        return "the app is asleep"
    if watch.missed:
        return f"cannot be looked at ({watch.missed.replace('_', ' ')})"
    gauge = watch.gauge
    if watch.thin and watch.sample_at < watch.blocked_until:
        wait = seconds(watch.blocked_until - watch.sample_at)
        return f"nothing was counted for too long, judged again in {wait}"
    if gauge.burn is not None and gauge.looks and not gauge.burn.covered:
        return _uncovered(gauge.burn)
    if gauge.thin and gauge.looks:
        return f"{count(gauge.samples)} of {some(watch.signal.min_samples, 'sample')} needed"
    if watch.thin:
        return "its samples do not tell"
    return f"no sample for {seconds(max(0.0, now - watch.seen_at))}"


def _uncovered(burn: BurnRate) -> str:
    least = min(burn.short, burn.long, key=lambda window: window.share)
    return (
        f"samples cover {percent(least.share)} of its {_span(least.seconds)}, "
        f"{percent(ENOUGH_COVERED)} needed"
    )


def _measured(watch: SignalWatch) -> str:
    condition, gauge, probe = watch.signal.breach, watch.gauge, watch.signal.probe
    value = gauge.value or 0.0
    match condition:
        case Failing(failing=failing):
            return f"{probe} {_looks(watch, failing=failing)}"
        case FailingMachines(bound=bound):
            compared = _against(bound, value, count(bound.limit))
            return f"{probe}: {some(value, 'machine')} failing, {compared}"
        case RatioBound(bound=bound):
            of = f"({count(gauge.ratio.bad)} of {count(gauge.ratio.total)})"
            return f"{probe} {percent(value)} {of} {_against(bound, value, percent(bound.limit))}"
        case QuantileBound(quantile=quantile, bound=bound):
            of = f"({some(gauge.histogram.total, 'request')})"
            name = f"p{100 * quantile:.4g}"
            compared = _against(bound, value, seconds(bound.limit))
            return f"{probe} {name} {seconds(value)} {of} {compared}"
        case BurnRateBound():
            return f"{probe} {_burning(watch, condition)}"
        case ValueBound(bound=bound):
            return f"{probe} {plain(value)} {_against(bound, value, plain(bound.limit))}"
        case _:
            assert_never(condition)


def _burning(watch: SignalWatch, condition: BurnRateBound) -> str:
    """`burn the budget of 99.9 % at 21× over 1 h and 35× over 5 min, above 14.4×`."""
    burn, bound = watch.gauge.burn, condition.bound
    long, short = (burn and burn.rates) or (0.0, 0.0)
    objective = f"{100 * condition.slo:.6g} %"
    over = (
        f"{long:.3g}× over {_span(condition.long_seconds)}"
        f" and {short:.3g}× over {_span(condition.short_seconds)}"
    )
    compared = _against(bound, min(long, short), f"{plain(bound.limit)}×")
    return f"burn the budget of {objective} at {over}, {compared}"


def _span(window: float) -> str:
    """1 h, not 60 min: windows are written in whole units."""
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"))
    for size, unit in units:
        if window >= size and window % size == 0:
            return f"{window / size:.6g} {unit}"
    return seconds(window)


def _looks(watch: SignalWatch, *, failing: bool) -> str:
    word = "failing" if failing else "passing"
    if watch.signal.breaches is None:
        return word if watch.bad_since is not None else f"not {word}"
    bad, looks = watch.tally.bad, len(watch.tally)
    # Of one look there is no "last": it is the only one.
    return f"{word} in {bad} of {'' if looks == 1 else 'the last '}{some(looks, 'look')}"


def _against(bound: Bound, value: float, shown: str) -> str:
    """`above 5 %` or `not above 5 %`."""
    return f"{'' if bound.holds(value) else 'not '}{_WORDS[bound.comparison]} {shown}"
