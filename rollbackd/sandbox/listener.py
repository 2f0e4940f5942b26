"""uvicorn inside a loop that is not its own: port 0, no signal handlers, bounded shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 512


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs the loop."""
        yield


class Listener:
    """One HTTP server on 127.0.0.1."""

    def __init__(self, app: ASGIApp, *, port: int = 0) -> None:
        # asyncio switches Nagle off only where the protocol is named; with it on, every answer
        # waits 40 ms for the client's delayed acknowledgement.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="critical",
            access_log=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,
            server_header=False,
            timeout_keep_alive=75,  # a client that asks every few seconds keeps its connection
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when connections are taken."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  # only a flag
            await asyncio.sleep(0.005)  # uvicorn offers a flag, no event

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
