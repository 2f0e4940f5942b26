"""A shop with all that makes a restore hard, and whole restores of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.postgres import snapshot
from rollbackd.postgres.connection import connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.restore_swap import Swapped, restore_swap
from rollbackd.postgres.restore_whole import WholeRestored, restore_whole
from rollbackd.postgres.snapshot_files import Snapshot
from tests.postgres.shop import execute

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
