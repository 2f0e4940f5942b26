"""Reverse SQL that would end our transaction, keep its settings or take everything away."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused, Rejected, RollbackdError
from rollbackd.postgres.guard import run
from rollbackd.postgres.local_server import PostgresServer
from rollbackd.postgres.words import Applied, Reverse

STEP = Applied(tool=MigrationTool.SUPABASE, version="1", name="a", order=0)


def reverse(text: str, *, line: int = 1, transactional: bool = True) -> Reverse:
    return Reverse(applied=STEP, text=text, where="a.sql", line=line, transactional=transactional)


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> str:
    """One for all of these: what they do ends with their transaction."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE guarded TEMPLATE {template}")
    with psycopg.connect(server.url("guarded"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int); CREATE TABLE other (n int)")
    return server.url("guarded")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


async def rows(connection: psycopg.AsyncConnection[Any], query: str) -> list[Any]:
    return await (await connection.execute(query)).fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE x (a text); INSERT INTO x VALUES ('it''s; fine'); -- '\nSELECT $$a;b$$;",
        "DO $rbd$ BEGIN EXECUTE 'CREATE TABLE x (a text)'; END $rbd$;",
        "CREATE TABLE x (); CREATE FUNCTION x() RETURNS text RETURN '%s %(a)s';",
        "CREATE TABLE x (a text DEFAULT E'\\'\\\\');\r\nDROP TABLE kept;\r\n",
        "CREATE TABLE x (a text) /* nested /* ; */ */",
    ],
)
async def test_ordinary_text_runs_as_it_stands(
    connection: psycopg.AsyncConnection[Any], text: str
) -> None:
    async with connection.transaction(force_rollback=True):
        await run(connection, reverse(text))
        assert await rows(connection, "SELECT to_regclass('x') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("DROP TABLE kept;\nCOMMIT;", 2),
        ("BEGIN;\nDROP TABLE kept;\nCOMMIT;", 1),
        ("DROP TABLE kept;\n\nROLLBACK;", 3),
        ("DROP TABLE kept;\nSAVEPOINT a;", 2),
        ("DROP TABLE kept;\nDO $$BEGIN COMMIT; END$$;", 2),
        ("DROP TABLE kept;\nDO $$BEGIN EXECUTE 'COM' || 'MIT'; END$$;", 2),
        ("DROP TABLE kept;\nDROP FUNCTION nowhere();", 2),
        ("DROP TABLE kept;\n\\d+ other", 2),
        ("DROP TABLE kept;\nCOPY other FROM stdin;", 2),
        ("DROP TABLE kept;\nCREATE INDEX CONCURRENTLY i ON other (n);", 2),
        ("DROP TABLE kept;\nVACUUM other;", 2),
        ("DROP TABLE kept;\nSELEC 1;", 2),
        ("DROP TABLE kept;\n\n\nSELECT b FROM other;", 4),
        ("DROP TABLE kept;\n-- why\nDROP TABLE nowhere;", 3),
        ("DROP TABLE kept;\nALTER TABLE other\n DROP COLUMN b;", 2),
    ],
)
async def test_what_would_end_the_transaction_is_refused_at_its_line(
    connection: psycopg.AsyncConnection[Any], text: str, line: int
) -> None:
    with pytest.raises(RollbackdError, match=f"a.sql:{line + 4}: ") as refused:
        async with connection.transaction():
            await run(connection, reverse(text, line=5))

    assert isinstance(refused.value, Rejected)
    assert await rows(connection, "SELECT to_regclass('kept')::text") == [("kept",)]


