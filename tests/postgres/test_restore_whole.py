"""A whole database comes back from a snapshot: over its tables, in place of it, or not at all."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import CriticalTable, DatabasePolicy, Invariant
from rollbackd.core.errors import PermanentError, PlanRefused, RollbackdError, TemporaryError
from rollbackd.postgres import snapshot
from rollbackd.postgres.agreed import NotProven, Stale
from rollbackd.postgres.connection import connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.one_commit import OutOfTime
from rollbackd.postgres.restore_swap import Swapped, restore_swap
from rollbackd.postgres.restore_whole import WholeRestored, restore_whole
from rollbackd.postgres.snapshot_files import Snapshot
from tests.postgres.shop import execute, reading

pytestmark = pytest.mark.process

SHOP = """
CREATE EXTENSION pgcrypto;
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE TABLE shops (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
  best int, mood mood DEFAULT 'calm');
CREATE TABLE orders (id serial PRIMARY KEY, shop int NOT NULL REFERENCES shops, total numeric,
  twice numeric GENERATED ALWAYS AS (total * 2) STORED);
ALTER TABLE shops ADD CONSTRAINT best FOREIGN KEY (best) REFERENCES orders;
CREATE TABLE events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE MATERIALIZED VIEW sums AS SELECT shop, sum(total) AS total FROM orders GROUP BY shop;
CREATE MATERIALIZED VIEW sum_of_sums AS SELECT sum(total) AS total FROM sums;
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'the trigger ran'; END$$;
INSERT INTO shops (name) SELECT 'shop ' || n FROM generate_series(1, 20) n;
INSERT INTO orders (shop, total) SELECT 1 + n % 20, n FROM generate_series(1, 500) n;
UPDATE shops SET best = id;
INSERT INTO events VALUES ('2026-03-03', 'opened');
CREATE TRIGGER no BEFORE INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION no();
CREATE TRIGGER gone AFTER TRUNCATE ON orders EXECUTE FUNCTION no();
ALTER TABLE shops ENABLE ROW LEVEL SECURITY;
CREATE POLICY calm ON shops FOR SELECT TO authenticated USING (mood = 'calm');
GRANT SELECT ON shops TO authenticated;
REFRESH MATERIALIZED VIEW sums; REFRESH MATERIALIZED VIEW sum_of_sums;
INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'first');
"""
HARM = """
ALTER TABLE orders DISABLE TRIGGER no; DELETE FROM orders WHERE id > 400;
UPDATE orders SET total = 0 WHERE id <= 10; INSERT INTO orders (shop, total) VALUES (1, 999);
ALTER TABLE orders ENABLE TRIGGER no; UPDATE shops SET name = 'gone'; TRUNCATE events;
REFRESH MATERIALIZED VIEW sums; REFRESH MATERIALIZED VIEW sum_of_sums;
"""
ANY = DatabasePolicy()
WHOLE = 500 * 501 // 2


@pytest.fixture
def shop(database: str) -> str:
    execute(database, SHOP)
    return database


async def taken(url: str, directory: Path) -> Snapshot:
    return await snapshot.take(
        SecretStr(url),
        directory=directory,
        schemas=("public",),
        limit_seconds=60,
        clock=SystemClock(),
        tools_of=(),
    )


async def schema_of(url: str, chosen: Snapshot) -> str:
    async with await connect(SecretStr(url), name="test") as connection:
        return (await fingerprint(connection, chosen.manifest.schemas)).sha256


async def noted(xid: str) -> None:
    assert xid.isdigit()


async def over(
    url: str,
    chosen: Snapshot,
    policy: DatabasePolicy = ANY,
    journal: Callable[[str], Awaitable[None]] = noted,
) -> WholeRestored:
    return await restore_whole(
        SecretStr(url),
        chosen,
        await schema_of(url, chosen),
        policy=policy,
        run="shop-v2-100",
        clock=SystemClock(),
        journal=journal,
    )


async def swapped(url: str, chosen: Snapshot, policy: DatabasePolicy = ANY) -> Swapped:
    return await restore_swap(
        SecretStr(url),
        chosen,
        await schema_of(url, chosen),
        policy=policy,
        run="shop-v2-100",
        clock=SystemClock(),
        journal=noted,
    )


def one(url: str, query: str) -> Any:
    return execute(url, query)[0][0]


def beside(url: str, database: str) -> str:
    return make_conninfo(url, dbname=database)


async def test_every_row_is_as_it_was_and_the_tables_lived_on(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    oids = execute(shop, "SELECT oid, relname FROM pg_class WHERE relkind = 'r' ORDER BY 1")
    execute(shop, HARM)

    done = await over(shop, chosen)

    assert chosen.manifest.schemas == ("public", "supabase_migrations")
    assert (done.tables, done.rows) == (4, 522)
    assert one(shop, "SELECT sum(total) FROM orders") == WHOLE
    assert one(shop, "SELECT sum(twice) FROM orders") == 2 * WHOLE
    assert one(shop, "SELECT count(*) FROM events") == 1
    assert one(shop, "SELECT total FROM sum_of_sums") == WHOLE
    assert one(shop, "SELECT count(*) FROM shops WHERE name LIKE 'shop %' AND best = id") == 20
    # A number that was given out is not given out again.
    assert one(shop, "SELECT nextval('orders_id_seq')") == 502
    assert oids == execute(shop, "SELECT oid, relname FROM pg_class WHERE relkind = 'r' ORDER BY 1")
    with pytest.raises(psycopg.errors.RaiseException):
        execute(shop, "INSERT INTO orders (shop) VALUES (1)")
    assert one(shop, "SELECT condeferrable FROM pg_constraint WHERE conname = 'best'") is False


async def test_a_counter_that_was_set_back_is_raised_again(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, "ALTER SEQUENCE orders_id_seq RESTART")

    done = await over(shop, chosen)

    assert done.raised == ("public.orders_id_seq",)
    assert one(shop, "SELECT nextval('orders_id_seq')") == 501


async def test_what_does_not_hold_afterwards_is_not_committed(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)
    rule = DatabasePolicy(
        invariants=(Invariant(name="few", sql="SELECT count(*) < 9 FROM orders"),)
    )
    least = DatabasePolicy(critical_tables=(CriticalTable(table="public.orders", least_rows=501),))

    with pytest.raises(NotProven, match="few"):
        await over(shop, chosen, rule)
    with pytest.raises(NotProven, match="500 rows, at least 501"):
        await over(shop, chosen, least)

    assert one(shop, "SELECT count(*) FROM orders") == 401
    assert one(shop, "SELECT name FROM shops LIMIT 1") == "gone"


async def test_rows_that_others_rest_on_are_not_emptied(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, "CREATE SCHEMA other; CREATE TABLE other.notes (shop int REFERENCES shops)")

    with pytest.raises(PlanRefused, match=r"other\.notes refers to public\.shops"):
        await over(shop, chosen)


async def test_a_table_that_came_since_is_not_left_as_half_of_it(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, "CREATE TABLE later (n int)")

    with pytest.raises(PlanRefused, match=r"public\.later is not in the snapshot"):
        await over(shop, chosen)


async def test_a_reader_is_named_and_a_limit_ends_it(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)
    hasty = DatabasePolicy(lock_timeout_seconds=0.2, lock_budget_seconds=0.6)
    with reading(shop, "orders"), pytest.raises(TemporaryError, match="report"):
        await over(shop, chosen, hasty)
    slow = DatabasePolicy(lock_timeout_seconds=60, lock_budget_seconds=60)
    slow = replace(slow, snapshots=replace(slow.snapshots, limit_seconds=4))
    began = SystemClock().monotonic()
    with reading(shop, "orders"), pytest.raises(OutOfTime, match="within 4 s: nothing was changed"):
        await over(shop, chosen, slow)

    assert SystemClock().monotonic() - began < 12
    assert one(shop, "SELECT count(*) FROM orders") == 401


async def test_a_role_that_owns_its_tables_and_no_more_can_restore_them(
    shop: str, tmp_path: Path
) -> None:
    """As at Supabase: no superuser, no database of its own to make. Beside is a server of ours."""
    execute(shop, "CREATE ROLE limited LOGIN PASSWORD 'x'") if not execute(
        shop, "SELECT 1 FROM pg_roles WHERE rolname = 'limited'"
    ) else None
    execute(shop, "GRANT USAGE, CREATE ON SCHEMA public, supabase_migrations TO limited")
    for kind, name in (
        *(("TABLE", t) for t in ("shops", "orders", "events", "events_1")),
        *(("MATERIALIZED VIEW", v) for v in ("sums", "sum_of_sums")),
        ("TABLE", "supabase_migrations.schema_migrations"),
        ("FUNCTION", "no()"),
        ("TYPE", "mood"),
    ):
        execute(shop, f"ALTER {kind} {name} OWNER TO limited")
    url = make_conninfo(shop, user="limited", password="x")
    chosen = await taken(url, tmp_path)
    execute(shop, HARM)

    with pytest.raises(PlanRefused, match="may not create databases"):
        await swapped(url, chosen)
    await over(url, chosen)

    assert one(shop, "SELECT sum(total) FROM orders") == WHOLE
    assert one(shop, "SELECT relrowsecurity FROM pg_class WHERE relname = 'shops'") is True


async def test_a_schema_that_changed_comes_back_under_the_same_name(
    shop: str, tmp_path: Path
) -> None:
    name = str(conninfo_to_dict(shop)["dbname"])
    execute(shop, f"ALTER DATABASE {name} SET search_path = '$user', public, extensions")
    execute(shop, f"GRANT CONNECT ON DATABASE {name} TO authenticated")
    execute(shop, f"COMMENT ON DATABASE {name} IS 'the shop'")
    chosen = await taken(shop, tmp_path)
    before = await schema_of(shop, chosen)
    settings = execute(shop, "SHOW search_path")
    execute(shop, HARM)
    execute(shop, "ALTER TABLE orders DROP COLUMN total CASCADE; DROP POLICY calm ON shops")

    with psycopg.connect(shop, autocommit=True):  # a pool's idle session of the same role
        done = await swapped(shop, chosen)

    assert one(shop, "SELECT sum(total) FROM orders") == WHOLE
    assert one(shop, "SELECT total FROM sum_of_sums") == WHOLE
    assert await schema_of(shop, chosen) == before
    assert execute(shop, "SHOW search_path") == settings
    assert one(shop, "SELECT nextval('orders_id_seq')") == 502
    assert done.kept == f"{name}_before_100"
    assert one(beside(shop, done.kept), "SELECT count(*) FROM orders") == 401
    rights = "SELECT datacl::text LIKE '%%authenticated=c/%%' FROM pg_database WHERE datname = %s"
    assert execute(shop, rights, name) == [(True,)]
    left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'rollbackd_scratch%'"
    assert one(shop, left) == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("CREATE PUBLICATION all_of_it FOR ALL TABLES", "published: all_of_it"),
        ("SELECT lo_create(77)", "large objects: 77"),
        ("CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 1 AS n", "other.t has 1 rows"),
        ("CREATE COLLATION public.odd (provider = libc, locale = 'C')", "odd is missing"),
    ],
)
async def test_what_a_dump_does_not_carry_keeps_the_database_in_its_place(
    shop: str, tmp_path: Path, change: str, why: str
) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, change)
    execute(shop, HARM)

    with pytest.raises(PermanentError) as refused:
        await swapped(shop, chosen)

    assert why in f"{refused.value.message} {refused.value.hint}"
    assert one(shop, "SELECT count(*) FROM orders") == 401


async def test_whoever_is_busy_in_the_database_is_not_thrown_out(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    hasty = DatabasePolicy(lock_timeout_seconds=0.2, lock_budget_seconds=0.6)

    with reading(shop, "orders"), pytest.raises(TemporaryError, match=r"in use by pid .*report"):
        await swapped(shop, chosen, hasty)


async def test_a_plan_that_is_stale_changes_nothing(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    for restore in (restore_whole, restore_swap):
        with pytest.raises(Stale):
            await restore(
                SecretStr(shop),
                chosen,
                "0" * 64,
                policy=DatabasePolicy(),
                run="shop-v2-100",
                clock=SystemClock(),
                journal=noted,
            )


async def test_without_its_id_on_disk_nothing_is_committed(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)

    async def full(_xid: str) -> None:
        raise TemporaryError("the disk is full")

    with pytest.raises(RollbackdError, match="the disk is full"):
        await over(shop, chosen, journal=full)

    assert one(shop, "SELECT count(*) FROM orders") == 401
