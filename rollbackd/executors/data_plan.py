"""Makes the frozen plan of a restore: which snapshot, which way, what would be lost. Everything is
tried beside the real database first; that one is only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import Json, JsonObject, Restore, RollBack
from rollbackd.core.policy import PlanPolicy, Traffic
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.executors.app_steps import Numbered
from rollbackd.executors.data import Kind
from rollbackd.executors.database_plan import refuse_unfit
from rollbackd.executors.database_steps import framed
from rollbackd.executors.fence_steps import STOPS_AT_ONCE, fence, give_back, refuse_unfenced
from rollbackd.executors.plan_hash import TOLD
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import ExecutorContext
from rollbackd.postgres import snapshot, snapshot_files
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.one_commit import Deadline
from rollbackd.postgres.restore_choice import Choice, Way, choose
from rollbackd.postgres.restored import restored
from rollbackd.postgres.since import Since
from rollbackd.postgres.snapshot_files import Snapshot

SPARE_SECONDS: Final = 60.0
_MOST_LINES: Final = 40
_FRESH_SECONDS: Final = 600.0


class Planner:
    """Plans for one target's data."""

    def __init__(
        self,
        context: ExecutorContext,
        platform: FlyPlatform,
        policy: DatabasePolicy,
        url: SecretStr,
        directory: Path,
    ) -> None:
        self._context = context
        self._platform = platform
        self._policy = policy
        self._url = url
        self._directory = directory
        self._last: tuple[object, float, Choice] | None = None

    async def plan(self, decision: RollBack, address: str) -> Plan:
        """Raises PlanRefused with the reason, BadSnapshot, or TemporaryError where the database is
        in trouble.
        """
        policy = self._context.target.plans[decision.plan]
        _refuse_order(policy)
        fleet = await self._platform.fleet()
        refuse_unfenced(fleet, self._platform.app)
        wish = decision.restore or Restore()
        async with await connect(self._url, name=f"{decision.id}/plan") as live:
            await refuse_unfit(live)
            chosen = await self._chosen(live, decision, wish)
            found = await self._tried(live, chosen, decision, wish)
        said = _said(found, chosen, wish)
        told = _told(found, chosen, wish)
        params: JsonObject = {
            "once": True,
            "deadline_seconds": self._policy.snapshots.limit_seconds
            + self._policy.lock_budget_seconds
            + SPARE_SECONDS,
            TOLD: told,
        }
        made = framed(
            self._context.target,
            policy,
            decision,
            said=said,
            notes=_notes(found, wish),
            asks=_asks(found, wish, said),
            settings=self._settings(chosen, found, wish, address),
            work=lambda numbered: self._steps(numbered, fleet, said, params),
        )
        alone = policy.steps == ("data",)
        return replace(made, parallel=min(STOPS_AT_ONCE, len(fleet)) if alone else 1)

    async def _tried(
        self, live: Connection, chosen: Snapshot, decision: RollBack, wish: Restore
    ) -> Choice:
        """The snapshot restored beside. Not again within ten minutes for what a person has looked
        at already, and for a proposal, whose plan is made anew every minute: what an approval is
        bound to is the same then, and the restore itself proves everything once more.
        """
        clock = self._context.clock
        schema = (await fingerprint(live, chosen.manifest.schemas)).sha256
        key = (chosen.id, chosen.manifest.sha256, wish, schema)
        known = self._last if decision.automatic or decision.plan_hash else None
        if known and known[0] == key and clock.monotonic() - known[1] < _FRESH_SECONDS:
            return known[2]
        deadline = Deadline.of(clock, self._policy.snapshots.limit_seconds)
        async with restored(self._url, live, chosen, deadline=deadline) as (beside, archive):
            found = await choose(live, beside, archive, chosen, wish, policy=self._policy)
        self._last = key, clock.monotonic(), found
        return found

    async def _chosen(self, live: Connection, decision: RollBack, wish: Restore) -> Snapshot:
        if wish.snapshot:
            return snapshot_files.named(self._directory, wish.snapshot)
        origin = await snapshot.origin(live)
        came = decision.bad.created_at
        if came is None:
            raise PlanRefused(
                f"nobody knows when v{decision.bad.version} came", hint="name one: --snapshot"
            )
        fitting = [
            one
            for one in snapshot_files.of(self._directory, decision.target)
            if one.manifest.origin == origin and one.manifest.taken_at < came
        ]
        if not fitting:
            raise PlanRefused(
                f"there is no snapshot of this database from before v{decision.bad.version} came",
                hint="rollbackd snapshots lists them; name one: --snapshot",
            )
        return fitting[-1]

    def _settings(self, chosen: Snapshot, found: Choice, wish: Restore, address: str) -> JsonObject:
        return {
            "app": self._platform.app,
            "data": {
                "address": address,
                "snapshot": chosen.id,
                "sha256": chosen.manifest.sha256,
                "way": found.way.value,
                "tables": [[*table] for table in found.tables],
                "missing": wish.missing,
                "common": wish.common,
                "before": found.before,
            },
        }

    def _steps(
        self, made: Numbered, fleet: Sequence[JsonObject], said: str, params: JsonObject
    ) -> Iterator[Step]:
        limit: Json = self._policy.snapshots.limit_seconds + SPARE_SECONDS
        yield made.step(Phase.CHECKLIST, Kind.CHECK, "look at snapshot and database once more")
        yield from fence(made, fleet)
        keep: JsonObject = {"deadline_seconds": limit}
        yield made.step(Phase.EXECUTE, Kind.KEEP, "keep the data as it is now, verified", keep)
        yield made.step(Phase.EXECUTE, Kind.RESTORE, said, params, mutates=True)
        yield made.step(Phase.VERIFY, Kind.VERIFY, "the data is back, the invariants hold")
        yield from give_back(made, fleet)


