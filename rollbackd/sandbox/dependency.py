"""Something an app depends on: accepts connections while it is up. It stores nothing.

The app's pages need it and its health check does not, as it is with most databases; that is how
an outage that no release caused looks from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

BACKLOG = 128


class Dependency:
    """One app's database, as far as the app notices it: it takes a connection or refuses it.

    A bare socket: an asyncio server that is closed while a connection comes in leaves it open.
    """

    def __init__(self) -> None:
        self._socket = _bound(0)
        self._listening = False
        self.port: int = self._socket.getsockname()[1]

    async def up(self) -> None:
        if not self._listening:
            self._listening = True
            self._socket.listen(BACKLOG)
            asyncio.get_running_loop().add_reader(self._socket, self._take)

    async def down(self) -> None:
        """Refuse from now on, on the same port."""
        if self._listening:
            await self.close()
            self._socket = _bound(self.port)

    async def close(self) -> None:
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # it was gone before we looked
            taken, _ = self._socket.accept()
            taken.close()


def _bound(port: int) -> socket.socket:
    """Bound and not listening: connections are refused, and nobody else gets the port."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.setblocking(False)
    return found
