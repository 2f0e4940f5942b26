"""Takes back the migrations that came with a release, proven before they are committed.

Plans and carries out single steps; order, journal and retries are the runner's. What needs
psycopg is loaded with the first target that has a database.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rollbackd.core.errors import ConfigError, PlanRefused, RollbackdError
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.runbook import Plan, Step, StepState
from rollbackd.executors.plan_hash import digest
from rollbackd.fly.json_shape import object_at, text_at
from rollbackd.plugins import ExecutorContext

if TYPE_CHECKING:
    from rollbackd.executors.database_work import Work


class Kind(enum.StrEnum):
    """All begin with the executor's own word, so that no other executor's are the same."""

    CHECK = "database_check"
    SNAPSHOT = "database_snapshot"
    REVERSE = "database_reverse"
    VERIFY = "database_verify"


class DatabaseExecutor:
    """Fits `core.ports.Executor` and `core.noting.NotesMidway` for one target's database."""

    kind: ClassVar[str] = "database"
    step_kinds: ClassVar[frozenset[str]] = frozenset(Kind)

    def __init__(self, context: ExecutorContext, work: Work) -> None:
        self._context = context
        self._work = work

    @classmethod
    def build(cls, context: ExecutorContext) -> DatabaseExecutor:
        name = context.target.name
        if context.database is None or context.target.database is None:
            raise ConfigError(
                f"target {name} has a plan with the step database, but no database:",
                hint="add `database: {url: ${DATABASE_URL}}` to the target",
            )
        try:
            from rollbackd.executors.database_work import Work  # noqa: PLC0415 -- needs the extra
        except ImportError as error:
            raise ConfigError(
                f"target {name} has a database:, and {error.name} is not installed",
                hint="pip install 'rollbackd[postgres]'",
            ) from None
        return cls(context, Work(context, context.target.database, context.database.url))

    async def plan(self, decision: RollBack) -> Plan:
        if decision.undoes is not None:
            raise PlanRefused(
                "a migration that was taken back is applied again by a deploy, not by an undo",
                hint="deploy forward, or undo with a plan of the app alone",
            )
        return await self._work.plan(decision)

    async def still_applies(self, plan: Plan) -> None:
        """The releases are the app's to ask; that the database is the one it was about, is ours."""
        settings = object_at(plan.settings, "database")
        wanted = text_at(settings, "address")
        if wanted and wanted != self._work.address:
            raise PlanRefused(
                f"this rollback is about another database than {plan.target} has now",
                hint="name that one again to let it go on",
            )

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        if step.kind != Kind.REVERSE:
            return Observation(seen=Seen.NOT_DONE)  # a look, or safe to make twice
        return await self._work.observe(plan, str(results.get(step.seq, {}).get("xid", "")))

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
            case Kind.SNAPSHOT:
                return await self._work.snapshot(plan)
            case Kind.REVERSE:
                self._context.permit(step.name)
                return await self._work.reverse(plan, step, note)
            case Kind.VERIFY:
                return await self._work.verify(plan)

    async def gone_back(self, plan: Plan) -> bool:
        """By the journal; the database is asked only what became of a COMMIT that may be sent,
        and where it does not answer it counts as gone back.
        """
        journal = await self._context.store.journal(plan.rollback)
        rows = journal.rows if journal is not None else ()
        row = next((one for one in rows if one.step.kind == Kind.REVERSE), None)
        if row is None or "xid" not in row.result:
            return False
        return row.state is StepState.DONE or await self._work.gone_back(plan)

    async def let_go(self, plan: Plan) -> Sequence[str]:  # noqa: ARG002 -- nothing of ours stays
        """A transaction that was not committed is gone with its session: nothing is held."""
        return []


def address_of(url: str) -> str:
    """What an address is told apart by in a plan, without anything of it."""
    return digest(url)


async def _nowhere(_noted: JsonObject) -> None:
    raise RollbackdError("migrations are only taken back where a journal holds it")
