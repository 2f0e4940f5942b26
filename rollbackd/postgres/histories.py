"""Which migrations a database says are applied, in each tool's own words, and how to take one back.

Columns are read from the catalogue: hosted services add their own. A tool's files are not looked
at here. The forms are those of the tools' sources: supabase/cli pkg/migration/history.go, Prisma's
schema engine, flyway-database-postgresql, golang-migrate database/postgres, dbmate pkg/driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from rollbackd.core.database import History, MigrationTool
from rollbackd.core.errors import PlanRefused, Superseded
from rollbackd.postgres.history_rows import READERS, Row, parts
from rollbackd.postgres.words import Applied

DEFAULT_TABLES: Final = {
    MigrationTool.SUPABASE: "supabase_migrations.schema_migrations",
    MigrationTool.PRISMA: "public._prisma_migrations",
    MigrationTool.ALEMBIC: "public.alembic_version",
    MigrationTool.FLYWAY: "public.flyway_schema_history",
    MigrationTool.GOLANG_MIGRATE: "public.schema_migrations",
    MigrationTool.DBMATE: "public.schema_migrations",
}


async def applied(
    connection: psycopg.AsyncConnection[Any], histories: Sequence[History]
) -> tuple[Applied, ...]:
    """Every history's rows, oldest first; failed ones are in it, those taken back are not.

    `histories` empty: whichever tools' default tables are there. One that was asked for and is not
    there is PlanRefused.
    """
    found: list[Applied] = []
    for tool, table, columns in await _tables(connection, histories):
        rows = await _rows(connection, table, columns)
        found.extend(READERS[tool](rows, table))
    return tuple(found)


async def schemas(
    connection: psycopg.AsyncConnection[Any], histories: Sequence[History]
) -> tuple[str, ...]:
    """In which schemas the histories lie, sorted; as `applied` has it."""
    names = [_quoted(table) for _, table, _ in await _tables(connection, histories)]
    async with psycopg.AsyncCursor[tuple[str]](connection) as cursor:
        await cursor.execute(
            "SELECT DISTINCT n.nspname::text FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = ANY (SELECT to_regclass(t) FROM unnest(%s::text[]) AS t) ORDER BY 1",
            (names,),
        )
        return tuple(name for (name,) in await cursor.fetchall())


async def stored_reverses(
    connection: psycopg.AsyncConnection[Any], steps: Sequence[Applied]
) -> Mapping[tuple[MigrationTool, str, str], tuple[str, ...]]:
    """The column `rollback text[]` that Supabase's API keeps, of those of `steps` that have it."""
    return await _stored(connection, steps, "rollback")


async def stored_statements(
    connection: psycopg.AsyncConnection[Any], steps: Sequence[Applied]
) -> Mapping[tuple[MigrationTool, str, str], tuple[str, ...]]:
    """What each of `steps` ran, where Supabase's history keeps it."""
    return await _stored(connection, steps, "statements")


async def _stored(
    connection: psycopg.AsyncConnection[Any], steps: Sequence[Applied], column: str
) -> Mapping[tuple[MigrationTool, str, str], tuple[str, ...]]:
    found: dict[tuple[MigrationTool, str, str], tuple[str, ...]] = {}
    for table in {step.table for step in steps if step.tool is MigrationTool.SUPABASE}:
        columns = await _columns(connection, table)
        if column not in columns:
            continue
        rows = await _rows(connection, table, frozenset({"version", "name", column} & columns))
        for row in rows:
            key = (MigrationTool.SUPABASE, str(row["version"]), str(row.get("name") or ""))
            if row[column]:
                found[key] = tuple(row[column])
    return {step.key: found[step.key] for step in steps if step.key in found}


async def forget(connection: psycopg.AsyncConnection[Any], step: Applied) -> None:
    """The history says no more that `step` is applied. Exactly one row, or Superseded."""
    table = _identifier(step.table)
    match step.tool:
        case MigrationTool.PRISMA:
            await _one(
                connection,
                sql.SQL(
                    "UPDATE {} SET rolled_back_at = now() WHERE migration_name = %s"
                    " AND rolled_back_at IS NULL"
                ).format(table),
                (_full_name(step),),
                step,
            )
        case MigrationTool.ALEMBIC | MigrationTool.GOLANG_MIGRATE:
            await _set_back(connection, table, step)
        case MigrationTool.FLYWAY:
            await _one(
                connection,
                sql.SQL(
                    "DELETE FROM {} WHERE version = %s AND installed_rank = ("
                    "SELECT max(installed_rank) FROM {} WHERE version = %s)"
                ).format(table, table),
                (step.version, step.version),
                step,
            )
        case MigrationTool.SUPABASE if step.name:
            query = sql.SQL("DELETE FROM {} WHERE version = %s AND name = %s").format(table)
            await _one(connection, query, (step.version, step.name), step)
        case MigrationTool.SUPABASE | MigrationTool.DBMATE:
            query = sql.SQL("DELETE FROM {} WHERE version = %s").format(table)
            await _one(connection, query, (step.version,), step)


