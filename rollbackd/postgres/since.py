"""What was written since a snapshot, counted: what a restore would take away, change, bring back.

The real database is read in one transaction that cannot write; the work is done beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from rollbackd.postgres.archive import Rows, Table
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.staging import key_of

_SAME: Final = (  # one row reads alike in both, wherever they are
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("row_security", "off"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Rows of one table. `new`: not in the snapshot. `other`: in both, and not the same. `gone`:
    in the snapshot alone. Without a primary key a changed row is a new one and one that is gone.
    """

    new: int
    other: int
    gone: int

    def __bool__(self) -> bool:
        return bool(self.new or self.other or self.gone)


async def since(
    live: Connection, beside: Connection, tables: Iterable[tuple[Table, Rows]]
) -> dict[Table, Since]:
    """By table; `Rows` says which columns count. Raises psycopg.Error."""
    found = {}
    async with live.transaction():
        await live.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await _read_alike(live)
        async with beside.transaction(force_rollback=True):
            await _read_alike(beside)
            for table, rows in tables:
                found[table] = await _one(live, beside, table, rows)
    return found


async def _read_alike(connection: Connection) -> None:
    for name, value in _SAME:
        await connection.execute("SELECT set_config(%s, %s, true)", [name, value])


async def _one(live: Connection, beside: Connection, table: Table, rows: Rows) -> Since:
    listed = sql.SQL(rows.columns[1:-1] or "NULL")
    key = await key_of(live, table)
    names = sql.SQL(", ").join(map(sql.Identifier, key)) if key else listed
    read = sql.SQL("SELECT ROW({})::text AS key, md5(ROW({})::text) AS sum FROM ONLY {}").format(
        names, listed, sql.Identifier(*table)
    )
    for name in ("rollbackd_now", "rollbackd_then"):
        drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("pg_temp", name))
        await beside.execute(drop)
    await beside.execute("CREATE TEMP TABLE rollbackd_now (key text, sum text) ON COMMIT DROP")
    await beside.execute(
        sql.SQL("CREATE TEMP TABLE rollbackd_then ON COMMIT DROP AS {}").format(read)
    )
    async with (
        live.cursor() as reader,
        beside.cursor() as writer,
        reader.copy(sql.SQL("COPY ({}) TO STDOUT").format(read)) as copied,
        writer.copy("COPY rollbackd_now FROM STDIN") as into,
    ):
        async for row in copied:
            await into.write(row)
    if not key:
        return Since(
            new=await _count(beside, "rollbackd_now", "rollbackd_then"),
            other=0,
            gone=await _count(beside, "rollbackd_then", "rollbackd_now"),
        )
    await beside.execute("ANALYZE rollbackd_now; ANALYZE rollbackd_then")
    asked = await beside.execute(
        "SELECT count(*) FILTER (WHERE t.key IS NULL), count(*) FILTER (WHERE n.sum <> t.sum),"
        " count(*) FILTER (WHERE n.key IS NULL)"
        " FROM rollbackd_now n FULL JOIN rollbackd_then t ON t.key = n.key"
    )
    new, other, gone = (await asked.fetchall())[0]
    return Since(new=new, other=other, gone=gone)


async def _count(beside: Connection, one: str, other: str) -> int:
    """Rows of `one` that `other` has not, as often as they are there."""
    query = sql.SQL(
        "SELECT count(*) FROM (SELECT sum FROM {} EXCEPT ALL SELECT sum FROM {}) AS x"
    ).format(sql.Identifier(one), sql.Identifier(other))
    row: Any = await (await beside.execute(query)).fetchone()
    return int(row[0])
