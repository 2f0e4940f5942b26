"""Six tools' histories on a real server: what is applied, and how one row is taken back."""

import dataclasses
from typing import Any

import psycopg
import pytest

from rollbackd.core.database import History, MigrationTool
from rollbackd.core.errors import PlanRefused, Superseded
from rollbackd.postgres.histories import applied, forget, resolve_failed, stored_reverses
from rollbackd.postgres.history_rows import parts
from rollbackd.postgres.locks import lock_keys
from rollbackd.postgres.words import Applied

SUPABASE = """
ALTER TABLE supabase_migrations.schema_migrations ADD created_by text, ADD rollback text[];
INSERT INTO supabase_migrations.schema_migrations (version, statements, name, rollback) VALUES
 ('20251015', '{"CREATE TABLE a ()"}', 'two', '{"DROP TABLE a"}'),
 ('2', '{x}', 'short', NULL), ('20251014', NULL, NULL, '{}');
"""
PRISMA = """
CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL,
 finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text,
 rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(),
 applied_steps_count int NOT NULL DEFAULT 0);
INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at,
 rolled_back_at) VALUES
 ('1', 'aa', '20250101_init', '2025-01-01Z', '2025-01-01Z', NULL),
 ('2', 'bb', '20250102_more', '2025-01-02Z', NULL, '2025-01-03Z'),
 ('3', 'bb', '20250102_more', '2025-01-04Z', '2025-01-04Z', NULL),
 ('4', 'cc', 'odd', '2025-01-05Z', NULL, NULL);
"""
ALEMBIC = (
    "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL);"
    "INSERT INTO alembic_version VALUES ('ae10');"
)
FLYWAY = """
CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50),
 description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL,
 checksum int, installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(),
 execution_time int NOT NULL, success bool NOT NULL);
INSERT INTO flyway_schema_history VALUES
 (1, '1', '<< Flyway Baseline >>', 'BASELINE', 'b', NULL, 'me', now(), 0, true),
 (2, '1.1', 'first table', 'SQL', 'V1.1__first_table.sql', 5, 'me', now(), 0, true),
 (3, '2', 'second', 'SQL', 'V2__second.sql', 6, 'me', now(), 0, true),
 (4, '2', 'second', 'UNDO_SQL', 'U2__second.sql', 7, 'me', now(), 0, true),
 (5, NULL, 'views', 'SQL', 'R__views.sql', 8, 'me', now(), 0, true),
 (6, '10', 'tenth', 'SQL', 'V10__tenth.sql', -9, 'me', now(), 0, false),
 (7, NULL, 'views', 'SQL', 'R__views.sql', 9, 'me', now(), 0, true);
"""
GOLANG = (
    "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty bool NOT NULL);"
    "INSERT INTO schema_migrations VALUES (12, true);"
)
DBMATE = (
    "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);"
    "INSERT INTO schema_migrations VALUES ('20250102'), ('20250101');"
)


async def opened(url: str, statements: str) -> psycopg.AsyncConnection[Any]:
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await connection.execute(statements)
    return connection


async def read(url: str, statements: str, *histories: History) -> tuple[Applied, ...]:
    async with await opened(url, statements) as connection:
        return await applied(connection, histories)


async def left(url: str, statements: str, step: int, query: str, **changes: Any) -> list[Any]:
    """The rows of `query` once one was forgotten."""
    async with await opened(url, statements) as connection:
        found = await applied(connection, ())
        await forget(connection, dataclasses.replace(found[step], **changes))
        return await (await connection.execute(query)).fetchall()


async def test_supabase_in_the_order_of_the_text(database: str) -> None:
    found = await read(database, SUPABASE)

    assert [(a.version, a.name, a.order) for a in found] == [
        ("2", "short", 0),
        ("20251014", "", 1),
        ("20251015", "two", 2),
    ]
    assert found[1].checksum == ""
    assert len(found[2].checksum) == 64


async def test_supabase_forgets_by_version_and_name(database: str) -> None:
    table = "supabase_migrations.schema_migrations"
    assert await left(database, SUPABASE, 2, f"SELECT version FROM {table} ORDER BY 1") == [
        ("2",),
        ("20251014",),
    ]


async def test_a_row_that_is_gone_or_renamed_stops_us(database: str) -> None:
    async with await opened(database, SUPABASE) as connection:
        last = (await applied(connection, ()))[-1]
        await forget(connection, last)
        with pytest.raises(Superseded, match="0 rows"):
            await forget(connection, last)
        await connection.execute("UPDATE supabase_migrations.schema_migrations SET name = 'x'")
        with pytest.raises(Superseded):
            await forget(connection, dataclasses.replace(last, version="2", name="short"))


async def test_supabase_keeps_reverses_in_a_column(database: str) -> None:
    async with await opened(database, SUPABASE) as connection:
        steps = await applied(connection, ())
        assert await stored_reverses(connection, steps) == {
            (MigrationTool.SUPABASE, "20251015", "two"): ("DROP TABLE a",)
        }