async def resolve_failed(connection: psycopg.AsyncConnection[Any], step: Applied) -> None:
    """As `prisma migrate resolve --rolled-back`: without it no image boots (P3009).

    For Prisma's failed rows only. Its SQL is not taken back by this: what of it took effect stays.
    """
    if step.tool is not MigrationTool.PRISMA or not step.failed:
        raise PlanRefused(
            f"{step.tool} {_full_name(step)} cannot be resolved by its row",
            hint="only a failed Prisma migration can be marked as rolled back",
        )
    query = sql.SQL(
        "UPDATE {} SET rolled_back_at = now() WHERE migration_name = %s"
        " AND finished_at IS NULL AND rolled_back_at IS NULL"
    ).format(_identifier(step.table))
    await _one(connection, query, (_full_name(step),), step)


async def _set_back(
    connection: psycopg.AsyncConnection[Any], table: sql.Composable, step: Applied
) -> None:
    """The one row of Alembic and golang-migrate goes to the version before."""
    if step.before is None:
        raise PlanRefused(
            f"which version stood before {step.tool} {step.version} is not known",
            hint="name the folder of its migrations in rollback_dirs",
        )
    column = "version_num" if step.tool is MigrationTool.ALEMBIC else "version"
    target = sql.SQL("DELETE FROM {}")
    values: tuple[str | int, ...] = (_value(step, step.version),)
    if step.before:
        target = sql.SQL("UPDATE {} SET {} = %s")
        values = (_value(step, step.before), *values)
        if step.tool is MigrationTool.GOLANG_MIGRATE:
            target = sql.SQL("UPDATE {} SET {} = %s, dirty = false")
    query = target.format(table, sql.Identifier(column)) if step.before else target.format(table)
    where = sql.SQL(" WHERE {} = %s").format(sql.Identifier(column))
    await _one(connection, query + where, values, step)


def _value(step: Applied, version: str) -> str | int:
    return int(version) if step.tool is MigrationTool.GOLANG_MIGRATE else version


async def _one(
    connection: psycopg.AsyncConnection[Any],
    query: sql.Composed,
    values: tuple[str | int, ...],
    step: Applied,
) -> None:
    cursor = await connection.execute(query, values)
    if cursor.rowcount != 1:
        raise Superseded(
            f"{cursor.rowcount} rows of {step.table} stand for {step.tool} {_full_name(step)},"
            " and it should be one",
            hint="somebody migrated meanwhile: make the plan again",
        )


def _full_name(step: Applied) -> str:
    return f"{step.version}_{step.name}" if step.name else step.version


async def _tables(
    connection: psycopg.AsyncConnection[Any], histories: Sequence[History]
) -> list[tuple[MigrationTool, str, frozenset[str]]]:
    """Tool, table and its columns. golang-migrate and dbmate share a name: `dirty` tells."""
    asked = [(h.tool, h.table or DEFAULT_TABLES[h.tool]) for h in histories]
    found: list[tuple[MigrationTool, str, frozenset[str]]] = []
    for tool, table in asked or DEFAULT_TABLES.items():
        columns = await _columns(connection, table)
        if not columns:
            if asked:
                raise PlanRefused(
                    f"there is no history {table}", hint=f"is {tool} what migrates this database?"
                )
            continue
        if _fits(tool, columns):
            found.append((tool, table, columns))
        elif asked:
            raise PlanRefused(
                f"{table} is no history of {tool}: it has {', '.join(sorted(columns))}"
            )
    return found


_NEEDED: Final[Mapping[MigrationTool, frozenset[str]]] = {
    MigrationTool.SUPABASE: frozenset({"version"}),
    MigrationTool.PRISMA: frozenset({"migration_name", "finished_at", "rolled_back_at"}),
    MigrationTool.ALEMBIC: frozenset({"version_num"}),
    MigrationTool.FLYWAY: frozenset({"installed_rank", "version", "type", "success"}),
    MigrationTool.GOLANG_MIGRATE: frozenset({"version", "dirty"}),
    MigrationTool.DBMATE: frozenset({"version"}),
}


def _fits(tool: MigrationTool, columns: frozenset[str]) -> bool:
    if tool is MigrationTool.DBMATE and "dirty" in columns:
        return False
    return columns >= _NEEDED[tool]


async def _columns(connection: psycopg.AsyncConnection[Any], table: str) -> frozenset[str]:
    """Of a table that may not be there: none."""
    async with psycopg.AsyncCursor[tuple[str]](connection) as cursor:
        await cursor.execute(
            "SELECT attname::text FROM pg_catalog.pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (_quoted(table),),
        )
        return frozenset(name for (name,) in await cursor.fetchall())


async def _rows(
    connection: psycopg.AsyncConnection[Any], table: str, columns: Iterable[str]
) -> list[Row]:
    listed = sql.SQL(", ").join(sql.Identifier(column) for column in sorted(columns))
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql.SQL("SELECT {} FROM {}").format(listed, _identifier(table)))
        return await cursor.fetchall()


def _identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*parts(table))


def _quoted(table: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts(table))
