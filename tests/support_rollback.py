"""A decision, a plan and releases for tests of what carries a rollback."""

from rollbackd.core.model import (
    Release,
    ReleaseStatus,
    RollBack,
    TargetName,
    TriggerName,
    TriggerState,
    Verdict,
)
from rollbackd.core.runbook import Phase, Plan, Step

SHOP = TargetName("shop")


def release(version: int) -> Release:
    return Release(
        version=version,
        image=f"shop:{version}",
        status=ReleaseStatus.COMPLETE,
        content=f"content-{version}",
    )


def decision(
    *, at: float = 100.0, bad: int = 42, by_hand: bool = False, target: str = SHOP
) -> RollBack:
    verdict = Verdict(
        trigger=TriggerName("errors"), state=TriggerState.BREACHED, since=90.0, value=float("inf")
    )
    return RollBack(
        target=TargetName(target),
        at=at,
        trigger=None if by_hand else TriggerName("errors"),
        bad=release(bad),
        good=release(41),
        plan="app",
        evidence={"odds": float("inf")},
        verdicts=(verdict,),
    )


def step(
    rollback: str, seq: int, phase: Phase, kind: str, *, mutates: bool = True, alone: bool = True
) -> Step:
    return Step(
        seq=seq,
        phase=phase,
        kind=kind,
        name=f"{kind} {seq}",
        params={"machine": f"m{seq}"},
        op_key=f"rb:{rollback}:{seq}:abcd",
        mutates=mutates,
    )


def plan(of: RollBack, *, deadline_at: float = 1e12, parallel: int = 1) -> Plan:
    shape = (
        (Phase.CHECKLIST, "notify", False),
        (Phase.EXECUTE, "update", True),
        (Phase.EXECUTE, "update", True),
        (Phase.VERIFY, "verify", False),
        (Phase.POST_VERIFICATION, "prove", False),
    )
    steps = tuple(
        step(of.id, seq, phase, kind, mutates=mutates)
        for seq, (phase, kind, mutates) in enumerate(shape, start=1)
    )
    return Plan(
        rollback=of.id,
        target=of.target,
        name="app",
        from_version=of.bad.version,
        to_version=of.good.version,
        steps=steps,
        parallel=parallel,
        deadline_at=deadline_at,
        hash="abcd",
        settings={"app": "shop"},
        notes=("machine m9 is unreachable",),
    )
