"""Collects what the loop heard for the record, and hands it over beside the loop.

The record may be lost: where it cannot be written, the facts are dropped and the watch goes on.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import structlog

from rollbackd.core.errors import RollbackdError
from rollbackd.core.facts import Fact
from rollbackd.core.ports import Clock, FactRecord
from rollbackd.telemetry import events

log = structlog.get_logger()

EVERY_SECONDS: Final = 5.0
MOST_WAITING: Final = 50_000  # facts, while the disk is slow


class Heard:
    """`note` and `tick` from the loop; `run` writes. Without a record it collects nothing."""

    def __init__(self, clock: Clock | None = None, record: FactRecord | None = None) -> None:
        self._clock = clock
        self._record = record
        self._open: list[tuple[float, Fact]] = []  # since the newest tick
        self._closed: deque[tuple[float, Fact]] = deque(maxlen=MOST_WAITING)
        self._failing = ""

    def note(self, fact: Fact) -> None:
        """The loop took it in."""
        if self._record is not None and self._clock is not None:
            self._open.append((self._clock.now(), fact))

    def tick(self, at: float) -> None:
        """A decision follows, from all that was noted before.

        A tick is taken in some milliseconds after its second: what came in between counts as
        heard by then, so that who replays the record judges by the same facts.
        """
        self._closed.extend((min(heard_at, at), fact) for heard_at, fact in self._open)
        self._open.clear()

    async def run(self) -> None:
        """Write every few seconds until cancelled."""
        while self._clock is not None:
            await self._clock.sleep(EVERY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was heard up to the newest tick; for the way out, too."""
        if self._record is None or not self._closed:
            return
        facts = list(self._closed)
        self._closed.clear()
        try:
            await self._record.append(facts)
        except RollbackdError as error:
            if error.message != self._failing:
                log.warning(events.RECORD_FAILED, error=error.message, hint=error.hint)
            self._failing = error.message
        else:
            self._failing = ""
