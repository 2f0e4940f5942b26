"""Merges the plans of several executors into one: renumbered, one hash. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rollbackd.core.model import Json, RollBack
from rollbackd.core.policy import PlanPolicy
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app_words import CHANGES_DATA, Kind
from rollbackd.executors.plan_hash import plan_hash
from rollbackd.fly.json_shape import list_at

PARTS: Final = "parts"  # in a plan's settings: whose steps these are, in their order
_ONCE: Final = frozenset(
    {
        *(Kind.SAY, Kind.NOTIFY, Kind.SMOKE, Kind.PROVE, Kind.REPORT, Kind.WATCH),
        *(Kind.CORDON, Kind.STOP),  # two parts may ask for the same fence
    }
)


def parts_of(plan: Plan) -> list[str]:
    """A plan without the word is of the app alone."""
    return [str(name) for name in list_at(plan.settings, PARTS)] or ["app"]


def merged(plans: Mapping[str, Plan], decision: RollBack, policy: PlanPolicy) -> Plan:
    """One plan of all, in their order. What each of them says or looks at alike is there once.

    A machine is stopped for what changes data. Where nothing does, it runs on.
    """
    first, *others = plans.values()
    settings = dict(first.settings)
    for plan in others:
        settings |= plan.settings
    names: list[Json] = list(plans)
    settings[PARTS] = names
    settings["traffic"] = policy.traffic.value
    changes = any(s.mutates for name in CHANGES_DATA & plans.keys() for s in plans[name].steps)
    steps = [s for s in _in_phases(list(plans.values())) if changes or s.kind != Kind.STOP]
    whole = replace(
        first,
        name=policy.name,
        steps=tuple(
            replace(step, seq=seq, op_key=f"{decision.id}:{seq}")
            for seq, step in enumerate(steps, start=1)
        ),
        parallel=max(plan.parallel for plan in plans.values()),
        settings=settings,
        notes=tuple(dict.fromkeys(note for plan in plans.values() for note in plan.notes)),
        asks="; ".join(plan.asks for plan in plans.values() if plan.asks),
        refuses="; ".join(plan.refuses for plan in plans.values() if plan.refuses),
    )
    return replace(whole, hash=plan_hash(whole))


def _in_phases(plans: Sequence[Plan]) -> Iterator[Step]:
    for phase in Phase:
        kept: dict[tuple[str, str], Step] = {}
        number = 0
        for plan in plans:
            for step in sorted(plan.steps, key=lambda one: one.seq):
                if step.phase is not phase:
                    continue
                number += 1
                name = step.name if step.kind in _ONCE else f"{step.name} {number}"
                before = kept.get((step.kind, name))
                kept[step.kind, name] = step if before is None else _both(before, step)
        yield from kept.values()


def _both(one: Step, other: Step) -> Step:
    """What two parts say under one heading."""
    if one.kind == Kind.NOTIFY:
        said = [str(step.params.get("line", "")) for step in (one, other)]
        return replace(one, params={**one.params, "line": "; ".join(dict.fromkeys(said))})
    if one.kind != Kind.SAY:
        return one
    lines = dict.fromkeys([*list_at(one.params, "lines"), *list_at(other.params, "lines")])
    return replace(one, params={**one.params, "lines": list(lines)})
