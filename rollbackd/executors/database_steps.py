"""The runbook of what changes a database, as steps: what all such plans have around it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.policy import PlanPolicy, TargetPolicy
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app_goal import known_newest
from rollbackd.executors.app_steps import Numbered, smoke_steps
from rollbackd.executors.app_words import Kind
from rollbackd.executors.plan_hash import plan_hash

Work = Callable[[Numbered], Iterator[Step]]


def framed(
    target: TargetPolicy,
    policy: PlanPolicy,
    decision: RollBack,
    *,
    said: str,
    notes: Sequence[str],
    asks: str,
    refuses: str = "",
    settings: JsonObject,
    work: Work,
) -> Plan:
    """A whole plan around `work`: told before, tested and proved after. `said`: in one line what
    is done; `settings` are the part's own, and the app's name where there is one.
    """
    asked = decision.trigger or decision.requested_by
    heads = {
        "identify": [f"v{decision.bad.version} {_blamed(decision)}: {decision.why or asked}"],
        "urgency": [f"{asked}; deadline {policy.deadline_seconds:g} s from the decision"],
        "method": [said],
        "plan": [said, *notes],
    }
    steps = tuple(_steps(Numbered(decision), target, heads, work))
    plan = Plan(
        rollback=decision.id,
        target=decision.target,
        name=policy.name,
        from_version=decision.bad.version,
        to_version=decision.good.version,
        steps=steps,
        parallel=1,
        deadline_at=decision.at + policy.deadline_seconds,
        hash="",
        settings={
            **settings,
            "good": {"id": decision.good.id, "version": decision.good.version},
            "newest_version": known_newest(decision),
            "traffic": policy.traffic.value,
            "step_deadline_seconds": policy.step_deadline_seconds,
        },
        notes=tuple(notes),
        asks=asks,
        refuses=refuses,
    )
    return replace(plan, hash=plan_hash(plan))


def _blamed(decision: RollBack) -> str:
    """Of data alone no release is to blame."""
    return "stays" if decision.bad.version == decision.good.version else "is bad"


def _steps(
    made: Numbered, target: TargetPolicy, heads: Mapping[str, list[str]], work: Work
) -> Iterator[Step]:
    for name, lines in heads.items():
        yield made.step(Phase.CHECKLIST, Kind.SAY, name, {"lines": [*lines]})
    line: JsonObject = {"line": heads["method"][0]}
    yield made.step(Phase.CHECKLIST, Kind.NOTIFY, "tell people", line)
    yield from work(made)
    yield from smoke_steps(made, target, Phase.POST_VERIFICATION)
    yield made.step(Phase.POST_VERIFICATION, Kind.PROVE, "prove that it helped")
    yield made.step(Phase.REPORT, Kind.REPORT, "write the report")
