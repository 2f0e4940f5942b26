"""Holds a machine's lease around its own update, and no longer: a lease blocks autostart too.

A lease of this very rollback, left by a process that died, is given back and taken anew: whoever
froze with the old nonce in hand is refused from then on. Anybody else's is waited for within a
bound, then left alone: we never break a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rollbackd.core.errors import LeaseHeld, RollbackdError
from rollbackd.core.ports import Clock
from rollbackd.fly.client import FlyClient
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.machine_calls import Lease

TTL_SECONDS = 30
PATIENCE_SECONDS = 45.0  # a deploy that died is free after 13 s; a live one wins
_REFRESH_SECONDS = TTL_SECONDS / 3
_POLL_SECONDS = 2.0  # a deploy refreshes its leases every 4 s; one that died is gone after 13


@contextlib.asynccontextmanager
async def leased(
    client: FlyClient, app: str, machine: str, *, words: str, patience_seconds: float
) -> AsyncIterator[Lease]:
    """Hold the lease; kept alive inside, given back at the end. LeaseHeld when patience ends."""
    lease = await _acquire(client, app, machine, words=words, patience_seconds=patience_seconds)
    keeping = asyncio.create_task(_keep_alive(client, app, machine, lease.nonce, words))
    try:
        yield lease
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        with contextlib.suppress(RollbackdError):  # it runs out by itself in half a minute
            await client.release_lease(app, machine, lease.nonce)


async def own_nonce(client: FlyClient, app: str, machine: str, words: str) -> str:
    """The nonce of a lease with our `words` on the machine, "" when there is none."""
    found = await client.get_machine(app, machine)
    if text_at(found, "lease", "description") != words:
        return ""
    return await client.lease_nonce(app, machine)


async def _acquire(
    client: FlyClient, app: str, machine: str, *, words: str, patience_seconds: float
) -> Lease:
    left_by_dead = await own_nonce(client, app, machine, words)
    if left_by_dead:
        await client.release_lease(app, machine, left_by_dead)
    give_up_at = client.clock.monotonic() + patience_seconds
    while True:
        try:
            return await client.acquire_lease(
                app, machine, ttl_seconds=TTL_SECONDS, description=words
            )
        except LeaseHeld as held:
            left = give_up_at - client.clock.monotonic()
            if left <= 0:
                raise
            await client.clock.sleep(min(left, _pause(client.clock, held)))


def _pause(clock: Clock, held: LeaseHeld) -> float:
    """Until it may be free; a live deploy prolongs it, so look again soon anyway."""
    if held.expires_at is None:
        return _POLL_SECONDS
    return min(max(held.expires_at - clock.now() + 0.1, 0.2), _POLL_SECONDS)


async def _keep_alive(client: FlyClient, app: str, machine: str, nonce: str, words: str) -> None:
    while True:
        await client.clock.sleep(_REFRESH_SECONDS)
        try:
            await client.acquire_lease(
                app, machine, ttl_seconds=TTL_SECONDS, description=words, nonce=nonce
            )
        except RollbackdError:
            return  # the update itself is guarded by the machine's version
