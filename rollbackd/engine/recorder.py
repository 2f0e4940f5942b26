"""Writes holds and other things that nobody waits for, in order, beside the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog

from rollbackd.core.errors import TemporaryError
from rollbackd.core.model import Decision, Hold
from rollbackd.core.ports import Store
from rollbackd.telemetry import events

log = structlog.get_logger()

MOST_LATE: Final = 1000


class Recorder:
    """A queue of holds on their way to the record. Only a RollBack is awaited on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: asyncio.Queue[Hold] = asyncio.Queue()
        self._late: deque[Hold] = deque(maxlen=MOST_LATE)  # the disk did not take them yet
        self._writing = asyncio.Lock()  # on the way out `flush` comes while `run` still writes

    def put(self, hold: Hold) -> None:
        self._queue.put_nowait(hold)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._tell(await self._queue.get())
            await self._write()

    async def flush(self) -> None:
        """Write what is still queued; for the way out."""
        while not self._queue.empty():
            self._tell(self._queue.get_nowait())
        await self._write()

    def _tell(self, hold: Hold) -> None:
        log.info(
            events.DECISION_CHANGED,
            target=hold.target,
            decision="hold",
            reason=hold.reason.value,
            trigger=hold.trigger,
            why=hold.why,
        )
        self._late.append(hold)

    async def _write(self) -> None:
        """In order; where the disk takes nothing they wait for the next one. The log has them."""
        async with self._writing:
            while self._late:
                hold = self._late[0]
                try:
                    await self._store.record(hold)
                except TemporaryError as error:
                    log.error(events.STORE_FAILED, op="hold", error=error.message, hint=error.hint)
                    return
                if self._late and self._late[0] is hold:  # a full queue let it go meanwhile
                    self._late.popleft()


def says_something_new(before: Decision | None, after: Hold) -> bool:
    """Only a hold that differs in more than its numbers is worth a line."""
    if not isinstance(before, Hold):
        return True
    return (before.reason, before.trigger, before.bad, before.good) != (
        after.reason, after.trigger, after.bad, after.good,
    )  # fmt: skip
