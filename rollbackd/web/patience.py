"""Closes connections that send no whole request head in time, so that idle ones fill no listener.

uvicorn bounds only the pause between two requests. A body's time is bounded where it is read.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class Patient(H11Protocol):
    """As uvicorn's, but a client that waits with its head for two looks in a row is let go."""

    head_seconds = HEAD_SECONDS
    _looking: asyncio.TimerHandle | None = None
    _waited = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._looking = self.loop.call_later(self.head_seconds / 2, self._look)

    def _look(self) -> None:
        waits = self.conn.their_state is h11.IDLE
        if waits and self._waited:
            self.transport.close()
            return
        self._waited = waits
        self._look_again()
