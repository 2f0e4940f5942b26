"""A shop whose data is put back behind a fence: its machines in a sandbox, its rows in Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.core.model import Release, ReleaseStatus, Restore, RollBack, TargetName
from rollbackd.core.policy import TargetPolicy, Traffic
from rollbackd.executors.app import AppExecutor
from rollbackd.executors.combined import Combined
from rollbackd.executors.data import DataExecutor
from rollbackd.fly.client import FlyClient
from rollbackd.fly.config_restore import CORDON, STOPPED
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import DatabaseAccess, ExecutorContext
from rollbackd.postgres import keeping
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.sandbox.proxy import routable
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Unlimited, target_policy
from tests.postgres.shop import execute
from tests.support import until
from tests.support_runner import FakeExecutor, House, World

FIRST = """
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, product int REFERENCES products, total numeric);
INSERT INTO products SELECT n, 'p' || n FROM generate_series(1, 10) AS n;
INSERT INTO orders (product, total) SELECT 1 + n % 10, n FROM generate_series(1, 100) AS n;
INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'first');
"""
HARM = """
UPDATE products SET name = 'harmed'; DELETE FROM orders WHERE id > 90;
INSERT INTO orders (product, total) VALUES (1, 7), (1, 7);
"""
QUICK: dict[str, Any] = {
    "boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1,
}  # fmt: skip
STATE = (
    "SELECT (SELECT count(*) FROM products WHERE name LIKE 'p%%'), count(*), max(id) FROM orders"
)
WELL, HARMED = [(10, 100, 100)], [(0, 92, 102)]


@dataclass(frozen=True)
class Where:
    """What another process needs to go on: all of it survives a kill."""

    url: str
    state: Path
    app: str
    machines_url: str
    api_url: str
    token: str

    @classmethod
    def of(cls, box: Sandbox, url: str, state: Path) -> Where:
        urls = box.urls
        return cls(url, state, box.name, urls.machines_url, urls.api_url, urls.token)


def policy(limit_seconds: float = 60.0) -> DatabasePolicy:
    made = DatabasePolicy(lock_timeout_seconds=0.2, lock_budget_seconds=0.6)
    return replace(made, snapshots=replace(made.snapshots, limit_seconds=limit_seconds))


def target_of(rules: DatabasePolicy, *steps: str) -> TargetPolicy:
    app = target_policy()
    plan = replace(
        app.plans["app"], name="data", steps=steps, traffic=Traffic.STOP, deadline_seconds=1e12
    )
    return replace(app, plans={"data": plan}, database=rules)


def wanted(wish: Restore, *, at: float = 100.0, good: Release | None = None) -> RollBack:
    """By hand, and of data alone: the release stays."""
    bad = Release(
        version=1, image="good", status=ReleaseStatus.COMPLETE, content="g", created_at=4e9
    )
    return RollBack(
        target=TargetName("shop"),
        at=at,
        trigger=None,
        bad=bad,
        good=good or bad,
        plan="data",
        why="rows are gone",
        requested_by="ann",
        restore=wish,
    )


@asynccontextmanager
async def house(where: Where, rules: DatabasePolicy, *steps: str) -> AsyncIterator[House]:
    """A store, a runner, and the parts that put data back, as a daemon has them."""
    client = FlyClient(where.machines_url, where.api_url, where.token, clock=SystemClock())
    client.wire.buckets = Unlimited(SystemClock())
    made = House(where.state, FakeExecutor(World()))
    made.clock = cast(Any, SystemClock())
    await made.open()
    target = target_of(rules, *(steps or ("data",)))
    platform = FlyPlatform(where.app, client, SystemClock(), keep=made.store)
    context = ExecutorContext(
        target=target,
        platform=platform,
        store=made.store,
        clock=SystemClock(),
        database=DatabaseAccess(url=SecretStr(where.url)),
        state=where.state,
    )
    parts = {
        "app": AppExecutor(platform, made.store, target),
        "data": DataExecutor.build(context),
    }
    made.executor = cast(FakeExecutor, Combined(parts, target))
    try:
        yield made
    finally:
        await made.close()
        await client.close()


async def taken(where: Where, rules: DatabasePolicy | None = None) -> Snapshot:
    return await keeping.keep(
        SecretStr(where.url),
        rules or policy(),
        directory=where.state / "snapshots",
        clock=SystemClock(),
        label="shop",
    )


async def approved(made: House, asked: RollBack) -> RollBack:
    plan = await made.runner.dry_run(asked)
    return replace(asked, plan_hash=plan.hash)


async def unfenced(box: Sandbox) -> bool:
    """Every machine serves again, and none has a mark of ours."""
    await until(lambda: all(routable(machine) for machine in box.machines))
    return not any({CORDON, STOPPED} & machine.metadata.keys() for machine in box.machines)


def harm(url: str) -> None:
    execute(url, HARM)
