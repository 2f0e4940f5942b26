"""The table of design section 2, row by row: whose fault is what."""

from __future__ import annotations

import asyncio
import errno
import gzip
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rollbackd.clock import SystemClock
from rollbackd.core.facts import Check, CheckOutcome, MissReason
from rollbackd.core.ports import Missed, Reading
from rollbackd.probes.blame import Failed, blame
from rollbackd.probes.http_exchange import Ask, HttpExchange
from rollbackd.probes.resolver import Resolver
from tests.unit.probes.loopback import (
    Loopback,
    answer,
    context,
    drip,
    hang,
    loopback_trust,
    reset,
    take,
)


async def look(server: Loopback, path: str = "/health", **config: Any) -> Reading:
    seconds = config.pop("seconds", 2.0)
    trust = config.pop("trust", None)
    made_with = context(url=server.url, seconds=seconds, trust=trust)
    return await take("http", {"path": path, **config}, made_with)


def failed(reading: Reading, why: str) -> None:
    assert isinstance(reading, Check), reading
    assert (reading.outcome, reading.why) == (CheckOutcome.FAILED, why)


def missed(reading: Reading, reason: MissReason) -> None:
    assert isinstance(reading, Missed), reading
    assert reading.reason == reason


# Failed samples ---------------------------------------------------------------------------------


async def test_a_refused_connection_is_a_failed_sample() -> None:
    async with Loopback() as server:
        url = server.url
    failed(await take("http", {"path": "/"}, context(url=url)), "connection refused")


async def test_a_reset_is_a_failed_sample() -> None:
    async with Loopback(reset) as server:
        failed(await look(server), "connection reset")


async def test_a_hanging_server_is_a_failed_sample() -> None:
    async with Loopback(hang) as server:
        failed(await look(server, seconds=0.2), "time-out (processing)")


async def test_a_dripping_server_is_a_failed_sample_by_the_deadline() -> None:
    async with Loopback(drip) as server:
        failed(await look(server, seconds=0.3), "time-out (transfer)")


async def test_a_tls_server_that_says_nothing_is_a_failed_sample() -> None:
    async with Loopback(hang) as server:
        url = server.url.replace("http:", "https:")
        failed(await take("http", {"path": "/"}, context(url=url, seconds=0.2)), "time-out (tls)")


