"""Plans, safety and proof: spec in, core values out. Nothing can go wrong here any more."""

from __future__ import annotations

from rollbackd.config.schema import AfterSpec, MassSpec, PlanSpec, SafetySpec, WindowSpec
from rollbackd.core.policy import After, MassSafety, PlanPolicy, Safety, Smoke, TimeWindow


def plan(name: str, spec: PlanSpec) -> PlanPolicy:
    return PlanPolicy(
        name=name,
        steps=spec.steps,
        traffic=spec.traffic,
        strategy=spec.strategy,
        max_unavailable=spec.max_unavailable,
        deadline_seconds=spec.deadline,
        step_deadline_seconds=spec.step_deadline,
    )


def safety(spec: SafetySpec) -> Safety:
    at_most = spec.settle.at_most
    return Safety(
        settle_until_first_success=spec.settle.until == "first_success",
        settle_at_most_seconds=at_most if isinstance(at_most, float) else None,
        settle_floor_seconds=spec.settle.floor,
        settle_ceiling_seconds=spec.settle.ceiling,
        watch_seconds=spec.watch,
        cooldown_seconds=spec.cooldown,
        budget_rollbacks=spec.budget.rollbacks,
        budget_per_seconds=spec.budget.per,
        approval_seconds=spec.approval,
        interrupted_after_seconds=spec.interrupted_after,
        blind_after_seconds=spec.blind_after,
        windows=tuple(_window(window) for window in spec.windows),
    )


def _window(spec: WindowSpec) -> TimeWindow:
    return TimeWindow(
        name=spec.name,
        days=spec.days,
        from_minute=spec.from_,
        to_minute=spec.to,
        tz=spec.tz,
        mode=spec.mode,
    )


def after(spec: AfterSpec) -> After:
    return After(
        smoke=tuple(
            Smoke(path=smoke.path, status=smoke.expect.status, contains=smoke.expect.contains)
            for smoke in spec.smoke
        ),
        clear_for_seconds=spec.success_when.clear_for,
        monitor_seconds=spec.monitor,
        prove_within_seconds=spec.prove_within,
    )


def mass(spec: MassSpec) -> MassSafety:
    return MassSafety(targets=spec.targets, share=spec.or_share, within_seconds=spec.within)