@pytest.mark.parametrize(
    "text",
    [
        "SET ROLE anon",
        "SET LOCAL ROLE anon; SET search_path = ''",
        "SET lock_timeout = 0; SET LOCAL statement_timeout = 0; RESET ALL",
        "SET session_replication_role = replica",
        "SET SESSION AUTHORIZATION anon",
        "SET temp_buffers = '16MB'; SET standard_conforming_strings = off",
    ],
)
async def test_a_file_changes_the_session_for_itself_only(
    connection: psycopg.AsyncConnection[Any], text: str
) -> None:
    asked = (
        "SELECT session_user, current_user, current_setting('lock_timeout'),"
        " current_setting('statement_timeout'), current_setting('search_path'),"
        " current_setting('session_replication_role'), current_setting('temp_buffers'),"
        " current_setting('standard_conforming_strings')"
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '2s'")
        await connection.execute("SET LOCAL search_path = public, extensions")
        before = await rows(connection, asked)
        await run(connection, reverse(text))
        inside = await rows(connection, asked)

    assert inside == before
    assert (await rows(connection, "SELECT current_user, session_user")) == [
        ("postgres", "postgres")
    ]


async def test_a_transaction_made_read_only_cannot_go_on(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    with pytest.raises(PlanRefused, match="changes the session for good"):
        async with connection.transaction():
            await run(connection, reverse("SET TRANSACTION READ ONLY"))


@pytest.mark.parametrize(
    "text",
    [
        "DROP SCHEMA public CASCADE; CREATE SCHEMA other_public",
        "CREATE TABLE public.x (); DROP SCHEMA supabase_migrations CASCADE",
        "ALTER SCHEMA public RENAME TO old",
    ],
)
async def test_a_schema_is_never_taken_away(
    connection: psycopg.AsyncConnection[Any], text: str
) -> None:
    with pytest.raises(PlanRefused, match=r"a\.sql:\d+: takes away the schema"):
        async with connection.transaction():
            await run(connection, reverse(text))

    assert await rows(connection, "SELECT to_regclass('public.kept')::text") == [("kept",)]


async def test_a_wipe_by_whatever_statements_is_refused(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    wipe = (
        "DO $$DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace::regnamespace::text IN ('public', 'supabase_migrations') LOOP"
        " EXECUTE 'DROP TABLE ' || t; END LOOP; END$$"
    )
    with pytest.raises(PlanRefused, match="every one of 3 tables"):
        async with connection.transaction():
            await run(connection, reverse(wipe))


async def test_it_needs_the_transaction(connection: psycopg.AsyncConnection[Any]) -> None:
    with pytest.raises(PlanRefused, match="no transaction"):
        await run(connection, reverse("DROP TABLE kept"))
    with pytest.raises(PlanRefused, match="one is open"):
        async with connection.transaction():
            await run(connection, reverse("VACUUM", transactional=False))


async def test_one_statement_may_run_by_itself(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    text = "-- rollbackd: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON kept (n);\n"
    again = reverse(text, transactional=False)

    await run(connection, again)
    await run(connection, again)
    await run(
        connection,
        reverse("DROP INDEX CONCURRENTLY IF EXISTS i -- 100 % gone", transactional=False),
    )

    assert await rows(connection, "SELECT to_regclass('i')") == [(None,)]


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE IF EXISTS kept",
        "DROP DATABASE IF EXISTS x",
        "CREATE INDEX CONCURRENTLY i ON kept (n)",
        "ALTER SYSTEM SET fsync = off",
        "VACUUM; DROP TABLE kept",
        "-- nothing",
    ],
)
async def test_by_itself_only_what_may_run_twice(
    connection: psycopg.AsyncConnection[Any], text: str
) -> None:
    with pytest.raises(PlanRefused):
        await run(connection, reverse(text, transactional=False))

    assert await rows(connection, "SELECT to_regclass('kept')::text") == [("kept",)]


async def test_what_fails_by_itself_is_told_too(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute("INSERT INTO kept VALUES (1), (1)")
    text = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS half ON kept (n)"

    with pytest.raises(RollbackdError, match=r"a\.sql:1: postgres 23505"):
        await run(connection, reverse(text, transactional=False))
    with pytest.raises(PlanRefused, match="half-built index: half"):
        await run(connection, reverse(text, transactional=False))
    await connection.execute("DROP INDEX half; TRUNCATE kept")


async def test_a_lock_that_is_not_free_is_no_fault_of_the_file(
    connection: psycopg.AsyncConnection[Any], database: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database) as reader:
        await reader.execute("SELECT * FROM kept")
        await connection.execute("SET lock_timeout = '50ms'")
        await connection.execute("BEGIN")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await run(connection, reverse("DROP TABLE kept"))
