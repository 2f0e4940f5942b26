"""Facts for tests of the replay: a short life of one target, told by the second."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rollbackd.core.facts import (
    Check,
    CheckOutcome,
    Histogram,
    Measure,
    Ratio,
    ReleasesSeen,
    Sample,
)
from rollbackd.core.model import Decision, ProbeName, Release, RollBack, TargetName, TriggerName
from rollbackd.core.policy import MassSafety, Policy, TargetPolicy, TimeWindow
from rollbackd.core.rules import (
    Composite,
    DeployFailed,
    Mode,
    RatioBound,
    Regression,
    TriggerRef,
)
from rollbackd.replay.player import Player
from rollbackd.replay.told import Told
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    below,
    down,
    error_rate,
    failing,
    locks,
    release,
    slow,
    target,
    trigger,
)

REGRESSION = Regression(
    errors=ProbeName("errors"),
    health=ProbeName("health"),
    latency=ProbeName("latency"),
    tick_seconds=10,
    odds=2000,
    history_at_least_seconds=60,
    history_at_most_seconds=3600,
)
SHORT = replace(
    SAFETY,
    settle_floor_seconds=15,
    settle_ceiling_seconds=15,
    watch_seconds=120,
    cooldown_seconds=20,
    budget_rollbacks=1,
    budget_per_seconds=70,
    approval_seconds=30,
    interrupted_after_seconds=40,
    blind_after_seconds=45,
    windows=(
        TimeWindow(
            name="first half",
            days=frozenset(range(7)),
            from_minute=0,
            to_minute=3,
            tz="UTC",
            mode=Mode.APPROVE,
        ),
    ),
)
EVERYTHING = target(
    trigger(down(), name="down"),
    trigger(DeployFailed(), name="deploy-failed"),
    trigger(
        error_rate(
            0.2, for_seconds=20, min_samples=10, window_seconds=40,
            clear=RatioBound(bound=below(0.02)),
        ),
        name="errors",
        unless=(failing("database"),),
    ),
    trigger(slow(1.0, 0.9, for_seconds=10, min_samples=5, window_seconds=30), name="slow"),
    trigger(
        Composite(every=True, parts=(TriggerRef(trigger=TriggerName("errors")), locks(10))),
        name="both",
    ),
    trigger(REGRESSION, name="regression"),  # type: ignore[arg-type]  # any rule will do
    safety=SHORT,
)  # fmt: skip
CALM = target(
    trigger(down(), name="down"),
    trigger(REGRESSION, name="regression"),  # type: ignore[arg-type]  # any rule will do
    safety=replace(SAFETY, settle_floor_seconds=15, settle_ceiling_seconds=15),
)


def policy(*targets: TargetPolicy, mode: Mode = Mode.AUTO) -> Policy:
    return Policy(
        targets={one.name: one for one in targets},
        mass=MassSafety(targets=3, share=0.9, within_seconds=60),
        mode_ceiling=mode,
        tick_seconds=1,
        hash="",
    )


def named(one: TargetPolicy, name: str) -> TargetPolicy:
    return replace(one, name=TargetName(name))


def seen(at: float, *releases: Release, name: TargetName = SHOP) -> ReleasesSeen:
    return ReleasesSeen(target=name, at=at, releases=releases)


def sample(at: float, probe: str, measure: Measure, name: TargetName = SHOP) -> Sample:
    return Sample(target=name, probe=ProbeName(probe), at=at, measure=measure)


def look(at: float, name: TargetName = SHOP, *, ok: bool = True) -> Sample:
    return sample(at, "health", Check(outcome=CheckOutcome("ok" if ok else "failed")), name)


def errors(at: float, bad: float, total: float = 1000, name: TargetName = SHOP) -> Sample:
    return sample(at, "errors", Ratio(bad=bad, total=total), name)


def times(at: float, slow_ones: float = 20, name: TargetName = SHOP) -> Sample:
    buckets = ((0.1, 700.0), (0.5, 1000.0 - slow_ones), (math.inf, 1000.0))
    return sample(at, "latency", Histogram(buckets=buckets), name)


def life(
    *,
    came_at: float = 1000.0,
    until: float = 1300.0,
    bad_from: float = math.inf,
    bad: float = 200,
    ok: bool = True,
) -> list[Told]:
    """v41, then v42 at `came_at`; from `bad_from` on it fails `bad` of 1,000 requests."""
    told: list[Told] = [seen(0.0, release(41))]
    at = 10.0
    while at <= until:
        if at - 10 < came_at <= at:
            told.append(seen(came_at, release(42), release(41)))
        ill = at > bad_from
        told.append(look(at, ok=ok or not ill))
        told.append(errors(at, bad if ill else 2 + at / 10 % 3))
        told.append(times(at))
        at += 10
    return told


def played(facts: Iterable[Told], under: Policy, player: Player | None = None) -> list[Decision]:
    """Every changed decision, in order."""
    player = player or Player(under)
    found: list[Decision] = []
    for told in facts:
        found += player.take(told.at, told)
    return [*found, *player.end()]


def rolled_back(decisions: Sequence[Decision]) -> list[tuple[float, int, int]]:
    """(at, from, to) of every rollback."""
    return [(d.at, d.bad.version, d.good.version) for d in decisions if isinstance(d, RollBack)]
