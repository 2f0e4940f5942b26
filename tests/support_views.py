"""A small policy and snapshot for tests of what is drawn from them."""

from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import (
    Hold,
    HoldReason,
    Machine,
    ProbeName,
    Release,
    ReleaseStatus,
    TargetName,
    TriggerName,
    TriggerState,
    Verdict,
)
from rollbackd.core.policy import After, MassSafety, Policy, ProbePolicy, Safety, TargetPolicy
from rollbackd.core.rules import DeployFailed, Mode, Severity, Trigger
from rollbackd.core.snapshot import ProbeView, ReleaseView, Snapshot, TargetView
from rollbackd.core.trial import WouldHave

T0 = 1_800_000_000.0


WOULD_HAVE = (
    WouldHave(
        version=39,
        to_version=38,
        at=T0 - 7200,
        trigger="errors",
        why="shop v39 is bad: errors 12 % (120 of 1,000) above 5 %",
        held_by="observe_mode",
        asks=False,
    ),
)


def policy(**targets: tuple[tuple[str, ...], tuple[str, ...]]) -> Policy:
    """`policy(shop=(("health",), ("errors",)))`: probes and triggers by target."""
    return Policy(
        targets={TargetName(t): _target(t, *parts) for t, parts in targets.items()},
        mass=MassSafety(targets=3, share=0.3, within_seconds=60),
        mode_ceiling=Mode.AUTO,
        tick_seconds=10,
        hash="0123456789abcdef",
    )


def _target(name: str, probes: tuple[str, ...], triggers: tuple[str, ...]) -> TargetPolicy:
    return TargetPolicy(
        name=TargetName(name),
        mode=Mode.AUTO,
        probes={
            ProbeName(p): ProbePolicy(
                name=ProbeName(p),
                kind="http",
                measure=MeasureKind.CHECK,
                interval_seconds=5,
                window_seconds=120,
            )
            for p in probes
        },
        triggers=tuple(
            Trigger(
                name=TriggerName(t),
                rule=DeployFailed(),
                unless=(),
                severity=Severity.CRITICAL,
                mode=None,
                plan="app",
            )
            for t in triggers
        ),
        plans={},
        safety=Safety(
            settle_until_first_success=True,
            settle_at_most_seconds=None,
            settle_floor_seconds=60,
            settle_ceiling_seconds=180,
            watch_seconds=3600,
            cooldown_seconds=300,
            budget_rollbacks=2,
            budget_per_seconds=86_400,
            approval_seconds=600,
            interrupted_after_seconds=900,
            blind_after_seconds=60,
            windows=(),
        ),
        after=After(smoke=(), clear_for_seconds=180, monitor_seconds=15, prove_within_seconds=600),
        settings={},
        fingerprints={},
    )


def release(version: int, **more: object) -> Release:
    fields: dict[str, object] = {
        "version": version,
        "image": f"registry.fly.io/shop:deployment-{version}@sha256:{version:064x}",
        "status": ReleaseStatus.COMPLETE,
        "content": f"c{version}",
        "created_at": T0 - 600,
        "author": "ann@example.com",
    }
    return Release(**{**fields, **more})  # type: ignore[arg-type]  # a test's short cut


def verdict(state: TriggerState = TriggerState.OK, **more: object) -> Verdict:
    fields: dict[str, object] = {
        "trigger": TriggerName("errors"),
        "state": state,
        "since": T0 - 30,
        "value": 0.021,
        "threshold": 0.05,
        "samples": 1200.0,
        "why": "2.1 % of 1,200 requests failed, limit 5 %",
    }
    return Verdict(**{**fields, **more})  # type: ignore[arg-type]  # as above


def hold(reason: HoldReason = HoldReason.OK, **more: object) -> Hold:
    fields: dict[str, object] = {
        "target": TargetName("shop"),
        "at": T0,
        "reason": reason,
        "why": "",
        "verdicts": (verdict(),),
    }
    return Hold(**{**fields, **more})  # type: ignore[arg-type]  # as above


def machine(number: int, content: str, state: str = "started") -> Machine:
    return Machine(id=f"m{number}", state=state, group="app", content=content, region="iad")


def target(**more: object) -> TargetView:
    fields: dict[str, object] = {
        "name": TargetName("shop"),
        "app": "hotdash",
        "mode": Mode.AUTO,
        "healthy": True,
        "evaluated_at": T0,
        "decision": hold(),
        "verdicts": (verdict(),),
        "probes": (
            ProbeView(
                name=ProbeName("health"),
                kind="http",
                interval_seconds=5,
                outcome="ok",
                at=T0 - 2,
                ok_at=T0 - 2,
                seconds=0.05,
                samples=24,
            ),
        ),
        "releases": (
            ReleaseView(
                release=release(42, commit="3f2a91c0" * 5),
                standing="unknown",
                why="was not watched for long enough",
                current=True,
            ),
            ReleaseView(
                release=release(41), standing="good", why="was well until v42 came", goal=True
            ),
            ReleaseView(release=release(40), standing="quarantined", why="was rolled back from"),
        ),
        "machines": (machine(1, "c42"), machine(2, "c41"), machine(3, "c1", "stopped")),
        "rollback": None,
        "paused_until": None,
        "locked_out": False,
        "cooldown_until": None,
        "budget_left": 2,
        "trial": "would have acted once in 14 releases",
        "would_have": WOULD_HAVE,
    }
    return TargetView(**{**fields, **more})  # type: ignore[arg-type]  # as above


def snapshot(*targets: TargetView, control_ok: bool = True) -> Snapshot:
    return Snapshot(
        at=T0, targets=targets or (target(),), control_ok=control_ok, config_hash="0123456789abcdef"
    )
