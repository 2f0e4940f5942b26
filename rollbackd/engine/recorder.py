"""Writes holds and other things that nobody waits for, in order, beside the loop."""

from __future__ import annotations

import asyncio

import structlog

from rollbackd.core.model import Hold
from rollbackd.core.ports import Store
from rollbackd.telemetry import events

log = structlog.get_logger()


class Recorder:
    """A queue of holds on their way to the record. Only a RollBack is awaited on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: asyncio.Queue[Hold] = asyncio.Queue()

    def put(self, hold: Hold) -> None:
        self._queue.put_nowait(hold)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._write(await self._queue.get())

    async def flush(self) -> None:
        """Write what is still queued; for the way out."""
        while not self._queue.empty():
            await self._write(self._queue.get_nowait())

    async def _write(self, hold: Hold) -> None:
        log.info(
            events.DECISION_CHANGED,
            target=hold.target,
            decision="hold",
            reason=hold.reason.value,
            trigger=hold.trigger,
            why=hold.why,
        )
        await self._store.record(hold)