async def test_a_tls_error_is_a_failed_sample() -> None:
    async def not_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 this is not TLS\r\n\r\n")
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(not_tls, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        failed(await take("http", {"path": "/"}, context(url=url)), "tls handshake")


async def test_a_self_signed_certificate_is_a_failed_sample() -> None:
    async with Loopback(answer(), tls=True) as server:
        failed(await look(server), "certificate: self-signed certificate")


async def test_a_certificate_for_another_name_is_a_failed_sample() -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    resolver = Resolver(getaddrinfo)
    exchange = HttpExchange(
        ssl_context=loopback_trust(), clock=SystemClock(), user_agent="t", resolver=resolver
    )
    async with Loopback(answer(), tls=True) as server:
        seen = await exchange.look(Ask(url=f"https://shop.example:{server.port}/", seconds=2))
    resolver.close()
    assert isinstance(seen, Failed)
    assert seen.why.startswith("certificate: Hostname mismatch")


async def test_a_trusted_certificate_is_good() -> None:
    async with Loopback(answer(), tls=True) as server:
        reading = await look(server, trust=loopback_trust())
        assert isinstance(reading, Check)
        assert reading.outcome is CheckOutcome.OK
        assert [name for name, _ in reading.phases] == [
            "resolve", "connect", "tls", "processing", "transfer",
        ]  # fmt: skip


@pytest.mark.parametrize("status", [500, 502, 503, 302, 410, 204 + 300])
async def test_a_wrong_status_is_a_failed_sample(status: int) -> None:
    async with Loopback(answer(status=status)) as server:
        failed(await look(server), f"status {status}")


async def test_a_wrong_body_is_a_failed_sample() -> None:
    async with Loopback(answer(b"<html>Maintenance</html>")) as server:
        failed(await look(server, expect={"body": "^ok$"}), "body does not match")


async def test_html_where_json_is_expected_is_a_failed_sample() -> None:
    async with Loopback(answer(b"<html>ok</html>")) as server:
        expect = {"json": {"path": "$.status", "equals": "ok"}}
        failed(await look(server, expect=expect), "body is not JSON")


async def test_a_redirect_loop_is_a_failed_sample() -> None:
    async with Loopback(answer(status=302, Location="/health")) as server:
        failed(await look(server), "redirect loop")


async def test_a_body_over_the_limit_is_a_failed_sample() -> None:
    async with Loopback(answer(b"x" * 5000)) as server:
        failed(await look(server, size_limit="4KiB"), "body over the limit")


async def test_a_gzip_bomb_is_a_failed_sample() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with Loopback(answer(bomb, Content_Encoding="gzip")) as server:
        failed(await look(server), "body over the limit")


async def test_a_truncated_body_is_a_failed_sample() -> None:
    async with Loopback(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") as server:
        failed(await look(server), "truncated body")


async def test_a_truncated_packed_body_is_a_failed_sample() -> None:
    half = gzip.compress(bytes(range(256)) * 40)[:-20]
    async with Loopback(answer(half, Content_Encoding="gzip")) as server:
        failed(await look(server), "truncated body")


@pytest.mark.parametrize(
    "raw",
    [
        b"NOT HTTP AT ALL\r\n\r\n",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x00\xff\xfe" * 50 + b"\r\n\r\n",
    ],
)
async def test_malformed_http_is_a_failed_sample(raw: bytes) -> None:
    async with Loopback(raw) as server:
        failed(await look(server), "malformed HTTP")


async def test_hanging_up_without_an_answer_is_a_failed_sample() -> None:
    async with Loopback(b"") as server:
        failed(await look(server), "closed without an answer")


def resolver_that_says(code: int) -> Resolver:
    def getaddrinfo(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(code, "for the test")

    return Resolver(getaddrinfo)


@pytest.mark.parametrize("name", ["EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"])
async def test_a_name_that_does_not_exist_is_a_failed_sample(name: str) -> None:
    resolver = resolver_that_says(getattr(socket, name))
    assert await resolver.resolve("shop.invalid", 80) == Failed(why="name does not resolve")
    resolver.close()


# Misses of our own making ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EAI_AGAIN", "EAI_FAIL", "EAI_SYSTEM", "EAI_MEMORY"])
async def test_a_sick_resolver_is_a_miss(name: str) -> None:
    resolver = resolver_that_says(getattr(socket, name))
    missed_reading = await resolver.resolve("shop.example", 80)
    assert isinstance(missed_reading, Missed)
    assert missed_reading.reason == MissReason.DNS_FAILED
    resolver.close()


async def test_a_resolver_that_does_not_answer_in_time_is_a_miss() -> None:
    release = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        release.wait(10)
        return []

    resolver = Resolver(getaddrinfo)
    made_with = context()
    exchange = HttpExchange(
        ssl_context=made_with.ssl_context, clock=made_with.clock, user_agent="t", resolver=resolver
    )
    try:
        seen = await exchange.look(Ask(url="http://shop.example/", seconds=0.1))
    finally:
        release.set()
        resolver.close()
    assert seen == Missed(reason=MissReason.DNS_FAILED, detail="the resolver did not answer")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENETUNREACH, MissReason.NO_ROUTE),
        (errno.EHOSTUNREACH, MissReason.NO_ROUTE),
        (errno.ENETDOWN, MissReason.NO_ROUTE),
        (errno.EADDRNOTAVAIL, MissReason.NO_ROUTE),
        (errno.EMFILE, MissReason.OUT_OF_FILES),
        (errno.ENFILE, MissReason.OUT_OF_FILES),
        (errno.ENOBUFS, MissReason.OVERLOADED),
        (errno.EINVAL, MissReason.PROBE_ERROR),
    ],
)
def test_what_our_own_kernel_refuses_is_a_miss(code: int, reason: MissReason) -> None:
    assert blame(OSError(code, "for the test")) == Missed(
        reason=reason, detail=errno.errorcode[code]
    )


@contextmanager
def no_more_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = socket.socket()
    lowest_free = spare.fileno()
    spare.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("http", {"path": "/"}),
        ("tcp", {"host": "127.0.0.1", "port": 9}),
        ("scrape", {"url": "http://127.0.0.1:9/", "value": "up"}),
        ("prometheus", {"value": "up"}),
        ("command", {"argv": ["true"]}),
    ],
)
async def test_no_file_descriptor_left_is_a_miss(kind: str, config: dict[str, Any]) -> None:
    made_with = context(url="http://127.0.0.1:9", prometheus="http://127.0.0.1:9")
    with no_more_files():
        reading = await take(kind, config, made_with)
    missed(reading, MissReason.OUT_OF_FILES)


async def test_a_full_queue_of_our_own_is_a_miss() -> None:
    resolver = Resolver(waiting=0)
    reading = await resolver.resolve("shop.example", 80)
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.OVERLOADED
    resolver.close()
