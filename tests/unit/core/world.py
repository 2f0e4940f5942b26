"""A small world to tell core tests in: one target, facts by the second, decisions read off."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rollbackd.core.decide import decide, explain
from rollbackd.core.facts import (
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Histogram,
    MachinesSeen,
    Measure,
    MeasureKind,
    Miss,
    Paused,
    Ratio,
    ReleasesSeen,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    Sample,
    TargetFact,
    Value,
)
from rollbackd.core.model import (
    Decision,
    GateSays,
    Hold,
    HoldReason,
    Machine,
    ProbeName,
    Release,
    ReleaseStatus,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
    TriggerName,
    Verdict,
)
from rollbackd.core.policy import After, MassSafety, Policy, ProbePolicy, Safety, TargetPolicy
from rollbackd.core.rules import (
    Bound,
    Breaches,
    Comparison,
    Condition,
    Failing,
    Mode,
    NoData,
    QuantileBound,
    RatioBound,
    Regression,
    Rule,
    Severity,
    Signal,
    Trigger,
    TriggerRef,
    ValueBound,
)
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge

SHOP = TargetName("shop")
SAFETY = Safety(
    settle_until_first_success=True,
    settle_at_most_seconds=None,
    settle_floor_seconds=60,
    settle_ceiling_seconds=180,
    watch_seconds=3600,
    cooldown_seconds=300,
    budget_rollbacks=2,
    budget_per_seconds=86400,
    approval_seconds=600,
    interrupted_after_seconds=900,
    blind_after_seconds=100_000,
    windows=(),
)
AFTER = After(smoke=(), clear_for_seconds=10, monitor_seconds=0, prove_within_seconds=60)


def probe(name: str, measure: MeasureKind, interval: float = 10) -> ProbePolicy:
    return ProbePolicy(
        name=ProbeName(name),
        kind="http",
        measure=measure,
        interval_seconds=interval,
        window_seconds=120,
    )


PROBES = (
    probe("health", MeasureKind.CHECK),
    probe("machines", MeasureKind.CHECK),
    probe("database", MeasureKind.CHECK),
    probe("errors", MeasureKind.RATIO),
    probe("latency", MeasureKind.HISTOGRAM),
    probe("locks", MeasureKind.VALUE),
)


def above(limit: float) -> Bound:
    return Bound(comparison=Comparison.ABOVE, limit=limit)


def below(limit: float) -> Bound:
    return Bound(comparison=Comparison.BELOW, limit=limit)


def signal(name: str, breach: Condition, **changes: Any) -> Signal:
    base = Signal(
        probe=ProbeName(name),
        breach=breach,
        clear=None,
        window_seconds=120,
        for_seconds=0,
        breaches=None,
        min_samples=0,
        max_age_seconds=20,
        interval_seconds=10,
        no_data=NoData.HOLD,
    )
    return replace(base, **changes)


def down(name: str = "health", at_least: int = 4, of_last: int = 4, **changes: Any) -> Signal:
    breaches = Breaches(at_least=at_least, of_last=of_last)
    return signal(name, Failing(), **{"breaches": breaches, **changes})


def failing(name: str = "health", **changes: Any) -> Signal:
    return signal(name, Failing(), **changes)


def error_rate(limit: float = 0.05, **changes: Any) -> Signal:
    wanted = {"min_samples": 50, "for_seconds": 60, **changes}
    return signal("errors", RatioBound(bound=above(limit)), **wanted)


def slow(limit: float = 2.0, quantile: float = 0.95, **changes: Any) -> Signal:
    return signal("latency", QuantileBound(quantile=quantile, bound=above(limit)), **changes)


def locks(limit: float = 20, **changes: Any) -> Signal:
    return signal("locks", ValueBound(bound=above(limit)), **changes)


def regression(**changes: Any) -> Regression:
    """Errors, health and latency in ticks of 10 s; an hour of history is enough."""
    base = Regression(
        errors=ProbeName("errors"),
        health=ProbeName("health"),
        latency=ProbeName("latency"),
        tick_seconds=10,
        odds=2000,
        history_at_least_seconds=3600,
        history_at_most_seconds=86400,
    )
    return replace(base, **changes)


def trigger(
    rule: Rule,
    *,
    name: str = "health-down",
    unless: tuple[Signal | TriggerRef, ...] = (),
    severity: Severity = Severity.CRITICAL,
    mode: Mode | None = None,
) -> Trigger:
    return Trigger(
        name=TriggerName(name), rule=rule, unless=unless, severity=severity, mode=mode, plan="app"
    )


def target(
    *triggers: Trigger,
    mode: Mode = Mode.AUTO,
    safety: Safety = SAFETY,
    probes: Sequence[ProbePolicy] = PROBES,
    fingerprints: dict[str, str] | None = None,
) -> TargetPolicy:
    return TargetPolicy(
        name=SHOP,
        mode=mode,
        probes={p.name: p for p in probes},
        triggers=triggers,
        plans={},
        safety=safety,
        after=AFTER,
        settings={},
        fingerprints=fingerprints or {},
    )


def policy_of(one: TargetPolicy, ceiling: Mode = Mode.AUTO) -> Policy:
    return Policy(
        targets={one.name: one},
        mass=MassSafety(targets=3, share=0.3, within_seconds=60),
        mode_ceiling=ceiling,
        tick_seconds=1,
        hash="",
    )


def release(
    version: int,
    content: str = "",
    status: ReleaseStatus = ReleaseStatus.COMPLETE,
    created_at: float | None = None,
) -> Release:
    content = content or f"image-{version}"
    return Release(
        version=version,
        image=content,
        status=status,
        content=content,
        created_at=created_at,
    )


def machine(name: str, content: str, version: int | None = None, **more: Any) -> Machine:
    return Machine(
        id=name,
        state=more.pop("state", "started"),
        group="app",
        content=content,
        release_version=version,
        **more,
    )


class World:
    """One target from second 0 on. Every method is a fact at `at`."""

    def __init__(self, one: TargetPolicy, *, ceiling: Mode = Mode.AUTO, now: float = 0) -> None:
        self.target = one
        self.policy = policy_of(one, ceiling)
        self.state = TargetState(one, now)

    def tell(self, fact: TargetFact) -> None:
        self.state.apply(fact)

    def sample(self, at: float, name: str, measure: Measure, **more: Any) -> None:
        self.tell(Sample(target=SHOP, probe=ProbeName(name), at=at, measure=measure, **more))

    def check(self, at: float, outcome: str = "ok", name: str = "health", **more: Any) -> None:
        self.sample(at, name, Check(outcome=CheckOutcome(outcome), **more))

    def ok(self, *times: float, name: str = "health") -> None:
        for at in times:
            self.check(at, "ok", name)

    def fail(self, *times: float, name: str = "health") -> None:
        for at in times:
            self.check(at, "failed", name)

    def refuse(self, *times: float, name: str = "health") -> None:
        for at in times:
            self.check(at, "refused", name)

    def ratio(self, at: float, bad: float, total: float, name: str = "errors") -> None:
        self.sample(at, name, Ratio(bad=bad, total=total))

    def buckets(self, at: float, *buckets: tuple[float, float], name: str = "latency") -> None:
        self.sample(at, name, Histogram(buckets=buckets))

    def value(self, at: float, value: float, name: str = "locks") -> None:
        self.sample(at, name, Value(value=value))

    def miss(self, at: float, name: str = "health", reason: str = "dns_failed") -> None:
        self.tell(Miss(target=SHOP, probe=ProbeName(name), at=at, reason=reason))

    def sleep(self, at: float, name: str = "health") -> None:
        self.tell(Asleep(target=SHOP, probe=ProbeName(name), at=at))

    def releases(self, at: float, *releases: Release) -> None:
        self.tell(ReleasesSeen(target=SHOP, at=at, releases=releases))

    def machines(self, at: float, *machines: Machine, foreign: int = 0) -> None:
        self.tell(MachinesSeen(target=SHOP, at=at, machines=machines, foreign_leases=foreign))

    def control(self, at: float, *, ok: bool) -> None:
        self.tell(ControlSeen(target=SHOP, at=at, ok=ok))

    def started(
        self,
        at: float,
        bad: Release,
        good: Release,
        *,
        name: str = "r1",
        automatic: bool = True,
        **more: Any,
    ) -> None:
        self.tell(
            RollbackStarted(
                target=SHOP,
                at=at,
                rollback=RollbackId(name),
                bad=bad,
                good=good,
                automatic=automatic,
                **more,
            )
        )

    def switched(
        self, at: float, *, name: str = "r1", version: int | None = None, app: bool = True
    ) -> None:
        rollback = RollbackId(name)
        self.tell(RollbackSwitched(target=SHOP, at=at, rollback=rollback, version=version, app=app))

    def ended(
        self,
        at: float,
        outcome: RollbackOutcome = RollbackOutcome.RECOVERED,
        *,
        name: str = "r1",
    ) -> None:
        self.tell(RollbackEnded(target=SHOP, at=at, rollback=RollbackId(name), outcome=outcome))

    def tell_paused(self, at: float, until: float) -> None:
        self.tell(Paused(target=SHOP, at=at, until=until, by="ann", reason="looking"))

    def good_start(self) -> None:
        """v41 is current, seen well, and known good once v42 appears."""
        self.releases(0, release(41))
        self.ok(*range(5, 96, 10))

    def bad_deploy(self, at: float = 100, *, answers: bool = True) -> None:
        """v42 comes; its first look succeeds unless it never answers."""
        self.releases(at, release(42), release(41))
        if answers:
            self.ok(at + 5)

    def decide(self, now: float, *, mass_failing: bool = False) -> Decision:
        return decide(self.policy, self.state, now, mass_failing=mass_failing)

    def held(self, now: float, *, mass_failing: bool = False) -> Hold:
        decision = self.decide(now, mass_failing=mass_failing)
        assert isinstance(decision, Hold), decision
        return decision

    def reason(self, now: float, *, mass_failing: bool = False) -> HoldReason:
        return self.held(now, mass_failing=mass_failing).reason

    def rolled(self, now: float) -> RollBack:
        decision = self.decide(now)
        assert isinstance(decision, RollBack), decision
        return decision

    def gates(self, now: float) -> dict[HoldReason, GateSays]:
        return {says.reason: says for says in explain(self.policy, self.state, now)}

    def verdict(self, now: float, index: int = 0) -> Verdict:
        return judge(self.target.triggers[index], self.state, now)


def breached_world(one: TargetPolicy | None = None, **more: Any) -> World:
    """v42 came at 100, answered at 105, and failed four looks: breached at 145."""
    world = World(one or target(trigger(down())), **more)
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125, 135, 145)
    return world
