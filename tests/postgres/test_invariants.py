"""Invariants on a real server: what holds, what is broken, and that asking changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.core.database import Invariant
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.invariants import broken


@pytest.fixture
async def session(database: str) -> AsyncIterator[Connection]:
    connection = await connect(SecretStr(database), name="test")
    await connection.execute("CREATE TABLE facts AS SELECT i AS id FROM generate_series(1, 3) i")
    yield connection
    await connection.close()


def one(sql: str) -> list[Invariant]:
    return [Invariant(name="it", sql=sql)]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT id FROM facts WHERE id > 3", ()),
        ("SELECT true", ()),
        ("SELECT count(*) = 3 FROM facts", ()),
        ("SELECT true WHERE false", ()),
        ("SELECT true -- whatever comes after", ()),
        ("WITH f AS (SELECT 1 FROM facts) SELECT count(*) > 0 FROM f", ()),
        ("SELECT '%s' = '%s', 1 WHERE false", ()),
        ("SELECT false", ("it: false",)),
        ("SELECT NULL::bool", ("it: 1 row",)),
        ("SELECT 1", ("it: 1 row",)),
        ("SELECT true, true", ("it: 1 row",)),
        ("VALUES (true), (true)", ("it: 2 rows",)),
        ("SELECT id, id FROM facts", ("it: 3 rows",)),
        ("SELECT FROM generate_series(1, 100000)", ("it: more than 100 rows",)),
        ("SELECT 1 FROM gone", ("it: what it asks about is not there (42P01)",)),
        ("SELECT gone FROM facts", ("it: what it asks about is not there (42703)",)),
        ("SELECT gone()", ("it: what it asks about is not there (42883)",)),
        ("SELECT 1 FROM gone.facts", ("it: what it asks about is not there (42P01)",)),
    ],
)
async def test_it_holds_where_no_row_comes_or_one_single_true(
    session: Connection, sql: str, told: tuple[str, ...]
) -> None:
    assert await broken(session, one(sql)) == told


async def test_each_is_told_by_its_name(session: Connection) -> None:
    found = await broken(session, [*one("SELECT 1"), Invariant(name="b", sql="SELECT true")])
    assert found == ("it: 1 row",)
    assert await broken(session, []) == ()


@pytest.mark.parametrize(
    "sql",
    [
        "WITH gone AS (DELETE FROM facts RETURNING 1) SELECT 1 FROM gone",
        "SELECT true) AS a; DELETE FROM facts; SELECT * FROM (SELECT true",
        "SELECT lo_create(0)",
        "SELECT 1/0",
    ],
)
async def test_what_cannot_be_asked_is_raised_and_changes_nothing(
    session: Connection, sql: str
) -> None:
    async with session.transaction():
        await session.execute("INSERT INTO facts VALUES (4)")
        with pytest.raises(psycopg.Error):
            await broken(session, one(sql))
    assert await broken(session, one("SELECT count(*) = 4 FROM facts")) == ()


async def test_it_sees_what_is_not_committed_and_the_transaction_goes_on(
    session: Connection,
) -> None:
    async with session.transaction():
        await session.execute("DELETE FROM facts")
        assert await broken(session, one("SELECT count(*) > 0 FROM facts")) == ("it: false",)
        assert await broken(session, one("SELECT 1 FROM gone")) != ()
        await session.execute("INSERT INTO facts VALUES (9)")
    assert await broken(session, one("SELECT id = 9 FROM facts")) == ()
