"""How a snapshot can come back, by what it and the database of now have in common. Changes nothing.

Refused is what cannot be proven: a table that is no more, a schema that differs where the database
cannot be replaced, a rule of the owner that the snapshot itself breaks.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import Restore
from rollbackd.postgres import histories, invariants, outcome
from rollbackd.postgres.archive import Archive, Rows, Table
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.fingerprint import compare, fingerprint, made_of
from rollbackd.postgres.history_rows import parts
from rollbackd.postgres.inside import inside
from rollbackd.postgres.restore_rows import columns_of
from rollbackd.postgres.restore_whole import ROWS_REST_ON, refuse_unlike
from rollbackd.postgres.since import Since, since
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.staging import key_of
from rollbackd.postgres.swap_fit import unlike, why_not
from rollbackd.postgres.words import Difference, Fingerprint

_MOST_LINES = 12


class Way(enum.StrEnum):
    """`rows`: of some tables. `over`: all tables emptied and filled. `swap`: in its place."""

    ROWS = "rows"
    OVER = "over"
    SWAP = "swap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`before`: the sum of the schema of now. `stays`: in what it differs from the snapshot's and
    will go on to; `returns`: in what it differs and will not any more. `uncounted`: tables of which
    nobody can say what was written since. `history`: what the migration history says afterwards.
    """

    way: Way
    tables: tuple[Table, ...]
    before: str
    written: dict[Table, Since]
    stays: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    history: str = ""
    left_out: tuple[str, ...] = field(default=())  # columns


async def choose(
    live: Connection,
    beside: Connection,
    archive: Archive,
    chosen: Snapshot,
    wish: Restore,
    *,
    policy: DatabasePolicy,
) -> Choice:
    """`beside` has the snapshot restored and compared. PlanRefused with the reason."""
    await _refuse_foreign(live, archive, wish)
    if wish.tables:
        return await _rows(live, beside, archive, chosen, wish)
    if wish.missing or wish.common:
        raise PlanRefused("only single tables can come back in part", hint="name them: --table")
    if broken := await invariants.broken(beside, policy.invariants):
        raise PlanRefused(
            f"an invariant does not hold in the snapshot: {broken[0]}", hint="; ".join(broken[1:])
        )
    schemas, tables = chosen.manifest.schemas, tuple(sorted(archive.tables))
    now = await fingerprint(live, schemas)
    then = chosen.manifest.fingerprint or _bare(await fingerprint(beside, schemas))
    here = now if chosen.manifest.fingerprint else _bare(now)
    found = compare(inside(here, schemas), inside(then, schemas))
    same, history = await _history(live, beside, policy)
    written, uncounted = await _written(live, beside, archive, tables)
    lines = _told(found)
    if not _touches_rows(found) and (same or not found):
        await refuse_unlike(live, tables, schemas)
        return Choice(
            way=Way.OVER,
            tables=tables,
            before=now.sha256,
            written=written,
            stays=lines,
            uncounted=uncounted,
            history=history,
        )
    await _refuse_swap(live, beside, chosen, lines)
    return Choice(
        way=Way.SWAP,
        tables=tables,
        before=now.sha256,
        written=written,
        returns=lines,
        uncounted=uncounted,
        history=history,
    )


async def _rows(
    live: Connection, beside: Connection, archive: Archive, chosen: Snapshot, wish: Restore
) -> Choice:
    tables = tuple(dict.fromkeys(table_named(name, archive) for name in wish.tables))
    columns: list[tuple[Table, Rows]] = []
    left: list[str] = []
    for table in tables:
        rows = archive.tables[table]
        kept = await columns_of(live, table, rows, common=wish.common)
        if not await key_of(live, table):
            raise PlanRefused(f"{'.'.join(table)} has no primary key to tell its rows apart")
        left += [f"{'.'.join(table)}.{name}" for name in rows.names if name not in kept.names]
        columns.append((table, kept))
    now = await fingerprint(live, chosen.manifest.schemas)
    return Choice(
        way=Way.ROWS,
        tables=tables,
        before=now.sha256,
        written=await since(live, beside, columns),
        left_out=tuple(left),
    )


