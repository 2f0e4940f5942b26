"""Waits that a drain may cut short: a look or a pause loses nothing when it is begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from rollbackd.core.errors import Stopped
from rollbackd.core.ports import Clock
from rollbackd.engine.stop import StopSwitch

T = TypeVar("T")


class Pauses:
    """Never put a mutating call in here: it would be cut in the middle."""

    def __init__(self, clock: Clock, stop: StopSwitch) -> None:
        self._clock = clock
        self._stop = stop
        self._running: set[asyncio.Future[Any]] = set()

    async def sleep(self, seconds: float) -> None:
        await self.wait(self._clock.sleep(max(seconds, 0.0)))

    async def wait(self, looking: Awaitable[T]) -> T:
        """Its answer, or Stopped when the process drains meanwhile."""
        task = asyncio.ensure_future(looking)
        self._running.add(task)
        if self._stop.draining:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if self._stop.draining and not _cancelled_from_outside():
                raise Stopped("shutting down", hint="the next daemon goes on") from None
            raise
        finally:
            task.cancel()
            self._running.discard(task)

    def interrupt(self) -> None:
        """End all that are under way; the stop switch must be draining by now."""
        for task in self._running:
            task.cancel()


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
