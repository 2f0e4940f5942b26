"""Something an app depends on: accepts connections while it is up. It stores nothing.

The app's pages need it and its health check does not, as it is with most databases; that is how
an outage that no release caused looks from outside.
"""

from __future__ import annotations

import asyncio
import socket


class Dependency:
    """One app's database, as far as the app notices it: it takes a connection or refuses it."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]

    async def up(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(_Greeting, sock=self._socket)

    async def down(self) -> None:
        """Refuse from now on, on the same port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
            self._socket = _bound(self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._socket.close()


class _Greeting(asyncio.Protocol):
    """Takes the connection and hangs up: that it was taken is the answer.

    No task of its own, so that nothing is left open when everything is cancelled.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _bound(port: int) -> socket.socket:
    """Bound and not listening: connections are refused, and nobody else gets the port."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    return found
