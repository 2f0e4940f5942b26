"""A connection, and at most one thing said and heard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from rollbackd.core.facts import Check, CheckOutcome, MissReason
from rollbackd.core.ports import Missed
from rollbackd.probes.resolver import Resolver
from rollbackd.probes.tcp import TcpProbe
from tests.unit.probes.loopback import Loopback, answer, build, context, loopback_trust, take


@asynccontextmanager
async def echo(*, greeting: bytes = b"", host: str = "127.0.0.1") -> AsyncIterator[int]:
    talks: set[asyncio.Future[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        talks.add(over)
        with suppress(ConnectionError):
            writer.write(greeting)
            while heard := await reader.read(100):
                writer.write(b"you said " + heard)
        writer.transport.abort()
        over.set_result(None)

    server = await asyncio.start_server(serve, host, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await asyncio.gather(*talks)  # a look hangs up, so every talk ends


async def look(port: int, *, seconds: float = 2.0, **config: Any) -> Check:
    config = {"host": "127.0.0.1", "port": port, **config}
    reading = await take("tcp", config, context(seconds=seconds))
    assert isinstance(reading, Check), reading
    return reading


async def test_a_connection_is_enough() -> None:
    async with echo() as port:
        reading = await look(port)
    assert reading.outcome is CheckOutcome.OK
    assert reading.seconds is not None


async def test_it_speaks_ipv6() -> None:
    async with echo(host="::1") as port:
        assert (await look(port, host="::1")).outcome is CheckOutcome.OK


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"send": "PING", "expect": "^you said PING$"}, ""),
        ({"send": "PING", "expect": "PONG"}, "time-out (processing)"),
        ({"expect": "."}, "time-out (processing)"),
    ],
)
async def test_what_is_heard_must_match(config: dict[str, Any], why: str) -> None:
    async with echo() as port:
        reading = await look(port, seconds=0.3, **config)
    assert reading.why == why
    assert reading.outcome is (CheckOutcome.FAILED if why else CheckOutcome.OK)


async def test_a_greeting_is_heard() -> None:
    async with echo(greeting=b"220 mail ready\r\n") as port:
        assert (await look(port, expect="^220 ")).outcome is CheckOutcome.OK


async def test_a_server_that_hangs_up_does_not_match() -> None:
    async with Loopback(answer(b"other")) as server:
        send = "GET / HTTP/1.0\r\n\r\n"
        reading = await look(server.port, send=send, expect="hello")
    assert (reading.outcome, reading.why) == (CheckOutcome.FAILED, "answer does not match")


async def test_a_flood_is_cut_off() -> None:
    async with echo(greeting=b"x" * 1_000_000) as port:
        reading = await look(port, expect="y")
    assert (reading.outcome, reading.why) == (CheckOutcome.FAILED, "answer does not match")


async def test_nobody_listening_is_failed() -> None:
    async with echo() as port:
        pass
    assert (await look(port)).why == "connection refused"


async def test_tls_is_checked() -> None:
    async with Loopback(tls=True) as server:
        assert (await look(server.port, tls=True)).why == "certificate: self-signed certificate"
        config = {"host": "127.0.0.1", "port": server.port, "tls": True}
        reading = await take("tcp", config, context(trust=loopback_trust()))
    assert isinstance(reading, Check)
    assert reading.outcome is CheckOutcome.OK


async def test_a_resolver_that_does_not_answer_in_time_is_a_miss() -> None:
    release = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        release.wait(10)
        return []

    probe = build("tcp", {"host": "shop.example", "port": 80}, context(seconds=0.1))
    assert isinstance(probe, TcpProbe)
    probe._resolver = Resolver(getaddrinfo)
    reading = await probe.take()
    release.set()
    assert reading == Missed(reason=MissReason.DNS_FAILED, detail="the resolver did not answer")
