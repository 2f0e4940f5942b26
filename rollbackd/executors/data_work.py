"""The work on one target's data: plan, look, keep, restore, read back. Needs psycopg."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import (
    Ambiguous,
    PlanRefused,
    Rejected,
    RollbackdError,
    Superseded,
    TemporaryError,
)
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.data_plan import Planner
from rollbackd.executors.database import address_of
from rollbackd.executors.database_plan import refuse_unfit
from rollbackd.fly.json_shape import list_at, object_at, text_at
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import ExecutorContext
from rollbackd.postgres import invariants, keeping, scratch, snapshot, snapshot_files
from rollbackd.postgres.archive import BadSnapshot, Table
from rollbackd.postgres.connection import connect, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.one_commit import fate
from rollbackd.postgres.outcome import Outcome
from rollbackd.postgres.restore_choice import Way
from rollbackd.postgres.restore_rows import How, restore_rows
from rollbackd.postgres.restore_swap import restore_swap
from rollbackd.postgres.restore_whole import restore_whole
from rollbackd.postgres.snapshot_files import Snapshot

_SEEN: Final = {
    Outcome.COMMITTED: Seen.DONE,
    Outcome.ABORTED: Seen.NOT_DONE,
    Outcome.UNKNOWN: Seen.CHANGED,
}


class Work:
    """What `DataExecutor` has done. `address` tells one database from another, and no more."""

    def __init__(
        self,
        context: ExecutorContext,
        platform: FlyPlatform,
        policy: DatabasePolicy,
        url: SecretStr,
    ) -> None:
        self._context = context
        self._policy = policy
        self._url = url
        self._directory = keeping.directory(policy, context.state)
        self._planner = Planner(context, platform, policy, url, self._directory)
        self.address = address_of(url.get_secret_value())

    async def plan(self, decision: RollBack) -> Plan:
        try:
            return await self._planner.plan(decision, self.address)
        except psycopg.Error as error:
            raise problem(error) from error

    async def check(self, plan: Plan) -> JsonObject:
        """Before anything is touched: the same file, the same database, the same schema."""
        chosen = self._snapshot(plan)
        try:
            async with await connect(self._url, name=_run(plan)) as connection:
                await refuse_unfit(connection)
                now = await fingerprint(connection, chosen.manifest.schemas)
                origin = await snapshot.origin(connection)
            summed = await asyncio.to_thread(snapshot_files.sha256_of, chosen.path)
        except (psycopg.Error, OSError, TemporaryError) as error:
            raise _for_good(error) from error
        if summed != chosen.manifest.sha256:
            raise BadSnapshot("its bytes changed since it was taken: the checksum differs")
        if origin.database != chosen.manifest.origin.database:
            raise BadSnapshot(f"it is of {chosen.manifest.origin.database}, not {origin.database}")
        if now.sha256 != text_at(plan.settings, "data", "before"):
            raise PlanRefused("the schema changed since the plan was made", hint="make a new plan")
        return {"said": "snapshot and database are as the plan knows them"}

    async def keep(self, plan: Plan) -> JsonObject:
        """The data as it is now, behind the fence; without it nothing is put back."""
        try:
            made = await keeping.keep(
                self._url,
                self._policy,
                directory=self._directory,
                clock=self._context.clock,
                label=str(plan.target),
                spare=frozenset({self._snapshot(plan).path}),
            )
        except (psycopg.Error, OSError, TemporaryError) as error:
            raise _for_good(error) from error
        return {
            "snapshot": made.id,
            "path": str(made.path),
            "sha256": made.manifest.sha256,
            "rows": sum(made.manifest.rows.values()),
        }

    async def restore(self, plan: Plan, step: Step, note: Note) -> JsonObject:
        """Committed and proven when it returns. The id is in the journal before COMMIT is sent."""

        async def journal(xid: str) -> None:
            self._context.permit(step.name)
            await note({"xid": xid})

        try:
            return await self._put_back(plan, journal)
        except (Ambiguous, Superseded):
            raise  # read back by its id; or stood back from
        except (psycopg.Error, OSError, TemporaryError) as error:
            # It was tried for all of its time, with the app stopped: not once more by itself.
            raise _for_good(error) from error

    async def _put_back(self, plan: Plan, journal: keeping.Journal) -> JsonObject:
        chosen, run = self._snapshot(plan), _run(plan)
        data, clock, policy = object_at(plan.settings, "data"), self._context.clock, self._policy
        before = text_at(data, "before")
        match Way(text_at(data, "way")):
            case Way.ROWS:
                rows = await restore_rows(
                    self._url,
                    chosen,
                    _tables(data),
                    How.MISSING if data.get("missing") is True else How.EXACT,
                    policy=policy,
                    run=run,
                    clock=clock,
                    journal=journal,
                    common=data.get("common") is True,
                )
                return {
                    "xid": rows.xid,
                    "added": dict(rows.added),
                    "changed": dict(rows.changed),
                    "removed": dict(rows.removed),
                    "locked_seconds": round(rows.locked_seconds, 3),
                    "not_refreshed": list(rows.stale),
                }
            case Way.OVER:
                whole = await restore_whole(
                    self._url, chosen, before, policy=policy, run=run, clock=clock, journal=journal
                )
                return {
                    "xid": whole.xid,
                    "tables": whole.tables,
                    "rows": whole.rows,
                    "sequences_raised": list(whole.raised),
                    "not_refreshed": list(whole.stale),
                }
            case Way.SWAP:
                done = await restore_swap(
                    self._url, chosen, before, policy=policy, run=run, clock=clock, journal=journal
                )
                return {
                    "xid": done.xid,
                    "tables": done.tables,
                    "rows": done.rows,
                    "kept_as": done.kept,
                }

    async def observe(self, plan: Plan, noted: JsonObject) -> Observation:
        """What became of the transaction whose id is on disk."""
        xid, run = text_at(noted, "xid"), _run(plan)
        try:
            async with await connect(self._url, name=f"{run}/after") as connection:
                found = await fate(connection, xid, run=run, clock=self._context.clock)
        except psycopg.Error as error:
            raise problem(error) from error
        if found is Outcome.IN_PROGRESS:
            raise TemporaryError(f"transaction {xid} is still under way")
        detail = f"transaction {xid}: {found.value}"
        return Observation(seen=_SEEN[found], detail=detail, result={"xid": xid})

    async def gone_back(self, plan: Plan) -> bool:
        """Only where the whole database was to be replaced: else its schema stays as it is."""
        data = object_at(plan.settings, "data")
        if text_at(data, "way") != Way.SWAP:
            return False
        try:
            schemas = self._snapshot(plan).manifest.schemas
            async with await connect(self._url, name=f"{_run(plan)}/left") as connection:
                now = await fingerprint(connection, schemas)
        except (psycopg.Error, RollbackdError):
            return True
        return now.sha256 != text_at(data, "before")

    async def verify(self, plan: Plan) -> JsonObject:
        """From outside of the transaction: every table of it is there, the invariants hold."""
        try:
            async with await connect(self._url, name=_run(plan)) as connection:
                broken = await invariants.broken(connection, self._policy.invariants)
                origin = await snapshot.origin(connection)
                await scratch.clear(connection, self._context.clock, of=_run(plan))
        except psycopg.Error as error:
            raise problem(error) from error
        if broken:
            raise Rejected(f"an invariant does not hold: {'; '.join(broken)}")
        return {"said": f"{origin.database} answers, the invariants hold"}

    def _snapshot(self, plan: Plan) -> Snapshot:
        found = snapshot_files.named(self._directory, text_at(plan.settings, "data", "snapshot"))
        if found.manifest.sha256 != text_at(plan.settings, "data", "sha256"):
            raise BadSnapshot("it is not the one that the plan is about: the checksum differs")
        return found


def _tables(data: JsonObject) -> list[Table]:
    pairs = (pair for pair in list_at(data, "tables") if isinstance(pair, list))
    return [(str(schema), str(name)) for schema, name in pairs]


def _run(plan: Plan) -> str:
    return str(plan.rollback)


def _for_good(error: psycopg.Error | OSError | TemporaryError) -> RollbackdError:
    """A rollback that waits here keeps the app stopped: it ends instead."""
    said = problem(error)
    return Rejected(said.message, hint=said.hint)
