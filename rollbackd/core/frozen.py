"""What the release will be compared with, frozen when it was first seen. Values and how they are
made from the histories; nothing here changes afterwards but a tolerance that is raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from rollbackd.core.baseline import (
    BLOCK_SECONDS,
    MISSED_BASELINE,
    ORDINARY_SECONDS,
    ORDINARY_TIMES,
    RECENT_BAD,
    RECENT_BAD_LOOKS,
    TOLERANCE_AT_MOST,
    Slack,
    learn,
    ordinary,
    patience,
    recent,
)
from rollbackd.core.carried import KEPT_SECONDS
from rollbackd.core.kinds import ERRORS, LATENCY
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rows import Ticks

LEAST_SECONDS, LEAST_TICKS = 60.0, 3
SPARE_TICKS, SPARE_SHARE = 2, 1 / 60
KNOWN_SHARE: Final = 0.9  # of the history that is needed
JUST_BEFORE_SECONDS, JUST_BEFORE_BAD = 30.0, 3.0  # trouble too young to show in a minute
CALM_TICKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One stream before the release. `used`: it takes part, with `weight` (they sum to 1).

    `bounds`, `bound`: which of the bounds bad ones were counted by. `ill_since`: where it was
    worse than tolerable already, the start of that. `early`, `late`: the ticks that are needed at
    least, see `patience`. `before`: the newest ticks.
    """

    rate: float
    tolerance: float
    early: int
    late: int
    weight: float
    used: bool
    bounds: tuple[float, ...]
    bound: int
    covered_seconds: float
    enough: bool  # of the time before was seen
    unbroken: bool
    looks: bool  # few events a tick: two bad ones are many
    ill_since: float | None = None
    ill_rate: float = 0.0
    before: Ticks = ([], [])

    def raised(self, rate: float, slack: Slack, *, since: float) -> Baseline:
        """Tolerating this rate, too, because it was there before the release could be blamed."""
        tolerance = max(self.tolerance, slack.over(rate))
        if tolerance <= TOLERANCE_AT_MOST:
            return replace(self, tolerance=tolerance)
        if self.tolerance == math.inf:
            return self
        return replace(self, tolerance=math.inf, ill_since=since, ill_rate=rate)

    def as_json(self) -> JsonObject:
        finite = None if self.tolerance == math.inf else self.tolerance
        bounds: list[Json] = [*self.bounds]
        before: list[Json] = [[*column] for column in self.before]
        return {**asdict(self), "tolerance": finite, "bounds": bounds, "before": before}


