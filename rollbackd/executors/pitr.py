"""Puts a whole Supabase project back to the moment before a release: point-in-time recovery.

Overwrites in place, takes minutes to hours, cannot be undone: a person approves each one. The call
has neither a job id nor an idempotency key, so that it was sent is on disk before it is sent, and
whoever goes on looks at the project first and never sends it again.
"""

from __future__ import annotations

import enum
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import ClassVar, Final

from rollbackd import __version__
from rollbackd.core.errors import (
    Ambiguous,
    ConfigError,
    PlanRefused,
    Rejected,
    RollbackdError,
    TemporaryError,
)
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.noting import Note
from rollbackd.core.ports import Clock, Observation, Seen
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app_steps import Numbered
from rollbackd.executors.database_steps import framed
from rollbackd.fly.json_shape import object_at, text_at, whole_at
from rollbackd.plugins import ExecutorContext
from rollbackd.supabase import management
from rollbackd.supabase.client import Status, SupabaseClient
from rollbackd.supabase.management import Backups, ProjectStatus

BEFORE_SECONDS: Final = 60  # its migrations may have run a moment before the release appeared
_LEAVES_SECONDS: Final = 120.0  # until a project that took the call says that it restores
_RESTORE_SECONDS: Final = 6 * 3600.0
_POLL_SECONDS: Final = 10.0
_AS_BEFORE: Final = frozenset({ProjectStatus.ACTIVE_HEALTHY, ProjectStatus.UNKNOWN})


class Kind(enum.StrEnum):
    CHECK = "pitr_check"
    REQUEST = "pitr_request"
    WAIT = "pitr_wait"
    VERIFY = "pitr_verify"


