"""One `breach_when` or `clear_when` compiled for the measure of its probe."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from rollbackd.config.schema_triggers import BoundSpec, BurnRateSpec, ConditionSpec, Limit
from rollbackd.config.scope import Scope
from rollbackd.config.types import parse_duration, parse_ratio, refused
from rollbackd.core.facts import MeasureKind
from rollbackd.core.rules import (
    Bound,
    BurnRateBound,
    Comparison,
    Condition,
    Failing,
    FailingMachines,
    QuantileBound,
    RatioBound,
    ValueBound,
)

QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_COMPARISONS = tuple(str(comparison) for comparison in Comparison)
_WANTED = {
    MeasureKind.CHECK: "failing: true",
    MeasureKind.RATIO: "above: 5%",
    MeasureKind.HISTOGRAM: "p95: {above: 2s}",
    MeasureKind.VALUE: "above: 100",
}
LONGEST_BURN_SECONDS = 3 * 86_400.0
_UPWARD = frozenset({Comparison.ABOVE, Comparison.AT_LEAST})


def compile_condition(
    spec: ConditionSpec, measure: MeasureKind, kind: str, scope: Scope
) -> Condition | None:
    """The condition, or None when the findings say what is wrong with it."""
    given = [name for name in type(spec).model_fields if getattr(spec, name) is not None]
    comparisons = [name for name in given if name in _COMPARISONS]
    wanted = f"write one, such as {_WANTED[measure]}"
    if len(comparisons) > 1:
        scope.into(comparisons[1]).key_error("more than one comparison", "keep exactly one of them")
    elif not given:
        scope.key_error("no condition", wanted)
    elif len(given) > 1:
        scope.into(given[1]).key_error("more than one condition", "keep exactly one of them")
    elif not _fits(given[0], measure, kind):
        scope.into(given[0]).key_error(
            f"{given[0]} does not fit a {kind} probe: it gives {_gives(measure)}", wanted
        )
    else:
        return _compile(spec, given[0], measure, scope)
    return None


def _fits(name: str, measure: MeasureKind, kind: str) -> bool:
    match measure:
        case MeasureKind.CHECK:
            return name == "failing" or (name == "failing_machines" and kind == "fly")
        case MeasureKind.HISTOGRAM:
            return name in QUANTILES
        case MeasureKind.RATIO:
            return name in _COMPARISONS or name == "burn_rate"
        case MeasureKind.VALUE:
            return name in _COMPARISONS


def _gives(measure: MeasureKind) -> str:
    return {
        MeasureKind.CHECK: "checks",
        MeasureKind.RATIO: "a ratio",
        MeasureKind.HISTOGRAM: "buckets",
        MeasureKind.VALUE: "a plain number",
    }[measure]


def _compile(
    spec: ConditionSpec, name: str, measure: MeasureKind, scope: Scope
) -> Condition | None:
    if name == "failing":
        return Failing(failing=bool(spec.failing))
    if isinstance(inner := getattr(spec, name), BurnRateSpec):
        return _burn_rate(inner, scope.into(name))
    bound = _bound(
        inner if isinstance(inner, BoundSpec) else spec,
        measure,
        scope.into(name) if isinstance(inner, BoundSpec) else scope,
    )
    if bound is None:
        return None
    if name == "failing_machines":
        return FailingMachines(bound=bound)
    if name in QUANTILES:
        return QuantileBound(quantile=QUANTILES[name], bound=bound)
    return RatioBound(bound=bound) if measure is MeasureKind.RATIO else ValueBound(bound=bound)


def _burn_rate(spec: BurnRateSpec, scope: Scope) -> BurnRateBound | None:
    bound = _bound(spec, MeasureKind.VALUE, scope)  # a plain number: how many times
    windows = spec.windows
    if not 0 < spec.slo < 1:
        all_or_none = "no budget to burn" if spec.slo else "nothing but budget"
        scope.into("slo").error(f"an slo of {spec.slo:.0%} leaves {all_or_none}", "write 99.9%")
    elif windows.long > LONGEST_BURN_SECONDS:
        scope.into("windows", "long").error("the long window is longer than 3d")
    elif not 0 < windows.short < windows.long:
        scope.into("windows", "short").error(
            "the short window must be shorter than the long one, and not 0", "long: 1h, short: 5m"
        )
    elif bound is not None and bound.limit <= 0:
        scope.error("a burn rate is greater than 0", "14.4 uses up 2 % of 30 days' budget in 1h")
    elif bound is not None:
        return BurnRateBound(
            slo=spec.slo, bound=bound, long_seconds=windows.long, short_seconds=windows.short
        )
    return None


def _bound(spec: BoundSpec, measure: MeasureKind, scope: Scope) -> Bound | None:
    given = [name for name in _COMPARISONS if getattr(spec, name) is not None]
    if len(given) != 1:
        message = "more than one comparison" if given else "no comparison"
        where = scope.into(given[1]) if given else scope
        where.key_error(message, "write exactly one of above, at_least, below, at_most")
        return None
    try:
        limit = _limit(getattr(spec, given[0]), measure)
    except PydanticCustomError as error:
        context = error.context or {}
        scope.into(given[0]).error(context["text"], context["hint"])
        return None
    return Bound(comparison=Comparison(given[0]), limit=limit)


def _limit(value: Limit, measure: MeasureKind) -> float:
    match measure:
        case MeasureKind.RATIO:
            return parse_ratio(value)
        case MeasureKind.HISTOGRAM:
            return parse_duration(value)
        case MeasureKind.CHECK | MeasureKind.VALUE:
            return _number(value)


def _number(value: Limit) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise refused("expected a plain number", "this probe's value has no unit") from None
    if isinstance(value, bool) or number - number != 0:  # NaN or infinite
        raise refused("expected a plain number")
    return number


def check_breach(breach: Condition, scope: Scope) -> None:
    """What only a `clear_when` may say."""
    if breach == Failing(failing=False):
        scope.into("failing").error("failing: false is how it clears", "write failing: true")
    if isinstance(breach, BurnRateBound) and not _upward(breach.bound):
        scope.into("burn_rate").error("a slow burn is no breach", "write above: 14.4")


def check_clear(breach: Condition, clear: Condition, scope: Scope) -> None:
    """`clear_when` must judge the same thing, from the other side, without overlap."""
    if isinstance(breach, Failing) or isinstance(clear, Failing):
        same = isinstance(breach, Failing) and isinstance(clear, Failing)
        if not same or breach == clear:
            scope.error("clear_when is on the wrong side: it must be the opposite of breach_when")
        return
    if type(breach) is not type(clear) or _measures(breach) != _measures(clear):
        scope.error("clear_when judges something else than breach_when", "use the same measure")
        return
    if _upward(breach.bound) == _upward(clear.bound) or _overlap(breach.bound, clear.bound):
        side = "below" if _upward(breach.bound) else "above"
        scope.error(
            "clear_when is on the wrong side of breach_when",
            f"a breach that is {breach.bound.comparison} clears {side} that limit or further",
        )


def _measures(condition: Condition) -> tuple[float, ...]:
    """What has to be the same in both, besides the kind of condition."""
    match condition:
        case QuantileBound(quantile=quantile):
            return (quantile,)
        case BurnRateBound(slo=slo, long_seconds=long, short_seconds=short):
            return slo, long, short
        case _:
            return ()


def _upward(bound: Bound) -> bool:
    return bound.comparison in _UPWARD


def _overlap(breach: Bound, clear: Bound) -> bool:
    """Whether some value is in breach and clear at once (the two point in opposite directions)."""
    if _upward(breach):
        return clear.limit > breach.limit or (
            breach.holds(breach.limit) and clear.holds(breach.limit)
        )
    return clear.limit < breach.limit or (breach.holds(breach.limit) and clear.holds(breach.limit))
