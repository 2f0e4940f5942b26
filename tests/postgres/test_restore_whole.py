"""All rows of a database come back over the tables that are there, or none does."""

from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import CriticalTable, DatabasePolicy, Invariant
from rollbackd.core.errors import PlanRefused, RollbackdError, TemporaryError
from rollbackd.core.model import Restore
from rollbackd.postgres import quiet
from rollbackd.postgres.agreed import NotProven
from rollbackd.postgres.archive import Archive, Rows
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.one_commit import Deadline, OutOfTime, committed
from rollbackd.postgres.restore_choice import choose
from rollbackd.postgres.restore_whole import refuse_unlike
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.watchdog import Watchdog
from tests.postgres.shop import execute, reading
from tests.postgres.whole import HARM, SHOP, WHOLE, noted, one, over, swapped, taken

pytestmark = pytest.mark.process


@pytest.fixture
def shop(database: str) -> str:
    execute(database, SHOP)
    return database


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
    few = Invariant(name="few", sql="SELECT count(*) < 9 FROM orders")
    least = DatabasePolicy(critical_tables=(CriticalTable(table="public.orders", least_rows=501),))

    with pytest.raises(NotProven, match="few"):
        await over(shop, chosen, DatabasePolicy(invariants=(few,)))
    async with await connect(SecretStr(shop), name="test") as live:
        with pytest.raises(NotProven, match="401 rows, at least 501"):
            await quiet.prove_rules(live, least)

    assert one(shop, "SELECT count(*) FROM orders") == 401
    assert one(shop, "SELECT name FROM shops LIMIT 1") == "gone"


async def test_neither_rows_of_others_nor_a_newer_table_are_left_as_half_of_it(
    database: str,
) -> None:
    execute(
        database,
        "CREATE TABLE shops (id int PRIMARY KEY); CREATE SCHEMA other;"
        "CREATE TABLE events (n int) PARTITION BY RANGE (n);"
        "CREATE TABLE other.events_1 PARTITION OF events FOR VALUES FROM (0) TO (9)",
    )
    tables = [("public", "shops")]
    async with await connect(SecretStr(database), name="test") as live:
        with pytest.raises(PlanRefused, match=r"public\.events has parts .*: r other\.events_1"):
            await refuse_unlike(live, tables, ("public",))
        execute(database, "DROP TABLE events; CREATE TABLE other.notes (n int REFERENCES shops)")
        with pytest.raises(PlanRefused, match=r"other\.notes refers to public\.shops"):
            await refuse_unlike(live, tables, ("public",))
        execute(database, "DROP TABLE other.notes; CREATE TABLE later (n int)")
        with pytest.raises(PlanRefused, match=r"public\.later is not in the snapshot"):
            await refuse_unlike(live, tables, ("public",))
        with pytest.raises(PlanRefused, match=r"public\.gone is gone"):
            await refuse_unlike(
                live, [*tables, ("public", "later"), ("public", "gone")], ("public",)
            )


async def test_a_reader_in_the_way_is_named(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)
    hasty = DatabasePolicy(lock_timeout_seconds=0.2, lock_budget_seconds=0.6)

    with reading(shop, "orders"), pytest.raises(TemporaryError, match="report"):
        await over(shop, chosen, hasty)

    assert one(shop, "SELECT count(*) FROM orders") == 401


async def test_a_limit_ends_it_also_within_the_transaction(database: str) -> None:
    """Whatever its statements do, and whatever limits they set themselves."""
    deadline = Deadline.of(SystemClock(), 1.0)

    async def work(live: Connection, _dog: Watchdog) -> None:
        await live.execute("SET LOCAL statement_timeout = 0; CREATE TABLE half (n int)")
        await live.execute("SELECT pg_sleep(60)")

    with pytest.raises(OutOfTime, match="within 1 s: nothing was changed"):
        await committed(
            SecretStr(database),
            work,
            policy=DatabasePolicy(),
            run="shop-v2-100",
            deadline=deadline,
            journal=noted,
        )

    assert SystemClock().monotonic() - deadline.began_at < 15
    assert one(database, "SELECT to_regclass('half') IS NULL") is True


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


async def test_what_belongs_to_another_role_is_refused_before_anything_is_fenced(
    database: str,
) -> None:
    execute(database, "DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN PASSWORD 'x'")
    execute(database, "CREATE TABLE mine (n int PRIMARY KEY); ALTER TABLE mine OWNER TO clerk")
    execute(database, "CREATE TABLE theirs (n int PRIMARY KEY)")
    tables = {("public", name): Rows("(n)") for name in ("mine", "theirs")}
    archive = Archive(database="x", major=17, tables=tables)
    url = SecretStr(make_conninfo(database, user="clerk", password="x"))
    async with await connect(url, name="test") as live:
        for wish in (Restore(), Restore(tables=("theirs",))):
            with pytest.raises(PlanRefused, match=r"public\.theirs belongs to another role"):
                await choose(
                    live, live, archive, cast(Snapshot, None), wish, policy=DatabasePolicy()
                )


async def test_without_its_id_on_disk_nothing_is_committed(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)

    async def full(_xid: str) -> None:
        raise TemporaryError("the disk is full")

    with pytest.raises(RollbackdError, match="the disk is full"):
        await over(shop, chosen, journal=full)

    assert one(shop, "SELECT count(*) FROM orders") == 401
