"""Which migrations a plan is about, in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused
from rollbackd.core.policy import PlanPolicy
from rollbackd.postgres.words import Applied, Reverse

_NEWEST: Final = 4  # that are named where a person's is none of them


def after(now: Sequence[Applied], version: str) -> tuple[Applied, ...]:
    """Newest first, of the history that has this version; PlanRefused where none has."""
    last = next((one for one in now if version in {one.version, named(one)}), None)
    if last is None:
        newest = sorted(now, key=lambda one: -one.order)[:_NEWEST]
        names = ", ".join(map(named, newest))
        raise PlanRefused(
            f"no migration {version} is applied", hint=f"the newest: {names or 'none'}"
        )
    same = [one for one in now if (one.tool, one.table) == (last.tool, last.table)]
    later = sorted((one for one in same if one.order > last.order), key=lambda one: -one.order)
    return tuple(later)


def app_first(policy: PlanPolicy) -> bool:
    """Whether the app goes back before its database."""
    steps = policy.steps
    return "app" in steps and steps.index("app") < steps.index("database")


def never_took_effect(step: Applied) -> bool:
    """Prisma sends a migration as one implicit transaction: one that failed left its row alone."""
    return step.failed and step.tool is MigrationTool.PRISMA


def row_only(step: Applied) -> Reverse:
    """The row is marked as rolled back, or no image boots (P3009). That nothing else is left of it
    the schema of the good release proves.
    """
    return Reverse(applied=step, text="SELECT 1", where=f"{step.table} {named(step)}, failed")


def named(step: Applied) -> str:
    """As its files are called."""
    return f"{step.version}_{step.name}" if step.name else step.version


def without(now: Sequence[Applied], came: Sequence[Applied]) -> tuple[Applied, ...]:
    """What is applied once these are taken back."""
    gone = {step.key for step in came}
    return tuple(one for one in now if one.key not in gone)


def orders(steps: tuple[Reverse, ...]) -> Iterator[tuple[Reverse, ...]]:
    """In which two tools' migrations can be taken back: by their times where all have one, else
    one tool after the other, either way. Those of one tool stay newest first.
    """
    tools = list(dict.fromkeys(step.applied.tool for step in steps))
    times = [step.applied.applied_at for step in steps]
    if len(tools) > 1 and all(at is not None for at in times):
        yield tuple(sorted(steps, key=lambda step: -(step.applied.applied_at or 0.0)))
    yield steps
    if len(tools) > 1:
        turned = reversed(tools)
        yield tuple(step for tool in turned for step in steps if step.applied.tool is tool)
