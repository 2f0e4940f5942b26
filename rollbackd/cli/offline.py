"""What the store tells when no daemon is alive. Reads only, and says how old it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, DaemonGone, state_directory, target_path
from rollbackd.clock import SystemClock
from rollbackd.core.deploys import Deploys
from rollbackd.core.errors import NotFound, UsageError
from rollbackd.core.facts import (
    Announced,
    Blessed,
    Paused,
    Quarantined,
    ReleasesSeen,
    Resumed,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
    Unquarantined,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Json, JsonObject, TargetName
from rollbackd.core.ports import Store
from rollbackd.core.runbook import Journal
from rollbackd.core.view import release_views
from rollbackd.core.vouching import hear
from rollbackd.postgres.observations import Observations, told
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


def asked_of(
    target: str | None,
    path: str,
    kept: Callable[[Store], Awaitable[JsonObject]],
    how_old: Callable[[JsonObject], str],
) -> JsonObject:
    """The daemon's word on a target, or else what was `kept` of it and a note that says so."""
    try:
        with Daemon() as daemon:
            return daemon.get(target_path(daemon.pick(target), path))
    except DaemonGone as gone:
        answer = read(gone, kept)
        show.note(f"{gone.message}: {how_old(answer)}")
        return answer


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
    """The releases last seen, and what was known of each."""

    async def ask(store: Store) -> JsonObject:
        facts = await store.facts(0)
        seen = {f.target: f for f in facts if isinstance(f, ReleasesSeen)}
        name = TargetName(target) if target else next(iter(seen), None)
        if name is None or name not in seen or (target is None and len(seen) != 1):
            listed = ", ".join(sorted(seen)) or "none"
            raise UsageError(f"releases were kept of: {listed}", hint="name one of them")
        ledger = await _ledger_of(store, name)
        deploys = _deploys_of((f for f in facts if f.target == name), ledger)
        return {
            "daemon": "down",
            "target": name,
            "seen_at": seen[name].at,
            "releases": [shapes.release(view) for view in release_views(ledger, deploys)],
        }

    return ask


def database_of(target: str | None) -> Callable[[Store], Awaitable[JsonObject]]:
    """How the database was while its releases were well, as far as it was kept."""

    async def ask(store: Store) -> JsonObject:
        seen = {f.target for f in await store.facts(0) if isinstance(f, ReleasesSeen)}
        name = TargetName(target) if target else next(iter(seen), None)
        if name is None or name not in seen or (target is None and len(seen) != 1):
            listed = ", ".join(sorted(seen)) or "none"
            raise UsageError(f"releases were kept of: {listed}", hint="name one of them")
        return {"daemon": "down", **await told(Observations(store, name), name)}

    return ask


async def _ledger_of(store: Store, target: TargetName) -> Ledger:
    ledger = Ledger()
    kept = await store.get_blob(f"ledger/{target}")
    if isinstance(kept, dict):
        ledger.restore(kept)
    return ledger


def _deploys_of(facts: Iterable[TargetFact], ledger: Ledger) -> Deploys:
    """What ran, as far as the releases alone tell; what people said goes into the ledger."""
    deploys, good = Deploys(), None
    for fact in facts:
        match fact:
            case ReleasesSeen(at=at):
                deploys.see_releases(fact)
                deploys.dress(ledger.authorship.dress)
                deploys.take_effect(at, good)
            case RollbackStarted():
                good = fact.good
                hear(ledger, fact, deploys.known)
            case RollbackSwitched(at=at, version=version, app=True) if good is not None:
                deploys.switch_back(good, version, at)
            case Announced() | Blessed() | Quarantined() | Unquarantined():
                hear(ledger, fact, deploys.known)
            case _:
                pass
    return deploys


def history_of(target: str | None, limit: int) -> Callable[[Store], Awaitable[JsonObject]]:
    async def ask(store: Store) -> JsonObject:
        rows = await store.history(TargetName(target) if target else None, limit)
        known = {TargetName(target)} if target else {f.target for f in await store.facts(0)}
        would: list[Json] = []
        for name in sorted(known):
            found = (await _ledger_of(store, name)).trial.would_have.values()
            would += [{"target": name, **each.as_json()} for each in reversed(found)]
        past: list[Json] = [shapes.past(row) for row in rows]
        return {"daemon": "down", "rollbacks": past, "would_have": would[:limit]}

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
