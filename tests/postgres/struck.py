"""A real daemon over a real sandbox and a real database, struck in a rollback of both.

async with both(tmp_path) as world:
    await world.begin("after done:database_reverse:1")   # struck there
    await world.daemon.start()                            # the next life
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollbackd.postgres.local_server import PostgresServer
from tests.faults import struck
from tests.faults.struck import BAD, GOOD
from tests.postgres.shop import BACK, CHEAPER, Shop, execute, migrate, versions
from tests.process.daemons import Running, images
from tests.support import until

SUPABASE = """
CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations
  (version text PRIMARY KEY, statements text[], name text);
"""
CONFIGURATION = """\
targets:
  shop:
    fly: {app: shop}
    url: ${SANDBOX_URL}
    mode: auto
    database:
      url: ${DATABASE_URL}
      rollback_dirs: ["${REVERSES}"]
      auto: [safe]
      timeouts: {lock: 500ms, lock_budget: 2s}
    plans:
      app: {steps: [app]}
      app-and-database: {steps: [database, app], traffic: stop}
    probes:
      health:   {http: {path: /healthz}, interval: 2s, timeout: 1900ms}
      machines: {fly: {}, interval: 2s}
    triggers:
      health-down:
        {probe: health, breach_when: {failing: true}, breaches: {at_least: 9, of_last: 9}}
      deploy-failed: {deploy_failed: true}
    safety:
      settle: {until: first_success, at_most: 4s}
    after:
      monitor: 100ms
      success_when: {clear_for: 500ms}
"""

PATIENCE = 240.0  # one that hangs never comes; a machine with much else to do is only late


@dataclass(kw_only=True)
class Both:
    daemon: Running
    server: PostgresServer
    shop: Shop
    effects: int = 0  # of the platform, before this rollback

    @property
    def directory(self) -> Path:
        return self.daemon.directory

    async def begin(self, point: str = "", *, by: str = "KILL", plan: str = "") -> None:
        """A bad release with its migration is out, a person asked for the way back, and the daemon
        was struck at `point`.
        """
        for name in ("hit", "passed"):
            (self.directory / name).unlink(missing_ok=True)
        self.daemon.extra |= {"FAULT_POINT": point, "FAULT_SIGNAL": by}
        await self.daemon.start()
        await self._seen()
        self.effects = len(self.daemon.box.effects)
        await asyncio.to_thread(migrate, self.shop.url, "2", "cheaper", CHEAPER)
        await self.daemon.box.deploy(image=BAD, strategy="immediate")
        bad = self.daemon.box.releases[-1].version

        async def known() -> bool:
            target = await self.daemon.target()
            release = target["release"] if target else None
            return release is not None and release["version"] == bad

        await until(known, PATIENCE)
        with contextlib.suppress(Exception):  # it may be struck before it answers
            answer = await self.daemon.post(
                "/api/v1/targets/shop/rollback",
                reason="prices are wrong",
                plan=plan or "app-and-database",
            )
            assert answer.is_success, answer.text
        if point:
            await until((self.directory / "hit").exists, PATIENCE)
            if by == "KILL":
                assert self.daemon.process is not None
                assert await self.daemon.process.wait() == -9

    async def _seen(self) -> None:
        """The good release is known, and what its database is like."""

        async def seen() -> bool:
            try:
                answer = await self.daemon.get("/api/v1/targets/shop/database")
                target = await self.daemon.get("/api/v1/targets/shop")
            except Exception:
                return False
            good = self.daemon.box.releases[-1].version
            return bool(answer["observed"]) and target["release"]["version"] == good

        await until(seen, PATIENCE)

    def passed(self) -> list[str]:
        return (self.directory / "passed").read_text(encoding="utf-8").split("\n")[:-1]

    async def ended(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The last rollback, once it has an outcome that is not `holding`."""

        async def over() -> bool:
            found = await self.daemon.rollbacks()
            return bool(found) and found[0]["outcome"] not in {None, "", "holding"}

        await until(over, seconds)
        return (await self.daemon.rollbacks())[0]

    def as_before(self) -> list[str]:
        """What is not as it was before the bad release, or happened twice, or is left of ours."""
        box = self.daemon.box
        found = [] if versions(self.shop.url) == ["1"] else ["the history is not as it was"]
        found += [] if self.shop.price() == 1 else ["the price is not as it was"]
        found += [] if images(box) == {GOOD} else [f"it runs {images(box)}"]
        found += [] if box.releases[-1].status == "complete" else ["the record is not complete"]
        return found + self.left() + self.twice()

    def left(self) -> list[str]:
        """What of ours is still there: cordons, leases, marks, machines that do not run, sessions
        in a transaction, locks, scratch databases.
        """
        box = self.daemon.box
        found = struck.left_on(box)
        found += [f"{m.id} is {m.state}" for m in box.machines if m.state != "started"]
        found += [f"{m.id} has marks" for m in box.machines if "rollbackd_stopped" in m.metadata]
        url = self.shop.url
        held = "SELECT 'lock of ' || pid FROM pg_locks WHERE locktype = 'advisory'"
        open_ = (
            "SELECT 'open: ' || application_name FROM pg_stat_activity"
            " WHERE application_name LIKE 'rollbackd%' AND state LIKE '%in transaction%'"
        )
        scratch = "SELECT datname FROM pg_database WHERE datname LIKE 'rollbackd_scratch%'"
        for query in (held, open_, scratch):
            found += [str(row[0]) for row in execute(url, query.replace("%", "%%"))]
        return found

    def twice(self) -> list[str]:
        ours = [e for e in self.daemon.box.effects[self.effects :] if e.request_id != "inside"]
        updates = [f"{e.op_id} on {e.machine}" for e in ours if e.action == "machine.update"]
        records = [e.action for e in ours if e.action == "release.create"]
        return sorted({each for each in updates if updates.count(each) > 1}) + records[1:]

    def database_gone(self) -> None:
        """At once, as a machine that lost its power."""
        os.kill(self.server.pid, signal.SIGQUIT)
        assert self.server._process is not None
        self.server._process.wait()
        assert self.server._process.stdin is not None
        self.server._process.stdin.close()

    def database_back(self) -> None:
        """At the same address."""
        self.server._launch()
        assert self.server._answers()


@contextlib.asynccontextmanager
async def both(directory: Path) -> AsyncIterator[Both]:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    server = PostgresServer(settings={"fsync": "off"})
    try:
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(execute, server.url(), SUPABASE)
        shop = Shop(server.url(), directory / "reverse")
        (shop.files / "2_cheaper.rollback.sql").write_text(BACK, encoding="utf-8")
        async with struck.faulty(directory, machines=2, rate_limits=False, **quick) as daemon:
            daemon.configure(CONFIGURATION)
            daemon.extra |= {"DATABASE_URL": shop.url, "REVERSES": str(shop.files)}
            yield Both(daemon=daemon, server=server, shop=shop)
    finally:
        await asyncio.to_thread(server.stop, remove=True)
