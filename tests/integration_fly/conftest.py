"""A quick sandbox, and our client and executor on it."""

from collections.abc import AsyncIterator

import pytest

from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Rig, rig_for


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(
        boot_seconds=0.1, check_seconds=0.1, smoke_seconds=0.1, rate_limits=False
    ) as made:
        await made.ready()
        yield made


@pytest.fixture
async def rig(sandbox: Sandbox) -> AsyncIterator[Rig]:
    made = rig_for(sandbox)
    yield made
    await made.close()
