"""A listener on the daemon's own loop. It leaves signals alone: they belong to the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from rollbackd.core.errors import ConfigError
from rollbackd.web.patience import Patient

_LAST_PORT = 65_535
_LONGEST_PATH = 100  # sun_path holds 108 bytes, less on other systems
_ONLY_US = 0o177


class Listener:
    """Serves one app on `host:port`, `[::]:port` (both families) or a Unix socket's path."""

    def __init__(self, app: ASGIApp, listen: str | Path, *, ours: bool = False) -> None:
        """`ours`: the path's directory is locked by us, so whoever still answers there is not."""
        self._listen = listen
        self._ours = ours
        self._inode = 0
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http=Patient,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=64,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=16 * 1024,
        )
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """Where it listens: `127.0.0.1:9090`, with the port that was free, or the path."""
        return self._address

    async def start(self) -> None:
        """Listening when this returns. Raises ConfigError when the address is not to be had."""
        if isinstance(self._listen, Path):
            bound = _bind_path(self._listen, ours=self._ours)
            self._inode = self._listen.stat().st_ino
            self._address = str(self._listen)
        else:
            bound = _bind_address(self._listen)
            host, port = bound.getsockname()[:2]
            self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server = _Server(self._config)
        self._task = asyncio.create_task(
            self._server.serve(sockets=[bound]), name=f"listener {self._address}"
        )
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Answers what is in hand, then closes. A second call does nothing."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task
        self._server = self._task = None
        if isinstance(self._listen, Path):
            with contextlib.suppress(FileNotFoundError):
                if self._listen.stat().st_ino == self._inode:  # else a successor listens there
                    self._listen.unlink()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the daemon, which has a rollback to look after."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def parse_listen(listen: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ConfigError."""
    host, colon, port = listen.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not 0 <= number <= _LAST_PORT or (":" in bare and bare == host):
        raise ConfigError(
            f"{listen!r} is not an address to listen on", hint="write 127.0.0.1:9090 or [::]:9090"
        )
    return bare, number


def _bind_address(listen: str) -> socket.socket:
    host, port = parse_listen(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        both = family is socket.AF_INET6 and host == "::"
        return socket.create_server(
            address[:2], family=family, dualstack_ipv6=both, reuse_port=False, backlog=128
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {listen}: {error.strerror or error}",
            hint="is another rollbackd running? :0 takes any free port",
        ) from error


def _bind_path(path: Path, *, ours: bool) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ConfigError(
            f"the path of the socket is too long: {path}", hint="use a shorter ROLLBACKD_STATE"
        )
    _clear_away(path, ours=ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment: chmod after bind leaves a gap.
    before = os.umask(_ONLY_US)
    try:
        bound.bind(str(path))
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    bound.setblocking(False)
    return bound


def _clear_away(path: Path, *, ours: bool) -> None:
    """Remove what a dead daemon left. Refuses to take a living one's place, but for `ours`."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(f"{path} is there and is not a socket", hint="move it away")
    if ours:
        path.unlink(missing_ok=True)
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1)
        try:
            knock.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ConfigError(f"another rollbackd answers on {path}", hint="stop it first")