def baseline_of(kept: JsonObject) -> Baseline:
    """Read back what `as_json` wrote."""
    odd = {"tolerance", "bounds", "before"}
    fields = {key: value for key, value in kept.items() if key not in odd}
    tolerance, bounds, before = (kept[key] for key in ("tolerance", "bounds", "before"))
    assert isinstance(bounds, list), "written by as_json"
    assert isinstance(before, list), "written by as_json"
    bad, total = ([float(str(v)) for v in column] for column in before if isinstance(column, list))
    return Baseline(
        **fields,  # type: ignore[arg-type]  # as_json wrote these very fields
        tolerance=math.inf if tolerance is None else float(str(tolerance)),
        bounds=tuple(float(str(b)) for b in bounds),
        before=(bad, total),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a stream knows of the time before `at`. `looks`: events a tick, where they are looks."""

    name: str
    weight: float
    slack: Slack
    ticks: Ticks
    bounds: tuple[float, ...]
    bound: int
    covered_seconds: float
    unbroken: bool  # the last minutes were covered, too
    fresh: bool  # its source still tells
    pace_seconds: float
    looks: float

    def watched(self, at_least_seconds: float) -> bool:
        """Whether it was seen all the while, but for what no one is ever without: a first and a
        last sample cannot cover all of it, and of an hour a minute is lost to single gaps.
        """
        spare = max(SPARE_TICKS * self.pace_seconds, SPARE_SHARE * at_least_seconds)
        return self.covered_seconds >= at_least_seconds - spare

    def known(self, at_least_seconds: float) -> bool:
        """Whether enough of it was seen to compare with, while others were seen all the while."""
        return self.covered_seconds >= KNOWN_SHARE * at_least_seconds


def freeze(
    pasts: Sequence[Past], *, at: float, tick_seconds: float, at_least_seconds: float
) -> dict[str, Baseline]:
    """A baseline per stream. One with too little history is left out where another has enough.

    What nobody saw is a gap; what a single source did not tell is a few missing ticks of it.
    """
    watched = any(p.watched(at_least_seconds) for p in pasts)
    unbroken = any(p.unbroken for p in pasts)
    enough = [p for p in pasts if p.fresh and p.known(at_least_seconds)] if watched else []
    used = enough if enough and unbroken else list(pasts)
    weights = math.fsum(p.weight for p in used)
    frozen = {
        p.name: _baseline(
            p,
            at=at,
            tick_seconds=tick_seconds,
            beta=MISSED_BASELINE / len(used),
            weight=p.weight / weights if p in used else 0.0,
            enough=p in enough,
            unbroken=unbroken and p.fresh,
        )
        for p in pasts
    }
    return tied(frozen)


def tied(baselines: dict[str, Baseline]) -> dict[str, Baseline]:
    """A look fails where a request does: what errors may do, looks may do, too."""
    errors, health = baselines.get("errors"), baselines.get("health")
    if errors is None or health is None or not errors.used or errors.tolerance <= health.tolerance:
        return baselines
    tolerant = replace(
        health,
        tolerance=errors.tolerance,
        ill_since=errors.ill_since,
        ill_rate=errors.ill_rate,
    )
    return {**baselines, "health": tolerant}


def _baseline(
    past: Past,
    *,
    at: float,
    tick_seconds: float,
    beta: float,
    weight: float,
    enough: bool,
    unbroken: bool,
) -> Baseline:
    bad, total = past.ticks
    least = max(LEAST_TICKS, math.ceil(LEAST_SECONDS / past.pace_seconds))
    learned = learn(
        bad,
        total,
        slack=past.slack,
        beta=beta,
        tick_seconds=tick_seconds,
        at_least=least,
        looks=past.looks,
    )
    # Latency varies more than coins do in every app, and looks are too few to tell.
    phi = learned.phi if past.name == ERRORS.name else 1.0
    needed = patience(
        learned.persistence, phi=phi, at_least=least, strays=past.name == LATENCY.name
    )
    looks = math.fsum(total) <= past.looks * len(total)
    rate = lately(past.ticks, tick_seconds=tick_seconds, looks=looks)
    tolerance = max(learned.tolerance, past.slack.over(rate) if rate else 0.0)
    tolerance = tolerance if tolerance <= TOLERANCE_AT_MOST else math.inf
    # A short history has a high upper bound although nothing was bad in it.
    worst = max(learned.rate, rate)
    if math.fsum(total) > 0:
        usual = ordinary(bad, total, round(ORDINARY_SECONDS / tick_seconds))
        worst = max(worst, usual / ORDINARY_TIMES)
    ill = tolerance == math.inf and past.slack.over(worst) > TOLERANCE_AT_MOST
    since, rate = _ill_run(bad, total, tick_seconds) if ill else (0.0, 0.0)
    kept = round(KEPT_SECONDS / tick_seconds)
    return Baseline(
        rate=learned.rate,
        tolerance=tolerance,
        early=needed.early,
        late=needed.late,
        weight=weight,
        used=weight > 0,
        bounds=past.bounds,
        bound=past.bound,
        covered_seconds=past.covered_seconds,
        enough=enough,
        unbroken=unbroken,
        looks=looks,
        ill_since=at - since if ill else None,
        ill_rate=rate,
        before=(bad[-kept:], total[-kept:]),
    )


def _ill_run(
    bad: Sequence[float], total: Sequence[float], tick_seconds: float
) -> tuple[float, float]:
    """How long ago the present trouble began, and its rate. Short remissions do not end it."""
    ticks = round(BLOCK_SECONDS / tick_seconds)
    now = math.fsum(bad[-ticks:]) / max(math.fsum(total[-ticks:]), 1.0)
    ago = calm = 0
    for back, (k, n) in enumerate(zip(reversed(bad), reversed(total), strict=True), start=1):
        if n > 0 and k < now * n / 2:
            calm += 1
            if calm == CALM_TICKS:
                break
        elif n > 0:
            ago, calm = back, 0
    return ago * tick_seconds, now


def lately(ticks: Ticks, *, tick_seconds: float, looks: bool) -> float:
    """The worst rate of the last tick, half minute, minute and five, where it is more than chance;
    or 0.
    """
    bad, total = ticks
    none = Slack(1.0, 0.0)
    many, few = (RECENT_BAD_LOOKS,) * 2 if looks else (RECENT_BAD, JUST_BEFORE_BAD)
    return max(
        recent(bad, total, slack=none, tick_seconds=tick_seconds, many=many),
        recent(
            bad,
            total,
            slack=none,
            tick_seconds=tick_seconds,
            many=few,
            windows=(tick_seconds, JUST_BEFORE_SECONDS),
        ),
    )
