"""The work on one target's database: plan, look, snapshot, reverse, read back. Needs psycopg."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import psycopg
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import (
    PermanentError,
    PlanRefused,
    Rejected,
    RollbackdError,
    TemporaryError,
)
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors import database_frozen
from rollbackd.executors.database import address_of
from rollbackd.executors.database_plan import BLOB, Planner, refuse_unfit
from rollbackd.executors.plan_hash import MEASURED
from rollbackd.fly.json_shape import object_at, text_at
from rollbackd.plugins import ExecutorContext
from rollbackd.postgres import histories, holding, invariants, keeping, outcome, reversal
from rollbackd.postgres.agreed import Reversal
from rollbackd.postgres.connection import connect, problem
from rollbackd.postgres.outcome import Outcome

_SETTLE_SECONDS: Final = 15.0
_SEEN: Final = {
    Outcome.COMMITTED: Seen.DONE,
    Outcome.ABORTED: Seen.NOT_DONE,
    Outcome.UNKNOWN: Seen.CHANGED,
}


class Work:
    """What `DatabaseExecutor` has done. `address` tells one database from another, and no more."""

    def __init__(self, context: ExecutorContext, policy: DatabasePolicy, url: SecretStr) -> None:
        self._context = context
        self._policy = policy
        self._url = url
        self._planner = Planner(context, policy, url)
        self.address = address_of(url.get_secret_value())

    async def plan(self, decision: RollBack) -> Plan:
        try:
            return await self._planner.plan(decision, self.address)
        except psycopg.Error as error:
            raise problem(error) from error

    async def check(self, plan: Plan) -> JsonObject:
        """Look once more before anything is touched. PermanentError where it cannot be done now."""
        reversal_ = await self._agreed(plan)
        try:
            async with await connect(self._url, name=_run(plan)) as connection:
                await refuse_unfit(connection)
                now = await outcome.state_of(
                    connection, histories=self._policy.histories, schemas=self._policy.schemas
                )
        except (psycopg.Error, TemporaryError) as error:
            raise _for_good(error) from error
        if now.schema != reversal_.before.schema or not outcome.same_history(
            now.applied, reversal_.before.applied
        ):
            raise PlanRefused(
                "the database changed since the plan was made", hint="make a new plan"
            )
        return {"said": "the database is as the plan knows it"}

    async def snapshot(self, plan: Plan) -> JsonObject:
        """Verified, or PermanentError: without one nothing that loses rows is done."""
        directory = self._directory()
        try:
            made = await keeping.keep(
                self._url,
                self._policy,
                directory=directory,
                clock=self._context.clock,
                label=str(plan.target),
            )
        except (psycopg.Error, OSError, TemporaryError) as error:
            raise _for_good(error) from error
        return {
            "path": str(made.path),
            "sha256": made.manifest.sha256,
            "rows": sum(made.manifest.rows.values()),
        }

    async def reverse(self, plan: Plan, step: Step, note: Note) -> JsonObject:
        """Committed and proven when it returns. The id is in the journal before COMMIT is sent."""
        agreed = await self._agreed(plan, object_at(step.params, MEASURED))

        async def journal(xid: str) -> None:
            self._context.permit(step.name)
            await note({"xid": xid})

        try:
            done = await reversal.reverse(
                self._url,
                agreed,
                policy=self._policy,
                run=_run(plan),
                clock=self._context.clock,
                rng=random.Random(),  # noqa: S311 -- pauses, not secrets
                journal=journal,
            )
        except (holding.InTheWay, holding.OtherRun) as error:
            # It was tried for all of its budget, with the app stopped: not once more by itself.
            raise Rejected(error.message, hint=error.hint) from error
        return {
            "xid": done.xid,
            "seconds": round(done.seconds, 3),
            "locked_seconds": round(done.locked_seconds, 3),
            "tries": done.tries,
            "ended": list(done.ended),
        }

    async def observe(self, plan: Plan, xid: str) -> Observation:
        """What became of the transaction. Without an id on disk COMMIT was never sent."""
        if not xid:
            return Observation(seen=Seen.NOT_DONE)
        agreed = await self._agreed(plan)
        try:
            async with await connect(self._url, name=f"{_run(plan)}/after") as connection:
                found = await outcome.settled(
                    connection,
                    xid,
                    run=_run(plan),
                    before=agreed.before,
                    after=agreed.after,
                    histories=self._policy.histories,
                    schemas=self._policy.schemas,
                    clock=self._context.clock,
                    within_seconds=_SETTLE_SECONDS,
                )
        except psycopg.Error as error:
            raise problem(error) from error
        if found is Outcome.IN_PROGRESS:
            raise TemporaryError(f"transaction {xid} is still under way")
        return Observation(
            seen=_SEEN[found], detail=f"transaction {xid}: {found.value}", result={"xid": xid}
        )

    async def gone_back(self, plan: Plan) -> bool:
        """By the history alone, which nobody's lock keeps from being read."""
        try:
            agreed = await self._agreed(plan)
            async with await connect(self._url, name=f"{_run(plan)}/left") as connection:
                now = await histories.applied(connection, self._policy.histories)
        except (psycopg.Error, RollbackdError):
            return True
        return not outcome.same_history(now, agreed.before.applied)

    async def verify(self, plan: Plan) -> JsonObject:
        """Schema, history and invariants once more, from outside the transaction."""
        agreed = await self._agreed(plan)
        try:
            async with await connect(self._url, name=_run(plan)) as connection:
                now = await outcome.state_of(
                    connection, histories=self._policy.histories, schemas=self._policy.schemas
                )
                broken = await invariants.broken(connection, self._policy.invariants)
        except psycopg.Error as error:
            raise problem(error) from error
        if not outcome.same_history(now.applied, agreed.after.applied):
            raise Rejected("migrations were applied again", hint="does the app migrate at boot?")
        if now.schema != agreed.after.schema:
            raise Rejected("the schema changed since it was reversed")
        if broken:
            raise Rejected(f"an invariant does not hold: {'; '.join(broken)}")
        return {"said": "schema and history are as before the release, the invariants hold"}

    async def _agreed(self, plan: Plan, measured: JsonObject | None = None) -> Reversal:
        settings = object_at(plan.settings, "database")
        kept = await self._context.store.get_blob(BLOB.format(text_at(settings, "kept")))
        return database_frozen.from_json(kept, text_at(settings, "reversal"), measured or {})

    def _directory(self) -> Path:
        named = self._policy.snapshots.directory
        if named:
            return Path(named)
        if self._context.state is None:
            raise PermanentError("there is no directory for a snapshot")
        return self._context.state / "snapshots"


def _run(plan: Plan) -> str:
    return str(plan.rollback)


def _for_good(error: psycopg.Error | OSError | TemporaryError) -> RollbackdError:
    """A rollback that waits here keeps the app stopped: it ends instead."""
    said = problem(error)
    return Rejected(said.message, hint=said.hint)
