"""A real daemon over a real sandbox, struck at a named point of a rollback (`launcher`).

async with struck(tmp_path, "after started:machine:2") as daemon:
    await daemon.start()      # the next life; the point strikes once
    await daemon.until_outcome("recovered")
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rollbackd.sandbox.server import Sandbox
from tests.process.daemons import Running, images, running
from tests.support import until

BAD, GOOD = "errors-60", "good"


@contextlib.asynccontextmanager
async def struck(
    directory: Path,
    point: str,
    *,
    by: str = "KILL",
    extra: Mapping[str, str] = MappingProxyType({}),
    **sandbox: Any,
) -> AsyncIterator[Running]:
    """A bad release is out, a person's rollback began, and the daemon was struck there."""
    async with faulty(directory, **sandbox) as daemon:
        daemon.extra |= {"FAULT_POINT": point, "FAULT_SIGNAL": by, **extra}
        await daemon.start()
        await begin(daemon)
        await until((directory / "hit").exists, 60)
        if by == "KILL":
            assert daemon.process is not None
            assert await daemon.process.wait() == -9
        yield daemon


@contextlib.asynccontextmanager
async def faulty(directory: Path, **sandbox: Any) -> AsyncIterator[Running]:
    """A daemon that can be struck, not started yet; the release out is good."""
    async with running(directory, **sandbox) as daemon:
        daemon.module = "tests.faults.launcher"
        daemon.extra = {"FAULT_DIRECTORY": str(directory)}
        yield daemon


async def begin(daemon: Running) -> None:
    """Deploy what is bad and ask for the rollback: quicker than waiting for the trigger."""
    await daemon.box.deploy(image=BAD)
    await until(lambda: images(daemon.box) == {BAD}, 40)

    async def seen() -> bool:
        target = await daemon.target()
        release = target["release"] if target else None
        return release is not None and release["version"] == 2 and target["mode"] == "auto"

    await until(seen, 40)
    asking = asyncio.create_task(
        daemon.post("/api/v1/targets/shop/rollback", reason="checkout fails")
    )
    with contextlib.suppress(Exception):  # it may be struck before it answers
        answer = await asking
        assert answer.is_success, answer.text


def left_on(box: Sandbox) -> list[str]:
    """What of ours is still on the app: cordons, leases."""
    found = [f"{m.id} is cordoned" for m in box.machines if m.cordoned]
    now = box.world.now()
    held = (m for m in box.machines if m.lease is not None and m.lease.expires_at > now)
    return found + [f"{m.id} is leased: {m.lease.description}" for m in held if m.lease]


def applied_twice(box: Sandbox) -> list[str]:
    """Updates and release records that took effect more often than once."""
    ours = [e for e in box.effects if e.request_id != "inside"]
    updates = [
        f"{e.op_id} on {e.machine}" for e in ours if e.op_id and e.action == "machine.update"
    ]
    records = [e.action for e in ours if e.action == "release.create"]
    return sorted({each for each in updates if updates.count(each) > 1}) + records[1:]
