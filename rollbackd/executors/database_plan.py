"""Makes the frozen plan of a database rollback: what came with the release, what reverses it, what
that costs, measured where it does not count. Reads only, but for the scratch database.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import SecretStr

from rollbackd import __version__
from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.core.errors import (
    PlanRefused,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
)
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.policy import PlanPolicy, Traffic
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors import database_frozen
from rollbackd.executors.app_steps import Numbered
from rollbackd.executors.database import Kind
from rollbackd.executors.database_found import (
    after,
    app_first,
    named,
    never_took_effect,
    orders,
    row_only,
    without,
)
from rollbackd.executors.database_steps import framed
from rollbackd.executors.database_words import asks, notes, refuses
from rollbackd.executors.fence_steps import STOPS_AT_ONCE, fence, give_back, refuse_unfenced
from rollbackd.executors.plan_hash import MEASURED, TOLD
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import ExecutorContext
from rollbackd.postgres import histories, lineage, rehearsal, reverses, rows_left
from rollbackd.postgres.came_with import came_with
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.fit import runs_on
from rollbackd.postgres.observations import Observations
from rollbackd.postgres.telling import told
from rollbackd.postgres.words import Applied, Fingerprint, Observed, Reverse
from rollbackd.supabase import management
from rollbackd.supabase.client import Status, SupabaseClient

BLOB: Final = "fly/plan/{}/database"  # beside the app's part: what forgets plans forgets both
_SPARE: Final = 60.0  # seconds
_ASK_SECONDS: Final = 10.0
_FIT: Final = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
  (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What came with the release, newest first, and how the database was while the good one ran;
    None where a person named the migration to go back to and it was never seen like that.
    """

    now: tuple[Applied, ...]
    came: tuple[Applied, ...]
    good: Observed | None


