"""Puts data of a snapshot back, behind a fence: single tables, or a whole database.

Plans and carries out single steps; order, journal and retries are the runner's. A person approves
each one. What needs psycopg is loaded with the first target that has a database.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rollbackd.core.errors import ConfigError, PlanRefused, Rejected
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.runbook import Plan, Step
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import ExecutorContext

if TYPE_CHECKING:
    from rollbackd.executors.data_work import Work


class Kind(enum.StrEnum):
    """All begin with the executor's own word, so that no other executor's are the same."""

    CHECK = "data_check"
    KEEP = "data_keep"
    RESTORE = "data_restore"
    VERIFY = "data_verify"


class DataExecutor:
    """Fits `core.ports.Executor` and `core.noting.NotesMidway` for one target's data."""

    kind: ClassVar[str] = "data"
    step_kinds: ClassVar[frozenset[str]] = frozenset(Kind)

    def __init__(self, context: ExecutorContext, work: Work) -> None:
        self._context = context
        self._work = work

    @classmethod
    def build(cls, context: ExecutorContext) -> DataExecutor:
        name = context.target.name
        if context.database is None or context.target.database is None:
            raise ConfigError(
                f"target {name} has a plan with the step data, but no database:",
                hint="add `database: {url: ${DATABASE_URL}}` to the target",
            )
        if not isinstance(context.platform, FlyPlatform):
            raise ConfigError(
                f"target {name} has a plan with the step data, but no fly: app",
                hint="add `fly: {app: …}`: without it nobody can keep the app from writing",
            )
        try:
            from rollbackd.executors.data_work import Work  # noqa: PLC0415 -- needs the extra
        except ImportError as error:
            raise ConfigError(
                f"target {name} has a database:, and {error.name} is not installed",
                hint="pip install 'rollbackd[postgres]'",
            ) from None
        work = Work(context, context.platform, context.target.database, context.database.url)
        return cls(context, work)

    async def plan(self, decision: RollBack) -> Plan:
        if decision.undoes is not None:
            raise PlanRefused(
                "data is not undone by an undo",
                hint="restore the snapshot that was kept right before: rollbackd snapshots",
            )
        return await self._work.plan(decision)

    async def still_applies(self, plan: Plan) -> None:
        """The releases are the app's to ask; that the database is the one it was about, is ours."""
        wanted = text_at(plan.settings, "data", "address")
        if wanted and wanted != self._work.address:
            raise PlanRefused(
                f"this rollback is about another database than {plan.target} has now",
                hint="name that one again to let it go on",
            )

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        noted = results.get(step.seq, {})
        if step.kind != Kind.RESTORE or "xid" not in noted:
            return Observation(seen=Seen.NOT_DONE)  # without an id on disk COMMIT was never sent
        return await self._work.observe(plan, noted)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        return await self.apply_noting(plan, step, results, _nowhere)

    async def apply_noting(
        self,
        plan: Plan,
        step: Step,
        results: Mapping[int, JsonObject],  # noqa: ARG002 -- the database itself is asked
        note: Note,
    ) -> JsonObject:
        match Kind(step.kind):
            case Kind.CHECK:
                return await self._work.check(plan)
            case Kind.KEEP:
                return await self._work.keep(plan)
            case Kind.RESTORE:
                self._context.permit(step.name)
                return await self._work.restore(plan, step, note)
            case Kind.VERIFY:
                return await self._work.verify(plan)

    async def gone_back(self, plan: Plan) -> bool:
        """Whether the schema is no more the one the bad release ran on, or nobody can tell."""
        return await self._work.gone_back(plan)

    async def let_go(self, plan: Plan) -> Sequence[str]:  # noqa: ARG002 -- nothing of ours stays
        """A transaction that was not committed is gone with its session: nothing is held."""
        return []


async def _nowhere(_noted: JsonObject) -> None:
    raise Rejected("data is only put back where a journal holds it")