async def _refuse_foreign(live: Connection, archive: Archive, wish: Restore) -> None:
    """Behind the fence it would be too late to learn it: emptying and silencing is an owner's."""
    named = [table_named(name, archive) for name in wish.tables] or list(archive.tables)
    asked = await live.execute(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
        " AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1",
        [[schema for schema, _ in named], [name for _, name in named]],
    )
    found = [str(name) for (name,) in await asked.fetchall()]
    if found:
        raise PlanRefused(
            f"{found[0]} belongs to another role", hint="name the owner's address in database.url"
        )


def table_named(name: str, archive: Archive) -> Table:
    """As people write it: with its schema, or without where only one has it. PlanRefused."""
    pieces = parts(name)
    found = sorted(table for table in archive.tables if tuple(pieces) in {table, table[1:]})
    if len(found) > 1:
        names = ", ".join(".".join(table) for table in found)
        raise PlanRefused(f"{name} could be {names}", hint="write it with its schema")
    if not found:
        raise PlanRefused(
            f"{name} is not in the snapshot", hint='as Postgres writes it: public."Session"'
        )
    return found[0]


async def _written(
    live: Connection, beside: Connection, archive: Archive, tables: Sequence[Table]
) -> tuple[dict[Table, Since], tuple[str, ...]]:
    """Of tables whose columns are still there; of the others nobody can say."""
    known: list[tuple[Table, Rows]] = []
    unknown: list[str] = []
    for table in tables:
        rows = archive.tables[table]
        try:
            await columns_of(live, table, rows, common=False)
        except PlanRefused:
            unknown.append(".".join(table))
        else:
            known.append((table, rows))
    return await since(live, beside, known), tuple(unknown)


async def _history(
    live: Connection, beside: Connection, policy: DatabasePolicy
) -> tuple[bool, str]:
    """Whether both say the same of migrations, and in words what changes."""
    now = await histories.applied(live, policy.histories)
    then = await histories.applied(beside, policy.histories) if now else ()
    if outcome.same_history(now, then):
        return True, ""
    fewer = sorted(f"{one.version}" for one in now if one.key not in {each.key for each in then})
    return False, f"{len(then)} migrations instead of {len(now)}; not: {', '.join(fewer[:5])}"


async def _refuse_swap(
    live: Connection, beside: Connection, chosen: Snapshot, lines: Sequence[str]
) -> None:
    reasons = list(await why_not(live))
    if not reasons and chosen.manifest.fingerprint is None:
        reasons = ["the snapshot does not say what its schema was"]
    reasons = reasons or list(await unlike(live, beside, chosen.manifest.schemas))
    if reasons:
        what = lines[0] if lines else "its migration history"
        raise PlanRefused(
            f"the schema is not the snapshot's ({what}), and the database cannot be replaced:"
            f" {reasons[0]}",
            hint="take the migrations back first (--plan database), or restore single tables"
            " (--table, with --common-columns)",
        )


def _touches_rows(found: Difference) -> bool:
    keys = (*found.lost, *found.extra, *found.changed)
    return any(kind in ROWS_REST_ON for kind, _ in keys)


def _told(found: Difference) -> tuple[str, ...]:
    """From now to the snapshot, as what happened since."""
    said = [
        *(f"{' '.join(key)} came since" for key in sorted(found.lost)),
        *(f"{' '.join(key)} is gone since" for key in sorted(found.extra)),
        *(f"{' '.join(key)} was changed since" for key in sorted(found.changed)),
    ]
    more = len(said) - _MOST_LINES
    return (*said[:_MOST_LINES], f"and {more} more") if more > 0 else tuple(said)


def _bare(found: Fingerprint) -> Fingerprint:
    """Without what a scratch database never has: an older snapshot knows no more."""
    return made_of({key: made for key, made in found.objects.items() if key[0] in ROWS_REST_ON})