async def test_without_the_column_nothing_is_stored(database: str) -> None:
    async with await opened(
        database, "INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'a')"
    ) as connection:
        steps = await applied(connection, ())
        assert [step.version for step in steps] == ["1"]
        assert await stored_reverses(connection, steps) == {}


async def test_prisma_knows_failed_and_rolled_back(database: str) -> None:
    found = await read(database, PRISMA)

    assert [(a.version, a.name, a.failed) for a in found] == [
        ("20250101", "init", False),
        ("20250102", "more", False),
        ("odd", "", True),
    ]
    assert found[0].checksum == "aa"
    assert found[0].applied_at == 1735689600


async def test_prisma_marks_as_rolled_back(database: str) -> None:
    query = "SELECT id FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY 1"
    assert await left(database, PRISMA, 1, query) == [("1",), ("4",)]


async def test_a_failed_prisma_row_is_resolved_and_no_other(database: str) -> None:
    async with await opened(database, PRISMA) as connection:
        *_, done, failed = await applied(connection, ())
        await resolve_failed(connection, failed)
        assert [a.name for a in await applied(connection, ())] == ["init", "more"]
        with pytest.raises(Superseded):
            await resolve_failed(connection, failed)
        with pytest.raises(PlanRefused, match="cannot be resolved"):
            await resolve_failed(connection, done)


async def test_alembic_goes_to_the_one_before(database: str) -> None:
    query = "SELECT version_num FROM alembic_version"
    assert await left(database, ALEMBIC, 0, query, before="ab12") == [("ab12",)]


async def test_the_first_of_alembic_leaves_no_row(database: str) -> None:
    assert await left(database, ALEMBIC, 0, "SELECT * FROM alembic_version", before="") == []


async def test_what_stood_before_has_to_be_known(database: str) -> None:
    with pytest.raises(PlanRefused, match="not known"):
        await left(database, ALEMBIC, 0, "SELECT 1")


async def test_golang_migrate_goes_to_the_one_before_and_is_clean(database: str) -> None:
    found = await read(database, GOLANG)
    assert [(a.tool, a.version, a.failed) for a in found] == [
        (MigrationTool.GOLANG_MIGRATE, "12", True)
    ]
    query = "SELECT version, dirty FROM schema_migrations"
    assert await left(database, "SELECT 1", 0, query, before="7") == [(7, False)]


async def test_dbmate_is_told_from_golang_migrate(database: str) -> None:
    found = await read(database, DBMATE)
    assert [(a.tool, a.version) for a in found] == [
        (MigrationTool.DBMATE, "20250101"),
        (MigrationTool.DBMATE, "20250102"),
    ]
    query = "SELECT version FROM schema_migrations"
    assert await left(database, "SELECT 1", 1, query) == [("20250101",)]


async def test_flyway_by_rank_without_what_was_undone(database: str) -> None:
    found = await read(database, FLYWAY)

    assert [(a.version, a.name, a.failed) for a in found] == [
        ("1.1", "first_table", False),
        ("10", "tenth", True),
        ("", "views", False),
    ]
    query = "SELECT installed_rank FROM flyway_schema_history ORDER BY 1"
    assert await left(database, "SELECT 1", 0, query) == [(1,), (3,), (4,), (5,), (6,), (7,)]


async def test_a_table_of_ones_own_name_and_two_histories(database: str) -> None:
    own = PRISMA.replace("_prisma_migrations", '"My.History"')
    histories = (
        History(tool=MigrationTool.PRISMA, table='"My.History"'),
        History(tool=MigrationTool.SUPABASE),
    )

    found = await read(database, own + SUPABASE, *histories)

    assert len(found) == 6
    assert parts('auth."My.History"') == ("auth", "My.History")


async def test_a_history_that_was_asked_for_has_to_be_there(database: str) -> None:
    with pytest.raises(PlanRefused, match="there is no history"):
        await read(database, "SELECT 1", History(tool=MigrationTool.PRISMA))
    with pytest.raises(PlanRefused, match="no history of golang-migrate"):
        await read(database, DBMATE, History(tool=MigrationTool.GOLANG_MIGRATE))


def golang_step(table: str) -> Applied:
    return Applied(tool=MigrationTool.GOLANG_MIGRATE, version="1", name="", order=0, table=table)


def test_the_keys_of_the_tools_locks() -> None:
    def keys(tool: MigrationTool, table: str) -> tuple[int, ...]:
        step = Applied(tool=tool, version="1", name="", order=0, table=table)
        return lock_keys([step], database="shop")

    assert keys(MigrationTool.PRISMA, "public._prisma_migrations") == (72707369,)
    # "Flyway" in hex, and Java's hash of "public"."flyway_schema_history" with its quotes.
    magic = 0x466C79776179
    (flyway,) = keys(MigrationTool.FLYWAY, "public.flyway_schema_history")
    assert abs(flyway - magic) < 2**31
    golang = keys(MigrationTool.GOLANG_MIGRATE, "public.schema_migrations")
    # What its command held in pg_locks for a database of that name.
    assert 709301653 in lock_keys([golang_step("public.schema_migrations")], database="golang_x")
    assert len(golang) == 2
    assert keys(MigrationTool.SUPABASE, "supabase_migrations.schema_migrations") == ()
