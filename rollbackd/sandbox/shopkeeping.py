"""Starts the demo's PostgreSQL and its shop, and ends them; knows nothing of what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rollbackd.core.errors import PermanentError
from rollbackd.sandbox.scenarios import Scenario

_EXTRA = "pip install 'rollbackd[demo]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """`url` of the shop's database; `environment` is what the daemon's configuration names."""

    url: str
    migrations: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.url, "MIGRATIONS": str(self.migrations)}

    async def migrate(self) -> None:
        """As a pipeline does, a moment before it deploys."""
        from rollbackd.sandbox import shop  # noqa: PLC0415 -- needs psycopg, an extra

        await asyncio.to_thread(shop.migrate, self.url)


@asynccontextmanager
async def shop_of(scenario: Scenario, directory: Path) -> AsyncIterator[Shop | None]:
    """None for a scenario without a database. Raises PermanentError where an extra is missing."""
    if not scenario.database:
        yield None
        return
    try:
        from rollbackd.postgres.local_server import PostgresServer  # noqa: PLC0415 -- an extra
        from rollbackd.sandbox import shop  # noqa: PLC0415 -- as above
    except ImportError as error:
        raise PermanentError(
            f"scenario {scenario.name} needs {error.name}, which is not installed", hint=_EXTRA
        ) from None
    server = PostgresServer()
    try:
        await asyncio.to_thread(server.start)
        made = Shop(url=server.url(shop.DATABASE), migrations=directory / "migrations")
        await asyncio.to_thread(shop.open_shop, server.url(), made.url, made.migrations)
        yield made
    finally:
        await asyncio.to_thread(server.stop, remove=True)
