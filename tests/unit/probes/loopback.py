"""Real servers on loopback that behave badly on purpose, and what a probe is made with."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import Invariant
from rollbackd.core.model import Machine
from rollbackd.core.ports import Clock, Platform, Probe, Reading
from rollbackd.plugins import (
    DatabaseAccess,
    ProbeContext,
    PrometheusAccess,
    SupabaseAccess,
    probes,
)

PEM = Path(__file__).with_name("loopback.pem")  # self-signed for localhost, good until 2126

Behaviour: TypeAlias = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


class Request:
    """What came in, as far as a test asks."""

    def __init__(self, head: str, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.body = b""
        self.line, *rest = head.split("\r\n")
        self.path = self.line.split(" ")[1] if " " in self.line else ""
        self.headers = {
            name.lower(): value.strip() for name, _, value in (r.partition(":") for r in rest)
        }


def answer(body: bytes = b"ok", *, status: int = 200, **headers: str) -> bytes:
    """A correct answer's bytes. Header names take _ for -."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Loopback:
    """Serves raw bytes, or a behaviour, on a port of its own."""

    def __init__(
        self, behaviour: bytes | Behaviour = b"", *, host: str = "127.0.0.1", tls: bool = False
    ) -> None:
        self._behaviour = behaviour
        self.host = host
        self.port = 0
        self._tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self._tls}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        tls = server_tls() if self._tls else None
        self._server = await asyncio.start_server(self._accepted, self.host, 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
        request = Request(head, reader)
        request.body = await reader.readexactly(int(request.headers.get("content-length", "0")))
        self.requests.append(request)
        if isinstance(self._behaviour, bytes):
            writer.write(self._behaviour)
        else:
            await self._behaviour(request, writer)
        await writer.drain()
        if request.headers.get("connection") == "keep-alive" and not writer.is_closing():
            return True
        writer.close()
        await writer.wait_closed()
        return False


@cache
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@cache
def public_trust() -> ssl.SSLContext:
    """Trusts what the machine trusts: not our certificate."""
    return ssl.create_default_context()


@cache
def loopback_trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


async def hang(request: Request, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client hangs up."""
    del writer
    await request.reader.read()


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    del request
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
    """A byte every 20 ms for ever: no single read ever times out."""
    del request
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


class FakePlatform:
    """Shows the machines it was given, or raises."""

    def __init__(self, machines: Sequence[Machine] = (), error: Exception | None = None) -> None:
        self.shown = tuple(machines)
        self.error = error
        self.calls = 0

    async def machines(self) -> tuple[Machine, ...]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.shown

    async def releases(self) -> Any:
        raise NotImplementedError

    async def current_version(self) -> Any:
        raise NotImplementedError

    async def token_report(self) -> Any:
        raise NotImplementedError


class WatchedPlatform(FakePlatform):
    """One whose machines somebody else asks for all the time."""

    async def recent_machines(self, max_age_seconds: float) -> tuple[Machine, ...]:
        return await self.machines()


def machine(**changes: Any) -> Machine:
    usual: dict[str, Any] = {"id": "m1", "state": "started", "group": "app", "content": "c"}
    return Machine(**(usual | changes))


def asleep_platform() -> FakePlatform:
    return FakePlatform([machine(state="stopped", autostop=True)])


def context(
    *,
    url: str | None = None,
    app: str | None = "shop",
    seconds: float = 2.0,
    interval: float = 10.0,
    clock: Clock | None = None,
    trust: ssl.SSLContext | None = None,
    platform: Platform | None = None,
    prometheus: str | None = None,
    token: str = "",
    supabase: str | None = None,
    postgres: str | None = None,
    invariants: Sequence[Invariant] = (),
) -> ProbeContext:
    return ProbeContext(
        target="web",
        name="probe",
        url=url,
        app=app,
        interval_seconds=interval,
        timeout_seconds=seconds,
        clock=clock or SystemClock(),
        rng=random.Random(1),
        ssl_context=trust or public_trust(),
        platform=platform,
        prometheus=PrometheusAccess(url=prometheus, token=token) if prometheus else None,
        user_agent="rollbackd-test",
        supabase=SupabaseAccess(url=supabase) if supabase else None,
        database=DatabaseAccess(url=SecretStr(postgres)) if postgres else None,
        invariants=tuple(invariants),
    )


def build(kind: str, config: Any, made_with: ProbeContext) -> Probe:
    plugin = probes()[kind]
    return plugin.build(plugin.Config.model_validate(config), made_with)


async def take(kind: str, config: Any, made_with: ProbeContext) -> Reading:
    """One look of a new probe."""
    probe = build(kind, config, made_with)
    try:
        return await probe.take()
    finally:
        await probe.close()