class Planner:
    """Plans for one target's database."""

    def __init__(self, context: ExecutorContext, policy: DatabasePolicy, url: SecretStr) -> None:
        self._context = context
        self._policy = policy
        self._url = url
        self._ledger = Observations(context.store, context.target.name)

    async def plan(self, decision: RollBack, address: str) -> Plan:
        """Raises PlanRefused with the reason; TemporaryError where the database is in trouble,
        which accuses no release.
        """
        await self._refuse_ill_project()
        async with await connect(self._url, name=f"{decision.id}/plan") as connection:
            await refuse_unfit(connection)
            found = await self._found(connection, decision)
            if not found.came:
                return self._nothing(decision, "no migration came with it: the database stays")
            steps = await self._reverses(connection, found)
            rows = await rows_left.told(connection, steps, self._policy.rollback_dirs)
            if await self._can_wait(connection, decision, found):
                return self._nothing(
                    decision,
                    "deferred: it only adds to the schema, which the good release ignores;"
                    f" later: rollbackd rollback {decision.target} --plan database",
                )
        good = found.good.fingerprint if found.good else None
        measured = await self._rehearsed(steps, good)
        return await self._frozen(decision, measured, address, rows)

    async def _rehearsed(
        self, steps: tuple[Reverse, ...], good: Fingerprint | None
    ) -> rehearsal.Rehearsed:
        """In the first order that works: of two tools nobody keeps which one was first."""
        refused: RollbackdError | None = None
        for order in orders(steps):
            try:
                return await rehearsal.rehearse(
                    self._url, order, policy=self._policy, good=good, clock=self._context.clock
                )
            except Rejected as error:
                refused = refused or error
        assert refused is not None  # there is an order
        raise refused

    async def _can_wait(self, connection: Connection, decision: RollBack, found: _Found) -> bool:
        """Where the app goes first: whether the good release runs on the schema of now."""
        if found.good is None or not app_first(self._context.target.plans[decision.plan]):
            return False
        now = await fingerprint(connection, self._policy.schemas)
        return not runs_on(found.good.fingerprint, now)

    async def _found(self, connection: Connection, decision: RollBack) -> _Found:
        now = tuple(await histories.applied(connection, self._policy.histories))
        now = lineage.lineage(now, self._policy.rollback_dirs)
        if decision.to_migration:
            came = after(now, decision.to_migration)
            return _Found(now=now, came=came, good=await self._ledger.that_had(without(now, came)))
        good = await self._ledger.of(decision.good.content)
        if good is None:
            raise PlanRefused(
                f"nobody saw the database while v{decision.good.version} was well",
                hint="name the newest migration that stays yourself: --to-migration",
            )
        return _Found(now=now, came=came_with(now, good.applied), good=good)

    async def _reverses(self, connection: Connection, found: _Found) -> tuple[Reverse, ...]:
        """Newest first. PlanRefused with all that is wrong, file and line: no half of a plan."""
        failed = {step.key for step in found.came if never_took_effect(step)}
        steps = [step for step in found.came if step.key not in failed]
        stored = await histories.stored_reverses(connection, steps)
        # Megabytes of SQL take seconds to look through, and others wait for this loop.
        looked = await asyncio.to_thread(reverses.find, steps, self._policy.rollback_dirs, stored)
        wrong = [str(problem) for problem in looked.problems]
        wrong += [
            f"{reverse.where}:{reverse.line}: no-transaction: nobody could take it back, so it is"
            " done by hand (a plain DROP INDEX holds its lock for milliseconds)"
            for reverse in looked.reverses
            if not reverse.transactional
        ]
        if wrong:
            more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise PlanRefused(f"{wrong[0]}{more}", hint="; ".join(wrong[1:]))
        by_key = {reverse.applied.key: reverse for reverse in looked.reverses}
        return tuple(by_key.get(step.key) or row_only(step) for step in found.came)

    async def _frozen(
        self, decision: RollBack, measured: rehearsal.Rehearsed, address: str, rows: list[str]
    ) -> Plan:
        agreed, cost = measured.reversal, measured.total
        frozen = database_frozen.as_json(agreed)
        await self._context.store.put_blob(BLOB.format(decision.id), frozen)
        names = [named(step.applied) for step in agreed.steps]
        policy, target = self._context.target.plans[decision.plan], self._context.target
        loses = bool(cost.rows_lost or cost.columns_lost) or cost.harm is Harm.LOSSY
        settings: JsonObject = {
            "app": self._app,
            "database": {
                "address": address,
                "kept": str(decision.id),
                "reversal": database_frozen.sum_of(frozen),
                "migrations": [*names],
                "harm": cost.harm.value,
            },
        }
        said = f"{len(names)} migrations are taken back, in one transaction: {', '.join(names)}"
        params: JsonObject = {
            "once": True,
            "deadline_seconds": self._seconds(len(names)),
            "migrations": [*names],
            MEASURED: dict(agreed.rows_lost.items()),
            TOLD: told(agreed.steps, cost, self._policy, snapshot=loses),
        }
        fleet = await self._fenced(policy)
        made = framed(
            target,
            policy,
            decision,
            said=said.replace("1 migrations are", "1 migration is", 1),
            notes=[*notes(cost, self._policy), *(f"database: {line}" for line in rows)],
            asks="" if cost.harm in self._policy.auto else asks(cost),
            refuses=refuses(agreed),
            settings=settings,
            work=lambda numbered: _steps(numbered, names, params, snapshot=loses, fleet=fleet),
        )
        return replace(made, parallel=max(1, min(STOPS_AT_ONCE, len(fleet))))

    async def _fenced(self, policy: PlanPolicy) -> Sequence[JsonObject]:
        """The machines to stop, where no part of the plan but this one would: traffic: stop."""
        platform = self._context.platform
        if policy.traffic is not Traffic.STOP or not isinstance(platform, FlyPlatform):
            return ()
        if "app" in policy.steps:
            return ()
        fleet = await platform.fleet()
        refuse_unfenced(fleet, platform.app)
        return fleet

    def _nothing(self, decision: RollBack, why: str) -> Plan:
        """A part that does nothing, and says why."""
        target = self._context.target
        return framed(
            target,
            target.plans[decision.plan],
            decision,
            said=why,
            notes=[f"database: {why}"],
            asks="",
            settings={"app": self._app, "database": {}},
            work=lambda _made: iter(()),
        )

    @property
    def _app(self) -> str:
        platform = self._context.platform
        return platform.app if isinstance(platform, FlyPlatform) else ""

    def _seconds(self, steps: int) -> float:
        """The longest that taking them back may last; the transaction has limits of its own."""
        policy = self._policy
        return policy.lock_budget_seconds + policy.statement_timeout_seconds * (steps + 1) + _SPARE

    async def _refuse_ill_project(self) -> None:
        """Supabase in trouble is no bad release; and a full disk refuses what would undo one."""
        project, access = self._policy.supabase_project, self._context.supabase
        if not project or access is None or access.token is None:
            return
        client = SupabaseClient(
            access.url,
            access.token,
            user_agent=f"rollbackd/{__version__}",
            ssl_context=ssl.create_default_context(),
        )
        try:
            for service in await client.health(project, ("db",), within_seconds=_ASK_SECONDS):
                if service.status is not Status.ACTIVE_HEALTHY:
                    raise TemporaryError(
                        f"Supabase says that {service.name} is {service.status.value}",
                        hint="the database itself is in trouble: this accuses no release",
                    )
            if await management.read_only(client, project):
                raise TemporaryError(
                    f"Supabase has made the project {project} read-only", hint="is its disk full?"
                )
        except Unauthorized:
            return  # a token for other things: the database itself is asked anyway
        finally:
            await client.close()


async def refuse_unfit(connection: Connection) -> None:
    """Raise PlanRefused where nothing can be changed here now."""
    row: Any = await (await connection.execute(_FIT)).fetchone()
    standby, read_only, prepared = row
    if standby:
        raise PlanRefused("this is a standby", hint="name the primary in database.url")
    if read_only:
        raise PlanRefused("the database is read-only", hint="is its disk full?")
    if prepared:
        raise PlanRefused(f"{prepared} prepared transactions hold locks", hint="end them first")


def _steps(
    made: Numbered,
    names: list[str],
    params: JsonObject,
    *,
    snapshot: bool,
    fleet: Sequence[JsonObject],
) -> Iterator[Step]:
    yield made.step(Phase.CHECKLIST, Kind.CHECK, "look at the database once more")
    yield from fence(made, fleet)
    if snapshot:  # behind the fence: what was written until then is in it
        yield made.step(Phase.EXECUTE, Kind.SNAPSHOT, "keep the data as it is, verified")
    what = names[0] if len(names) == 1 else f"{len(names)} migrations"
    yield made.step(Phase.EXECUTE, Kind.REVERSE, f"take back {what}", params, mutates=True)
    yield made.step(Phase.VERIFY, Kind.VERIFY, "the schema is as before, the invariants hold")
    if fleet:
        yield from give_back(made, fleet)