class PitrExecutor:
    """Fits `core.ports.Executor` and `core.noting.NotesMidway` for one target's project."""

    kind: ClassVar[str] = "pitr"
    step_kinds: ClassVar[frozenset[str]] = frozenset(Kind)

    def __init__(self, context: ExecutorContext, project: str) -> None:
        self._context = context
        self._project = project
        self._clock: Clock = context.clock

    @classmethod
    def build(cls, context: ExecutorContext) -> PitrExecutor:
        database = context.target.database
        if database is None or not database.supabase_project:
            raise ConfigError(
                f"target {context.target.name} has a plan with the step pitr, but no project",
                hint="add `database: {supabase: {project: …}}` to the target",
            )
        return cls(context, database.supabase_project)

    async def plan(self, decision: RollBack) -> Plan:
        if decision.bad.created_at is None:
            raise PlanRefused(f"nobody knows when v{decision.bad.version} came")
        at = int(decision.bad.created_at) - BEFORE_SECONDS
        async with self._client() as client:
            await self._refuse(client, at)
            known = await management.migrations(client, self._project)
        target, lost = self._context.target, int(decision.at) - at
        said = f"the project {self._project} goes back to {_utc(at)}"
        notes = [
            f"everything written since is lost: {lost} s of it at the time of the plan",
            "the whole project is offline meanwhile: minutes to hours, and nothing undoes it",
            "files in storage stay as they are; what replicates from it must be set up again",
            *([f"its history has {len(known)} migrations now"] if known is not None else []),
        ]
        return framed(
            target,
            target.plans[decision.plan],
            decision,
            said=said,
            notes=notes,
            asks=f"{said}: everything written since is lost",
            settings={"pitr": {"project": self._project, "at": at}},
            work=lambda made: _work(made, said),
        )

    async def still_applies(self, plan: Plan) -> None:
        wanted = text_at(plan.settings, "pitr", "project")
        if wanted != self._project:
            raise PlanRefused(f"this rollback is about {wanted}, the target has {self._project}")

    async def observe(
        self,
        plan: Plan,  # noqa: ARG002 -- the journal's row and the project tell
        step: Step,
        results: Mapping[int, JsonObject],
    ) -> Observation:
        """Once it may have been sent, only the project itself tells whether it was taken."""
        noted = results.get(step.seq, {})
        if step.kind != Kind.REQUEST or "requested_at" not in noted or "refused" in noted:
            return Observation(seen=Seen.NOT_DONE)
        async with self._client() as client:
            found = await management.status(client, self._project)
        if found is ProjectStatus.UNKNOWN:
            raise TemporaryError("Supabase does not say what the project does")
        if found is ProjectStatus.ACTIVE_HEALTHY:
            return Observation(
                seen=Seen.CHANGED,
                detail="the restore was asked for and the project looks as before: it was not"
                " taken, or it is over; it is not asked for again by itself",
            )
        return Observation(seen=Seen.DONE, result={"status": found.value})

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        return await self.apply_noting(plan, step, results, _nowhere)

    async def apply_noting(
        self,
        plan: Plan,
        step: Step,
        results: Mapping[int, JsonObject],  # noqa: ARG002 -- the project itself is asked
        note: Note,
    ) -> JsonObject:
        at = whole_at(object_at(plan.settings, "pitr"), "at") or 0
        async with self._client() as client:
            match Kind(step.kind):
                case Kind.CHECK:
                    await self._refuse(client, at)
                    return {"said": "the project is well and can go back that far"}
                case Kind.REQUEST:
                    return await self._request(client, at, note)
                case Kind.WAIT:
                    return await self._wait(client)
                case Kind.VERIFY:
                    return await self._verify(client)

    async def let_go(self, plan: Plan) -> Sequence[str]:
        return [f"a restore of {text_at(plan.settings, 'pitr', 'project')} cannot be taken back"]

    async def _request(self, client: SupabaseClient, at: int, note: Note) -> JsonObject:
        found = await management.status(client, self._project)
        if found is not ProjectStatus.ACTIVE_HEALTHY:
            raise Rejected(f"the project is {found.value}", hint="nothing was sent")
        self._context.permit("the restore")
        asked: JsonObject = {"requested_at": self._clock.now(), "to": at}
        await note(asked)
        try:
            await management.restore_to(client, self._project, at)
        except Ambiguous:
            pass  # what the project does tells
        except RollbackdError as error:
            await note({**asked, "refused": error.message})
            raise
        until = self._clock.monotonic() + _LEAVES_SECONDS
        while self._clock.monotonic() < until:
            found = await self._status(client)
            if found not in _AS_BEFORE:
                return {**asked, "status": found.value}
            await self._clock.sleep(_POLL_SECONDS)
        raise Ambiguous("the restore was asked for, and the project does nothing")

    async def _wait(self, client: SupabaseClient) -> JsonObject:
        began = self._clock.now()
        while True:
            found = await self._status(client)
            match found:
                case ProjectStatus.ACTIVE_HEALTHY:
                    return {"status": found.value, "seconds": round(self._clock.now() - began)}
                case ProjectStatus.RESTORE_FAILED | ProjectStatus.REMOVED:
                    raise Rejected(
                        f"the project is {found.value}", hint="Supabase's support has to look"
                    )
                case _:
                    await self._clock.sleep(_POLL_SECONDS)

    async def _status(self, client: SupabaseClient) -> ProjectStatus:
        """UNKNOWN where it could not be asked: it is asked again."""
        try:
            return await management.status(client, self._project)
        except TemporaryError:
            return ProjectStatus.UNKNOWN

    async def _verify(self, client: SupabaseClient) -> JsonObject:
        for service in await client.health(self._project, ("db",), within_seconds=10):
            if service.status is not Status.ACTIVE_HEALTHY:
                raise TemporaryError(f"{service.name} is {service.status.value}")
        return {"said": "the database is up again"}

    async def _refuse(self, client: SupabaseClient, at: int) -> None:
        """Raise PlanRefused where it cannot be done."""
        found = await management.status(client, self._project)
        if found is not ProjectStatus.ACTIVE_HEALTHY:
            raise PlanRefused(f"the project {self._project} is {found.value}")
        _refuse_backups(await management.backups(client, self._project), at)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[SupabaseClient]:
        access = self._context.supabase
        if access is None or access.token is None:
            raise PlanRefused("there is no Supabase token", hint="set ROLLBACKD_SUPABASE_TOKEN")
        client = SupabaseClient(
            access.url,
            access.token,
            user_agent=f"rollbackd/{__version__}",
            ssl_context=ssl.create_default_context(),
        )
        try:
            yield client
        finally:
            await client.close()


def _work(made: Numbered, said: str) -> Iterator[Step]:
    yield made.step(Phase.CHECKLIST, Kind.CHECK, "ask Supabase whether it can be done")
    request: JsonObject = {"once": True, "deadline_seconds": _LEAVES_SECONDS + 60}
    yield made.step(Phase.EXECUTE, Kind.REQUEST, said, request, mutates=True)
    wait: JsonObject = {"deadline_seconds": _RESTORE_SECONDS}
    yield made.step(Phase.EXECUTE, Kind.WAIT, "wait for the project", wait)
    yield made.step(Phase.VERIFY, Kind.VERIFY, "ask whether the database is up")


def _refuse_backups(found: Backups, at: int) -> None:
    if not found.pitr:
        raise PlanRefused("point-in-time recovery is not enabled for this project")
    if found.earliest is None or at < found.earliest:
        raise PlanRefused(f"{_utc(at)} is before the oldest moment that can be restored")
    # The newest moment lags where nothing is written: then nothing after it is lost either.


def _utc(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


async def _nowhere(_noted: JsonObject) -> None:
    raise Rejected("a restore is only asked for where a journal holds it")
