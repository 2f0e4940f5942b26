"""What must hold before COMMIT, beside schema and history: the rows. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from rollbackd.core.database import CriticalTable
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.privileges import grantee_and_object
from rollbackd.postgres.words import Difference, ObjectKey

_MOST_LINES: Final = 8
_GROWTH: Final = 0.1  # an app writes while a person reads the plan
_GROWTH_ROWS: Final = 100


async def count(connection: Connection, tables: Iterable[str]) -> dict[str, int]:
    """Rows of each, exactly; `tables` as the server writes them. Those not there are left out."""
    found: dict[str, int] = {}
    for table in tables:
        exists = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        if await exists.fetchone() == (True,):
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table))
            row: Any = await (await connection.execute(query)).fetchone()
            found[table] = int(row[0])
    return found


def critical(
    tables: Sequence[CriticalTable], before: Mapping[str, int], now: Mapping[str, int]
) -> tuple[str, ...]:
    """One line for each table that lost more than its owner lets it."""
    return tuple(line for table in tables if (line := _judged(table, before, now)))


def _judged(table: CriticalTable, before: Mapping[str, int], now: Mapping[str, int]) -> str:
    had, has = before.get(table.table), now.get(table.table)
    if has is None:
        return f"{table.table} would not be there any more" if had is not None else ""
    if has < table.least_rows:
        return f"{table.table} would have {has} rows, at least {table.least_rows} are asked for"
    if had is None or has >= had:
        return ""
    if table.never_fewer:
        return f"{table.table} would have {has} rows of {had}: it may never have fewer"
    if had - has > table.most_lost_share * had:
        return f"{table.table} would lose {had - has} of {had} rows"
    return ""


def grown(planned: Mapping[str, int], now: Mapping[str, int]) -> tuple[str, ...]:
    """Where more rows would go than was agreed to: somebody writes to what a plan called empty."""
    return tuple(
        f"{table} would lose {rows} rows, the plan says {planned.get(table, 0)}"
        for table, rows in now.items()
        if rows > most_lost(planned.get(table, 0))
    )


def most_lost(planned: int) -> int:
    """None where the plan says none; else a tenth more, or a hundred rows."""
    return planned and planned + max(int(planned * _GROWTH), _GROWTH_ROWS)


def lines(difference: Difference) -> tuple[str, ...]:
    """For people: one line an object, the first few."""
    found = said(difference)
    more = len(found) - _MOST_LINES
    return (*found[:_MOST_LINES], f"and {more} more") if more > 0 else found


def said(difference: Difference) -> tuple[str, ...]:
    """Of what should be and what is: one line an object, all of them. Of what is missing or left
    over as a whole, parts, owner and rights are not told once more.
    """
    return (
        *(f"{' '.join(key)} is missing" for key in difference.lost if _whole(key, difference.lost)),
        *(
            f"{' '.join(key)} is left over"
            for key in difference.extra
            if _whole(key, difference.extra)
        ),
        *(
            f"{' '.join(key)} is {now!r}, not {should!r}"
            for key, (should, now) in difference.changed.items()
        ),
    )


def _whole(key: ObjectKey, among: Mapping[ObjectKey, str]) -> bool:
    """Whether it is not a part of another that goes or comes with it."""
    kind, name = key
    if kind == "acl":
        name = grantee_and_object(name)[1]
    if kind in {"acl", "owner", "comment"}:
        return not any(f"{other} {of}" == name for other, of in among if of != name)
    if kind in {"rls", "column order"}:
        return ("table", name) not in among
    table = name.rpartition(".")[0]
    return not any((of, table) in among for of in ("table", "view", "materialized view"))


async def invalid(connection: Connection) -> frozenset[str]:
    """Indexes and constraints that nothing relies on: half-built, or never validated."""
    indexes = "SELECT 'index ' || indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    constraints = (
        "SELECT 'constraint ' || conrelid::regclass::text || '.' || conname"
        " FROM pg_constraint WHERE NOT convalidated"
    )
    async with psycopg.AsyncCursor[tuple[str]](connection) as cursor:
        await cursor.execute(f"{indexes} UNION ALL {constraints}")
        return frozenset(name for (name,) in await cursor.fetchall())
