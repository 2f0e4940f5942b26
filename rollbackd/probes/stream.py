"""One fresh TCP or TLS connection, in the shape httpcore reads from. It sets no deadline itself."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Self

import httpcore

from rollbackd.probes.phases import Phases


class Stream(httpcore.AsyncNetworkStream):
    """A connection that is always dropped at once: a look has nothing to say goodbye for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        del timeout  # the whole look has one deadline
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        del timeout
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            # httpcore forgives a broken write: the server may have answered before it hung up.
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._writer.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        del ssl_context, server_hostname, timeout
        raise NotImplementedError("proxies are not spoken to")

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return None
        # Bytes nobody asked for (a 408 on an idle connection) would answer the next request.
        waiting = self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
        return self._reader.at_eof() or bool(waiting)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def connect(
    addresses: Iterable[str],
    port: int,
    phases: Phases,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
) -> Stream:
    """Connect to the first address; another one is tried only where *we* have no route to it.

    No happy eyeballs: a target whose first address is dead is in trouble, and should look so.
    """
    with phases.timed("connect"):
        sock = await _first_routed(addresses, port)
    try:
        with phases.timed("tls") if tls else contextlib.nullcontext():
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=tls, server_hostname=server_name if tls else None
            )
    except BaseException:  # cancelled by the deadline too: the socket must not outlive the look
        sock.close()
        raise
    return Stream(reader, writer)


async def _first_routed(addresses: Iterable[str], port: int) -> socket.socket:
    unrouted: OSError | None = None
    for address in addresses:
        try:
            return await _socket_to(address, port)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            unrouted = unrouted or error
    raise unrouted or OSError("no address")


async def _socket_to(address: str, port: int) -> socket.socket:
    # Reading the numbers is local; going through getaddrinfo here would take a thread each time.
    bare, _, scope = address.partition("%")
    if ipaddress.ip_address(bare).version == 6:  # noqa: PLR2004 - that is its name
        family, where = socket.AF_INET6, (bare, port, 0, _scope_id(scope))
    else:
        family, where = socket.AF_INET, (bare, port)  # type: ignore[assignment]  # a shorter tuple
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _scope_id(scope: str) -> int:
    if not scope:
        return 0
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
