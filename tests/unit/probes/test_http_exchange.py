"""One look over HTTP: connections, redirects, deadlines, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollbackd.clock import SystemClock
from rollbackd.core.facts import MissReason
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed
from rollbackd.probes.http_body import _unpacker
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange
from rollbackd.probes.resolver import Resolver
from tests.support import until
from tests.unit.probes.loopback import (
    Behaviour,
    Loopback,
    Request,
    answer,
    drip,
    hang,
    loopback_trust,
    public_trust,
)


def exchange(*, reuse: bool = False, resolver: Resolver | None = None) -> HttpExchange:
    return HttpExchange(
        ssl_context=loopback_trust(),
        clock=SystemClock(),
        user_agent="t",
        reuse=reuse,
        resolver=resolver,
    )


async def ask(url: str, **changes: Any) -> Answer | Failed | Missed:
    return await exchange().look(Ask(**({"url": url, "seconds": 2.0} | changes)))


def good(seen: Answer | Failed | Missed) -> Answer:
    assert isinstance(seen, Answer), seen
    return seen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_speaks_ipv4_and_ipv6(host: str) -> None:
    async with Loopback(answer(b"hello"), host=host) as server:
        seen = good(await ask(server.url))
    assert seen.body == b"hello"
    assert server.requests[0].headers["host"] == server.url.removeprefix("http://")


def resolves_to(*addresses: str) -> Resolver:
    def getaddrinfo(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    return Resolver(getaddrinfo)


async def test_the_host_header_and_the_certificate_are_checked_by_name() -> None:
    resolver = resolves_to("127.0.0.1")
    async with Loopback(answer(), tls=True) as server:
        looked = exchange(resolver=resolver)
        good(await looked.look(Ask(url=f"https://localhost:{server.port}/", seconds=2)))
    resolver.close()
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


async def test_a_dead_first_address_is_not_papered_over_by_the_second() -> None:
    async with Loopback(answer(), host="127.0.0.1") as server:
        resolver = resolves_to("::1", "127.0.0.1")  # nobody listens on ::1
        seen = await exchange(resolver=resolver).look(
            Ask(url=f"http://shop.example:{server.port}/", seconds=2)
        )
        resolver.close()
    assert seen == Failed(why="connection refused")


async def test_an_address_we_have_no_route_to_is_passed_over() -> None:
    async with Loopback(answer(), host="127.0.0.1") as server:
        resolver = resolves_to("fe80::1", "127.0.0.1")  # link-local without a scope: EINVAL here
        seen = await exchange(resolver=resolver).look(
            Ask(url=f"http://shop.example:{server.port}/", seconds=2)
        )
        resolver.close()
    good(seen)


async def test_every_look_has_a_fresh_connection() -> None:
    async with Loopback(answer()) as server:
        looked = exchange()
        for _ in range(3):
            good(await looked.look(Ask(url=server.url, seconds=2)))
        assert server.connections == 3


async def test_a_kept_connection_is_used_again_and_closed_at_the_end() -> None:
    async with Loopback(answer()) as server:
        looked = exchange(reuse=True)
        for _ in range(3):
            good(await looked.look(Ask(url=server.url, seconds=2)))
        assert server.connections == 1
        await looked.close()
        await until(lambda: not server._open)


async def test_a_kept_connection_that_died_is_replaced_and_not_held_against_the_server() -> None:
    async def hangs_up_later(request: Request, writer: asyncio.StreamWriter) -> None:
        del request
        writer.write(answer())
        await writer.drain()
        writer.transport.abort()

    async with Loopback(hangs_up_later) as server:
        looked = exchange(reuse=True)
        for _ in range(5):
            good(await looked.look(Ask(url=server.url, seconds=2)))
        await looked.close()


async def test_a_late_answer_on_a_kept_connection_is_not_taken_for_the_next_ones() -> None:
    over = asyncio.Event()

    async def says_more(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(request.path.encode()))
        if request.path == "/1":
            await over.wait()
            writer.write(answer(b"too slow", status=408))

    async with Loopback(says_more) as server:
        looked = exchange(reuse=True)
        good(await looked.look(Ask(url=f"{server.url}/1", seconds=2)))
        (kept,) = looked._idle.values()
        over.set()
        await until(lambda: bool(kept.has_expired()))
        seen = good(await looked.look(Ask(url=f"{server.url}/2", seconds=2)))
        await looked.close()
    assert (seen.status, seen.body) == (200, b"/2")


@pytest.mark.parametrize("behaviour", [hang, drip])
async def test_the_deadline_is_kept_whatever_the_server_does(behaviour: Behaviour) -> None:
    async with Loopback(behaviour) as server:
        began = asyncio.get_running_loop().time()
        assert isinstance(await ask(server.url, seconds=0.2), Failed)
        assert asyncio.get_running_loop().time() - began < 1.0


async def test_endless_interim_answers_end_at_the_deadline() -> None:
    async def interim(request: Request, writer: asyncio.StreamWriter) -> None:
        del request
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
            await writer.drain()
            await asyncio.sleep(0)

    async with Loopback(interim) as server:
        assert await ask(server.url, seconds=0.2) == Failed(why="time-out (processing)")


# Bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"hello")), ("deflate", zlib.compress(b"hello")), ("br", b"hello")],
    ids=["gzip", "deflate", "br"],  # the bytes carry the second they were packed in
)
async def test_a_packed_body_is_unpacked(encoding: str, packed: bytes) -> None:
    async with Loopback(answer(packed, Content_Encoding=encoding)) as server:
        assert good(await ask(server.url)).body == b"hello"


async def test_an_empty_answer_to_head_is_whole_though_it_names_an_encoding() -> None:
    async with Loopback(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n") as server:
        assert good(await ask(server.url, method="HEAD")).status == 200


def test_a_bomb_is_never_unpacked_beyond_the_room_there_is() -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert len(_unpacker("gzip").feed(bomb, 1000)) == 1000


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with Loopback(answer(b"x" * 100)) as server:
        assert len(good(await ask(server.url, size_limit=100)).body) == 100
        assert await ask(server.url, size_limit=99) == Failed(why="body over the limit")


async def test_a_header_we_may_not_send_is_our_mistake() -> None:
    async with Loopback(answer()) as server:
        seen = await ask(server.url, headers={"X": "a\r\nHost: evil"})
    assert isinstance(seen, Missed)
    assert seen.reason == MissReason.PROBE_ERROR


@pytest.mark.parametrize(
    "url", ["http://", "ftp://x/", "http://[::1", "http://x:99999/", "//x", ""]
)
async def test_what_is_not_a_url_fails_without_raising(url: str) -> None:
    assert await ask(url) == Failed(why="not a URL")


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=400), cut=st.integers(0, 400))
def test_random_bytes_never_raise(raw: bytes, cut: int) -> None:
    packed = gzip.compress(raw)[:cut]

    async def one(reply: bytes) -> None:
        async with Loopback(reply) as server:
            await ask(server.url, seconds=1.0, size_limit=200)

    async def both() -> None:
        await one(raw)
        await one(b"HTTP/1.1 200 OK\r\n" + raw)
        await one(answer(packed, Content_Encoding="gzip"))

    asyncio.run(both())


async def test_nothing_stays_open_after_looks_that_went_wrong() -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    async with Loopback(hang) as server, Loopback(answer(), tls=True) as tls:
        distrusting = HttpExchange(ssl_context=public_trust(), clock=SystemClock(), user_agent="t")
        before = open_files()
        for _ in range(5):
            await ask(server.url, seconds=0.05)
            await ask(server.url.replace("http", "https"), seconds=0.05)
            await distrusting.look(Ask(url=tls.url, seconds=2))
            await ask("http://127.0.0.1:9/")
        await until(lambda: not server._open and not tls._open)
        await until(lambda: open_files() <= before)
