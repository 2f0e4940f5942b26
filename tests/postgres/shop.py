"""A small shop whose database is rolled back: migrations, reverse files, and who carries it out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import psycopg
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.core.model import RollBack
from rollbackd.core.policy import TargetPolicy, Traffic
from rollbackd.core.ports import Clock, Executor, Platform
from rollbackd.executors.combined import Combined
from rollbackd.executors.database import DatabaseExecutor
from rollbackd.plugins import DatabaseAccess, ExecutorContext
from rollbackd.postgres.connection import connect
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.histories import applied
from rollbackd.postgres.observations import Observations
from rollbackd.postgres.words import Observed
from rollbackd.stores.sqlite import SqliteStore
from tests.integration_fly.walking import target_policy
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, House, World

SAFE = Harm.SAFE
FIRST = """
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 10) AS n;
CREATE FUNCTION price_of(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
CHEAPER = "CREATE OR REPLACE FUNCTION price_of(int) RETURNS int LANGUAGE sql AS 'SELECT 2';"
BACK = "CREATE OR REPLACE FUNCTION price_of(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
LOUD = "ALTER TABLE products ADD COLUMN loud boolean; UPDATE products SET loud = true;"
QUIET = "ALTER TABLE products DROP COLUMN loud;"


def execute(url: str, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def migrate(url: str, version: str, name: str, up: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(up.encode())
        connection.execute(
            "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s, %s)",
            [version, [up], name],
        )


def versions(url: str) -> list[str]:
    rows = execute(url, "SELECT version FROM supabase_migrations.schema_migrations ORDER BY 1")
    return [row[0] for row in rows]


@dataclass
class Shop:
    """`url` of its database; `files` holds the reverse SQL."""

    url: str
    files: Path
    policy: DatabasePolicy = field(init=False)

    def __post_init__(self) -> None:
        self.files.mkdir()
        self.adopt()
        migrate(self.url, "1", "first", FIRST)

    def adopt(self) -> None:
        """As another process finds it."""
        self.policy = DatabasePolicy(rollback_dirs=(str(self.files),), auto=frozenset({SAFE}))

    def release(self, version: str, name: str, up: str, down: str | None) -> None:
        """What comes with the bad release."""
        migrate(self.url, version, name, up)
        if down is not None:
            (self.files / f"{version}_{name}.rollback.sql").write_text(down, encoding="utf-8")

    def price(self) -> int:
        return int(execute(self.url, "SELECT price_of(1)")[0][0])

    async def observe(self, store: SqliteStore, order: RollBack) -> None:
        """As the daemon does while the good release is well."""
        async with await connect(SecretStr(self.url), name="test") as connection:
            seen = Observed(
                version=order.good.version,
                content=order.good.content,
                at=1.0,
                applied=tuple(await applied(connection, ())),
                fingerprint=await fingerprint(connection, self.policy.schemas),
            )
        await Observations(store, order.target).keep(seen)


def order(*, by_hand: bool = False, at: float = 100.0, plan: str = "database") -> RollBack:
    return replace(decision(by_hand=by_hand, at=at), plan=plan)


def target_of(shop: Shop, steps: tuple[str, ...], traffic: Traffic = Traffic.KEEP) -> TargetPolicy:
    policy = target_policy()
    plan = replace(
        policy.plans["app"], name="database", steps=steps, traffic=traffic, deadline_seconds=1e12
    )
    return replace(policy, plans={"database": plan}, database=shop.policy)


def executor_of(
    shop: Shop,
    target: TargetPolicy,
    store: SqliteStore,
    state: Path,
    *,
    clock: Clock | None = None,
    app: Executor | None = None,
    platform: Platform | None = None,
) -> Combined:
    context = ExecutorContext(
        target=target,
        platform=cast(Platform, platform),
        store=store,
        clock=clock or SystemClock(),
        database=DatabaseAccess(url=SecretStr(shop.url)),
        state=state,
    )
    parts: dict[str, Executor] = {"database": DatabaseExecutor.build(context)}
    return Combined(parts | ({"app": app} if app is not None else {}), target)


@asynccontextmanager
async def house(
    shop: Shop, directory: Path, *, app: Executor | None = None, observed: bool = True
) -> AsyncIterator[House]:
    """A store and a runner over the shop's database, and over an app in memory where one is given.

    The good release was seen before anything of the bad one: call it before `Shop.release`.
    """
    made = House(directory, FakeExecutor(World()))
    made.clock = cast(Any, SystemClock())
    await made.open()
    steps = ("database",) if app is None else ("database", "app")
    traffic = Traffic.KEEP if app is None else Traffic.STOP
    target = target_of(shop, steps, traffic)
    made.executor = cast(FakeExecutor, executor_of(shop, target, made.store, directory, app=app))
    if observed:
        await shop.observe(made.store, order())
    try:
        yield made
    finally:
        await made.close()


@contextlib.contextmanager
def reading(url: str, table: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody who holds a lock on the table for as long as it lasts."""
    with psycopg.connect(url, application_name="report") as connection:
        connection.execute(f"SELECT count(*) FROM {table}".encode())
        yield connection
