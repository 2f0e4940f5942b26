"""What the store tells when no daemon is alive. Reads only, and says how old it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from rollbackd.cli.client import DaemonGone, state_directory
from rollbackd.clock import SystemClock
from rollbackd.core.errors import NotFound, UsageError
from rollbackd.core.facts import Paused, ReleasesSeen, Resumed, TargetFact
from rollbackd.core.model import Json, JsonObject, TargetName
from rollbackd.core.ports import Store
from rollbackd.core.runbook import Journal
from rollbackd.core.snapshot import ReleaseView
from rollbackd.telemetry import shapes

T = TypeVar("T")
_RECORD_LINES = 500


def read(gone: DaemonGone, ask: Callable[[Store], Awaitable[T]]) -> T:
    """Ask the store of the state directory. Raises `gone` where there is none."""
    from rollbackd.stores.sqlite import SqliteStore  # noqa: PLC0415 -- only without a daemon

    async def asked() -> T:
        store = SqliteStore(state_directory(), SystemClock(), read_only=True)
        try:
            await store.open()
        except (NotFound, UsageError) as error:
            raise gone from error  # no state directory either: the daemon is what is missing
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(asked())


async def status(store: Store) -> JsonObject:
    """The last decision and pause of each target, and what is unfinished."""
    last: dict[str, JsonObject] = {}
    for line in await store.record_lines(None, _RECORD_LINES):
        if line.kind == "decision" and line.target:
            last[line.target] = _decided(line.data, line.at)
    until = _paused(await store.facts(0))
    running = {j.plan.target: j for j in await store.unfinished()}
    names = sorted({*last, *until, *running})
    targets: list[Json] = []
    for name in names:
        journal = running.get(TargetName(name))
        targets.append(
            {
                "name": name,
                "decision": last.get(name),
                "paused_until": until.get(name),
                "rollback": _begun(journal) if journal is not None else None,
            }
        )
    return {"daemon": "down", "targets": targets}


def releases_of(target: str | None) -> Callable[[Store], Awaitable[JsonObject]]:
    """The releases last seen. What they are worth only a living daemon knows."""

    async def ask(store: Store) -> JsonObject:
        seen = {f.target: f for f in await store.facts(0) if isinstance(f, ReleasesSeen)}
        name = TargetName(target) if target else next(iter(seen), None)
        if name is None or name not in seen or (target is None and len(seen) != 1):
            listed = ", ".join(sorted(seen)) or "none"
            raise UsageError(f"releases were kept of: {listed}", hint="name one of them")
        newest = max(r.version for r in seen[name].releases)
        views = [
            ReleaseView(release=r, standing="unknown", current=r.version == newest)
            for r in seen[name].releases
        ]
        return {
            "daemon": "down",
            "target": name,
            "seen_at": seen[name].at,
            "releases": [shapes.release(view) for view in views],
        }

    return ask


def history_of(target: str | None, limit: int) -> Callable[[Store], Awaitable[JsonObject]]:
    async def ask(store: Store) -> JsonObject:
        rows = await store.history(TargetName(target) if target else None, limit)
        return {"daemon": "down", "rollbacks": [shapes.past(row) for row in rows]}

    return ask


def _decided(data: JsonObject, at: float) -> JsonObject:
    """A line of the record in the words of the status."""
    by = "auto" if data.get("trigger") else "manual"
    return {
        "kind": data.get("decision"),
        "reason": data.get("reason") or by,
        "why": data.get("why") or "",
        "trigger": data.get("trigger"),
        "at": at,
    }


def _begun(journal: Journal) -> JsonObject:
    return {"id": journal.plan.rollback, "state": str(journal.state)}


def _paused(facts: Iterable[TargetFact]) -> dict[str, float]:
    now = SystemClock().now()
    until: dict[str, float] = {}
    for fact in facts:
        match fact:
            case Paused():
                until[fact.target] = fact.until
            case Resumed():
                until.pop(fact.target, None)
            case _:
                pass
    return {target: at for target, at in until.items() if at > now}
