"""Rows of a snapshot come back into tables that live on, proven before COMMIT, or not at all."""

from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import RollbackdError
from rollbackd.postgres import snapshot
from rollbackd.postgres.archive import Table
from rollbackd.postgres.restore_rows import How, RowsRestored, restore_rows
from rollbackd.postgres.snapshot_files import Snapshot

SHOPS: Table = ("public", "shops")
ORDERS: Table = ("public", "orders")


async def taken(url: str, directory: Path) -> Snapshot:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            CREATE TABLE shops (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
            CREATE TABLE orders (id int PRIMARY KEY, shop int REFERENCES shops ON DELETE CASCADE,
              total numeric, twice numeric GENERATED ALWAYS AS (total * 2) STORED);
            CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
              $$BEGIN RAISE 'the trigger ran'; END$$;
            INSERT INTO shops (name) SELECT 'shop ' || n FROM generate_series(1, 20) n;
            INSERT INTO orders SELECT n, 1 + n % 20, n FROM generate_series(1, 500) n;
            CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION no();
            """
        )
    return await snapshot.take(
        SecretStr(url),
        directory=directory,
        schemas=("public",),
        limit_seconds=60,
        clock=SystemClock(),
    )


async def restore(url: str, chosen: Snapshot, how: How, *tables: Table) -> RowsRestored:
    return await restore_rows(
        SecretStr(url),
        chosen,
        tables,
        how,
        policy=DatabasePolicy(),
        run="test",
        clock=SystemClock(),
        journal=noted,
    )


async def noted(xid: str) -> None:
    assert xid.isdigit()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def do(url: str, query: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)


async def test_missing_rows_come_back_and_newer_ones_stay(database: str, tmp_path: Path) -> None:
    chosen = await taken(database, tmp_path)
    do(database, "DELETE FROM shops WHERE id <= 5; INSERT INTO shops (name) VALUES ('new')")

    done = await restore(database, chosen, How.MISSING, ORDERS, SHOPS)

    assert done.added == {"public.shops": 5, "public.orders": 125}
    assert ask(database, "SELECT count(*) FROM shops") == 21
    assert ask(database, "SELECT sum(twice) FROM orders") == 500 * 501
    with pytest.raises(psycopg.errors.RaiseException):
        do(database, "INSERT INTO orders VALUES (900, 1, 1)")  # the trigger is awake again


async def test_a_table_is_put_back_exactly(database: str, tmp_path: Path) -> None:
    chosen = await taken(database, tmp_path)
    do(
        database,
        "UPDATE orders SET total = 0 WHERE id <= 10; DELETE FROM orders WHERE id > 490;"
        "ALTER TABLE orders DISABLE TRIGGER no; INSERT INTO orders VALUES (900, 1, 1)",
    )

    done = await restore(database, chosen, How.EXACT, ORDERS)

    assert (done.added, done.changed, done.removed) == (
        {"public.orders": 10},
        {"public.orders": 10},
        {"public.orders": 1},
    )
    assert ask(database, "SELECT sum(total) FROM orders") == 500 * 501 // 2


async def test_what_would_take_rows_of_others_with_it_is_not_done(
    database: str, tmp_path: Path
) -> None:
    chosen = await taken(database, tmp_path)
    do(
        database,
        "ALTER TABLE orders DISABLE TRIGGER no; INSERT INTO shops (name) VALUES ('new');"
        "INSERT INTO orders SELECT 900, max(id), 1 FROM shops",
    )

    with pytest.raises(RollbackdError, match="refer to these"):
        await restore(database, chosen, How.EXACT, SHOPS)

    assert ask(database, "SELECT count(*) FROM shops") == 21
    assert ask(database, "SELECT count(*) FROM orders") == 501


async def test_a_table_that_is_gone_is_refused(database: str, tmp_path: Path) -> None:
    chosen = await taken(database, tmp_path)
    do(database, "DROP TABLE orders")

    with pytest.raises(RollbackdError, match="does not exist"):
        await restore(database, chosen, How.MISSING, ORDERS)
