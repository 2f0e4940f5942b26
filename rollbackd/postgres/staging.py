"""A snapshot's rows of one table in a temporary one, and their way into the real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from rollbackd.core.errors import PlanRefused
from rollbackd.postgres.archive import Rows, Table
from rollbackd.postgres.connection import Connection

_KEY: Final = """
SELECT a.attname::text FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY a.attnum
"""
_COLUMNS: Final = """
SELECT s.attname::text, t.attidentity = 'a' FROM pg_attribute s
JOIN pg_attribute t ON t.attrelid = to_regclass(%s) AND t.attname = s.attname
WHERE s.attrelid = to_regclass(%s) AND s.attnum > 0 AND NOT s.attisdropped ORDER BY s.attnum
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """`table` has its rows of the snapshot in `name`. `fixed`: columns that no UPDATE may set."""

    table: Table
    name: sql.Identifier
    columns: tuple[str, ...]
    fixed: frozenset[str]
    key: tuple[str, ...]

    @property
    def real(self) -> sql.Identifier:
        return sql.Identifier(*self.table)

    @property
    def same(self) -> sql.Composed:
        """Of the row `s` in the stage and the row `t` in the table."""
        pairs = (sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in self.key)
        return sql.SQL(" AND ").join(pairs)

    def listed(self, alias: str = "", *, without: frozenset[str] = frozenset()) -> sql.Composed:
        names = (column for column in self.columns if column not in without)
        return sql.SQL(", ").join(
            sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in names
        )


def quoted(table: Table) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in table)


async def key_of(live: Connection, table: Table) -> tuple[str, ...]:
    """The columns of its primary key; none where it has none, or is gone."""
    rows: Any = await (await live.execute(_KEY, [quoted(table)])).fetchall()
    return tuple(column for (column,) in rows)


async def staged(live: Connection, beside: Connection, table: Table, rows: Rows, n: int) -> Stage:
    """Copied from the session `beside`; gone with the transaction. PlanRefused: it cannot be."""
    name = ".".join(table)
    key = await key_of(live, table)
    if not key:
        raise PlanRefused(f"{name} is gone, or has no primary key to tell its rows apart")
    stage, real = f"rollbackd_rows_{n}", sql.Identifier(*table)
    create = sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0")
    try:
        columns = sql.SQL(rows.columns[1:-1])
        await live.execute(create.format(sql.Identifier(stage), columns, real))
    except psycopg.errors.UndefinedColumn as error:
        raise PlanRefused(f"{name} is not what it was: {error.diag.message_primary}") from error
    listed = sql.SQL(rows.columns)
    read = sql.SQL("COPY {} {} TO STDOUT").format(real, listed)
    write = sql.SQL("COPY {} {} FROM STDIN").format(sql.Identifier(stage), listed)
    async with (
        beside.cursor() as reader,
        live.cursor() as writer,
        reader.copy(read) as copied,
        writer.copy(write) as into,
    ):
        async for row in copied:
            await into.write(row)
    await live.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(stage)))
    found: Any = await (await live.execute(_COLUMNS, [quoted(table), stage])).fetchall()
    return Stage(
        table=table,
        name=sql.Identifier(stage),
        columns=tuple(column for column, _ in found),
        fixed=frozenset(column for column, always in found if always),
        key=key,
    )


async def add_missing(live: Connection, stage: Stage) -> int:
    """How many rows were added."""
    query = sql.SQL(
        "INSERT INTO {real} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {stage} s"
        " WHERE NOT EXISTS (SELECT FROM {real} t WHERE {same})"
    ).format(real=stage.real, columns=stage.listed(), stage=stage.name, same=stage.same)
    return (await live.execute(query)).rowcount


async def put_right(live: Connection, stage: Stage) -> int:
    """How many rows were changed back. A row that is not there is left to `add_missing`."""
    without = stage.fixed | frozenset(stage.key)
    if without >= frozenset(stage.columns):
        return 0
    query = sql.SQL(
        "UPDATE {real} t SET ({columns}) = ROW ({values}) FROM {stage} s WHERE {same}"
        " AND ROW ({now})::text IS DISTINCT FROM ROW ({values})::text"
    ).format(
        real=stage.real,
        columns=stage.listed(without=without),
        values=stage.listed("s", without=without),
        now=stage.listed("t", without=without),
        stage=stage.name,
        same=stage.same,
    )
    return (await live.execute(query)).rowcount


async def take_away(live: Connection, stage: Stage) -> int:
    """How many rows were removed that the snapshot does not have."""
    query = sql.SQL(
        "DELETE FROM {real} t WHERE NOT EXISTS (SELECT FROM {stage} s WHERE {same})"
    ).format(real=stage.real, stage=stage.name, same=stage.same)
    return (await live.execute(query)).rowcount


async def still_missing(live: Connection, stage: Stage) -> int:
    query = sql.SQL(
        "SELECT count(*) FROM {stage} s WHERE NOT EXISTS (SELECT FROM {real} t WHERE {same})"
    ).format(real=stage.real, stage=stage.name, same=stage.same)
    row: Any = await (await live.execute(query)).fetchone()
    return int(row[0])