def _refuse_order(policy: PlanPolicy) -> None:
    if policy.traffic is not Traffic.STOP:
        raise PlanRefused(
            f"plan {policy.name}: the app would write meanwhile", hint="write traffic: stop"
        )
    if {"database", "pitr"} & set(policy.steps):
        raise PlanRefused(
            f"plan {policy.name}: one plan changes a database in one way",
            hint="take the migrations back with a plan of its own",
        )
    if "app" in policy.steps and policy.steps.index("app") < policy.steps.index("data"):
        raise PlanRefused(
            f"plan {policy.name}: the good release would run while its data is put back",
            hint="steps: [data, app]",
        )


def _said(found: Choice, chosen: Snapshot, wish: Restore) -> str:
    what = f"{len(found.tables)} tables"
    if found.way is Way.ROWS:
        what = ", ".join(".".join(table) for table in found.tables)
    of = f"snapshot {chosen.id} of {_utc(chosen.manifest.taken_at)}"
    match found.way:
        case Way.ROWS if wish.missing:
            return f"missing rows of {what} come back from {of}"
        case Way.ROWS:
            return f"{what} as in {of}"
        case Way.OVER:
            return f"all rows of {what} as in {of}"
        case Way.SWAP:
            return f"the whole database, schema and {what}, as in {of}"


def _asks(found: Choice, wish: Restore, said: str) -> str:
    if wish.missing:
        return f"{said}: nothing is lost, and rows that were deleted are there again"
    new = sum(one.new for one in found.written.values())
    other = sum(one.other for one in found.written.values())
    rows = f"{new:,} rows written since are lost, {other:,} changed ones go back"
    more = f", and what was written to {', '.join(found.uncounted)}" if found.uncounted else ""
    return f"{said}: {rows}{more}"


def _notes(found: Choice, wish: Restore) -> list[str]:
    notes = [
        f"data: {'.'.join(table)}: {line}"
        for table, one in found.written.items()
        if (line := _line(one, missing=wish.missing))
    ][:_MOST_LINES]
    notes += [f"data: {table}: its columns differ: nobody counted" for table in found.uncounted]
    notes += [f"data: column {name} is gone: it is left out" for name in found.left_out]
    notes += [f"data: it stays as it is now: {line}" for line in found.stays]
    notes += [f"data: it will be as it was: {line}" for line in found.returns]
    if found.history:
        notes.append(f"data: the migration history goes back: {found.history}")
    if found.way is Way.SWAP:
        notes.append("data: the database of now stays beside it, under another name")
    notes.append("data: what is there now is kept in a snapshot first: the way back")
    return notes


def _line(one: Since, *, missing: bool) -> str:
    if missing:
        return f"{one.gone:,} rows come back" if one.gone else ""
    said = (
        (one.new, "written since are lost"),
        (one.other, "changed since go back"),
        (one.gone, "deleted since come back"),
    )
    return ", ".join(f"{count:,} {words}" for count, words in said if count)


def _told(found: Choice, chosen: Snapshot, wish: Restore) -> JsonObject:
    """For people and scripts; no approval is bound to it: rows move while the app writes."""
    return {
        "snapshot": chosen.id,
        "taken_at": chosen.manifest.taken_at,
        "way": found.way.value,
        "missing": wish.missing,
        "tables": {
            ".".join(table): {"new": one.new, "other": one.other, "gone": one.gone}
            for table, one in found.written.items()
        },
        "uncounted": list(found.uncounted),
        "left_out": list(found.left_out),
        "stays": list(found.stays),
        "returns": list(found.returns),
        "history": found.history,
    }


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
