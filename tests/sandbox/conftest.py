"""A small, quick sandbox and clients with each kind of token."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from rollbackd.sandbox.server import Sandbox

QUICK: dict[str, Any] = {
    "boot_seconds": 0.05,
    "smoke_seconds": 0.05,
    "check_seconds": 0.1,
    "restart_seconds": 0.05,
    "scrape_seconds": 0.1,
    "grace_seconds": 0.3,
    "rate_limits": False,
}


def client(box: Sandbox, token: str, scheme: str = "Bearer") -> httpx.AsyncClient:
    headers = {"Authorization": f"{scheme} {token}"}
    return httpx.AsyncClient(base_url=box.urls.machines_url, headers=headers, timeout=20)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(machines=1, **QUICK) as one:
        await one.ready()
        yield one


@pytest.fixture
async def fleet() -> AsyncIterator[Sandbox]:
    async with Sandbox(machines=3, **QUICK) as one:
        await one.ready()
        yield one


@pytest.fixture
async def api(box: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client(box, box.urls.token) as one:
        yield one


@pytest.fixture
async def fleet_api(fleet: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client(fleet, fleet.urls.token) as one:
        yield one
