"""What a rollback of a large database takes: its plan, its proof, and one fingerprint beside them.

A real server from the wheel, or the system's, as the demo's. Needs the extra `demo`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psycopg
from pydantic import SecretStr

sys.path.append(str(Path(__file__).parents[1]))  # for the tests' shop

from rollbackd.core.model import RollbackOutcome
from rollbackd.postgres.connection import connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.local_server import PostgresServer
from tests.postgres.shop import BACK, CHEAPER, LOUD, QUIET, Shop, house, order

TABLES, AT_ONCE, ROUNDS = 2000, 100, 3
_TABLE = """
CREATE TABLE t{n} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
  made_at timestamptz DEFAULT now());
CREATE INDEX t{n}_name ON t{n} (name);
ALTER TABLE t{n} ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON t{n} FOR SELECT TO authenticated USING (name = current_user);
GRANT SELECT ON t{n} TO anon, authenticated;
"""
_SUPABASE = """
CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN;
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations
  (version text PRIMARY KEY, statements text[], name text);
"""
_CAME = (
    ("2", "cheaper", CHEAPER, BACK),
    ("3", "loud", LOUD, QUIET),
    ("4", "wide", "ALTER TABLE t7 ADD COLUMN wide int", "ALTER TABLE t7 DROP COLUMN wide"),
    ("5", "open", "GRANT INSERT ON t8 TO anon", "REVOKE INSERT ON t8 FROM anon"),
)


async def database(tables: int = TABLES) -> list[str]:
    with PostgresServer() as server, tempfile.TemporaryDirectory() as place:
        _fill(server, tables)
        one = await _fingerprint(server.url())
        planned, done, kinds, locked = await _rollback(server.url(), Path(place))
    whole = planned + done
    shares = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in kinds.items())
    return [
        f"fingerprint of {tables} tables | {one:.2f} s",
        f"plan of four migrations, {tables} tables | {planned:.2f} s, {planned / one:.1f} x that",
        f"done, and looked at before, in and after it | {done:.2f} s, {done / one:.1f} x: {shares}",
        f"plan and verification | {whole:.2f} s, {whole / one:.1f} x; locks {locked:.2f} s",
    ]


def _fill(server: PostgresServer, tables: int) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(_SUPABASE.encode())
        for first in range(0, tables, AT_ONCE):  # a transaction holds a lock a relation
            text = "".join(_TABLE.format(n=n) for n in range(first, min(first + AT_ONCE, tables)))
            connection.execute(text.encode())
        connection.execute("CHECKPOINT")  # making so many at once is no part of it


async def _fingerprint(url: str) -> float:
    async with await connect(SecretStr(url), name="bench") as connection:
        costs = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await fingerprint(connection, ("public",))
            costs.append(time.perf_counter() - began)
    return statistics.median(costs)


async def _rollback(url: str, place: Path) -> tuple[float, float, dict[str, float], float]:
    """Seconds of the plan, of carrying it out, of its steps by kind, and of locks on tables."""
    shop = Shop(url, place / "reverse")
    async with house(shop, place / "state") as made:
        for one in _CAME:
            shop.release(*one)
        began = time.perf_counter()
        plan = await made.runner.dry_run(order())
        planned = time.perf_counter() - began
        begun = await made.runner.begin(replace(order(), plan_hash=plan.hash))
        began = time.perf_counter()
        outcome = await made.runner.carry_out(begun)
        done = time.perf_counter() - began
        journal = await made.store.journal(order().id)
    assert journal is not None
    assert outcome is RollbackOutcome.RECOVERED, journal.reason
    rows = [row for row in journal.rows if row.step.kind.startswith("database_")]
    kinds = {row.step.kind[9:]: (row.finished_at or 0) - (row.started_at or 0) for row in rows}
    (locked,) = (row.result["locked_seconds"] for row in rows if "locked_seconds" in row.result)
    return planned, done, kinds, float(str(locked))
