"""A daemon's time in its state directory: waits for it, listens, and ends when it is lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog

from rollbackd.core.errors import ConfigError, TemporaryError
from rollbackd.core.ports import Clock
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry import events
from rollbackd.web.server import Listener

log = structlog.get_logger()

_AGAIN_SECONDS: Final = 1.0


class Tenure:
    """`begin`, `listen`, then `run` side by side with the rest; `may_send` before every call."""

    def __init__(self, *, store: SqliteStore, stop: StopSwitch, clock: Clock) -> None:
        self._store = store
        self._stop = stop
        self._clock = clock
        self._deposed_another = False
        self._late: list[Listener] = []

    async def begin(self) -> None:
        """The store is open when this returns: another daemon, or a full disk, is waited for."""
        told = False
        while True:
            try:
                deposed = await self._store.stand_by(_tell_who_has_it)
                self._deposed_another = self._deposed_another or deposed
                await self._store.open()
            except TemporaryError as error:
                if not told:
                    log.error(events.STORE_FAILED, op="open", error=error.message, hint=error.hint)
                told = True
                await self._clock.sleep(_AGAIN_SECONDS)
            else:
                break
        if self._deposed_another:
            log.warning(events.DAEMON_TOOK_OVER, why="its holder did not move any more")

    async def listen(self, listeners: Iterable[Listener]) -> None:
        """Raises ConfigError where an address is taken, but for one that a frozen daemon holds:
        the rollback it left cannot wait for that.
        """
        for listener in listeners:
            try:
                await listener.start()
            except ConfigError as error:
                if not self._deposed_another:
                    raise
                log.error(events.LISTENER_DELAYED, error=error.message)
                self._late.append(listener)

    async def run(self) -> None:
        """Raise Fenced as soon as another daemon has the directory."""
        while True:
            await self._clock.sleep(_AGAIN_SECONDS)
            self._store.check_ours("anything")
            late, self._late = self._late, []
            await self.listen(late)

    def may_send(self, what: str) -> None:
        """Raise Stopped or Fenced where `what` may not be sent."""
        self._stop.check(what)
        self._store.check_ours(what)


def _tell_who_has_it(message: str) -> None:
    log.warning(events.DAEMON_STOOD_BY, why=message, hint="this one goes on when that one ends")
