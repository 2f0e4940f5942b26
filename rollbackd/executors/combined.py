"""One plan of several parts: the steps of each executor in one journal, phases never overlapping.

What a plan's `steps:` name is the order within a phase: `[database, app]` behind a fence for a
schema that the good release cannot run on, `[app, database]` for one that it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Protocol, runtime_checkable

from rollbackd.core.errors import ConfigError, PlanRefused
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note, NotesMidway
from rollbackd.core.policy import PlanPolicy, TargetPolicy, Traffic
from rollbackd.core.ports import Executor, Observation, Seen
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.app_words import CHANGES_DATA, GONE_BACK
from rollbackd.executors.merging import merged, parts_of


@runtime_checkable
class Part(Protocol):
    """What an executor needs besides `Executor` to be one part of a plan among others."""

    step_kinds: ClassVar[frozenset[str]]


@runtime_checkable
class GoesBack(Protocol):
    """A part after which the bad release no longer fits."""

    async def gone_back(self, plan: Plan) -> bool:
        """Whether it is done, or nobody can tell that it is not."""


class Combined:
    """Fits `core.ports.Executor` for one target: `parts` are its executors by their word."""

    def __init__(self, parts: Mapping[str, Executor], target: TargetPolicy) -> None:
        self._parts = parts
        self._target = target

    async def plan(self, decision: RollBack) -> Plan:
        policy = self._target.plans[decision.plan]
        _refuse_order(policy)
        if decision.to_migration and "database" not in policy.steps:
            raise PlanRefused(
                f"plan {policy.name} takes no migration back: --to-migration is not for it",
                hint="name a plan with the step database",
            )
        plans = {name: await self._part(name).plan(decision) for name in policy.steps}
        if list(plans) == ["app"]:
            return plans["app"]
        if "app" in plans and plans["app"].settings.get("unreachable") and _fences(policy):
            raise PlanRefused(
                "a machine is on an unreachable host: nobody can say that it does not write",
                hint="wait for Fly's host, or go back with a plan of the app alone",
            )
        made = merged(plans, decision, policy)
        if not any(step.mutates for step in made.steps):
            raise PlanRefused("; ".join(made.notes) or "there is nothing to do")
        return made

    async def still_applies(self, plan: Plan) -> None:
        for part in self._with_app(plan):
            await part.still_applies(plan)

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        part = self._of_step(plan, step)
        if part is None:
            return Observation(seen=Seen.NOT_DONE)
        return await part.observe(plan, step, results)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        part = self._of_step(plan, step)
        return {} if part is None else await part.apply(plan, step, results)

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        part = self._of_step(plan, step)
        if isinstance(part, NotesMidway):
            return await part.apply_noting(plan, step, results, note)
        return await self.apply(plan, step, results)

    async def let_go(self, plan: Plan) -> Sequence[str]:
        """Every part, the app first: its users wait."""
        lines: list[str] = []
        parts = self._with_app(plan)
        plan = await _as_it_stands(plan, parts)
        for part in parts:
            lines += await part.let_go(plan)
        return lines

    def _part(self, name: str) -> Executor:
        if name not in self._parts:
            raise ConfigError(f"nothing here carries out the step {name}")
        return self._parts[name]

    def _of_plan(self, plan: Plan) -> list[Executor]:
        return [self._part(name) for name in parts_of(plan)]

    def _with_app(self, plan: Plan) -> list[Executor]:
        """The app before the others, also where the plan is not about it: its releases tell
        whether somebody deployed, and its machines what we hold.
        """
        app = self._parts.get("app")
        others = [part for part in self._of_plan(plan) if part is not app]
        return others if app is None else [app, *others]

    def _of_step(self, plan: Plan, step: Step) -> Executor | None:
        """Whose kind the step is; None for one that the runner carries out and nobody else."""
        parts = self._of_plan(plan)
        for part in parts:
            if isinstance(part, Part) and step.kind in part.step_kinds:
                return part
        others = [part for part in parts if not isinstance(part, Part)]
        return others[0] if others else self._parts.get("app")


async def _as_it_stands(plan: Plan, parts: Sequence[Executor]) -> Plan:
    """Whoever starts machines has to know whether the schema is still theirs."""
    if parts_of(plan) == ["app"]:
        return plan
    for part in parts:
        if isinstance(part, GoesBack) and await part.gone_back(plan):
            return replace(plan, settings={**plan.settings, GONE_BACK: True})
    return plan


def _fences(policy: PlanPolicy) -> bool:
    return policy.traffic is Traffic.STOP and not CHANGES_DATA.isdisjoint(policy.steps)


def _refuse_order(policy: PlanPolicy) -> None:
    """The new code needs the new schema for as long as it runs."""
    names = policy.steps
    if CHANGES_DATA.isdisjoint(names) or "app" not in names or _fences(policy):
        return
    if names.index("app") > min(names.index(name) for name in CHANGES_DATA.intersection(names)):
        raise PlanRefused(
            f"plan {policy.name}: the database first, with the bad release still running on it",
            hint="traffic: stop, or steps: [app, database]",
        )
