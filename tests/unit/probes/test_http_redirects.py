"""Redirects: followed when wanted, never for ever, and never with somebody else's headers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rollbackd.clock import SystemClock
from rollbackd.core.ports import Missed
from rollbackd.probes.blame import Failed
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange
from rollbackd.probes.resolver import Resolver
from tests.unit.probes.loopback import (
    Loopback,
    Request,
    answer,
    loopback_trust,
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


async def route(request: Request, writer: asyncio.StreamWriter) -> None:
    if request.path == "/post":
        writer.write(answer(status=303, Location="/done"))
    elif request.path.startswith("/deep"):
        writer.write(answer(status=302, Location=request.path + "/x"))
    elif request.path == "/a":
        writer.write(answer(status=307, Location="/b?x=1#part"))
    elif request.path == "/scheme":
        writer.write(answer(status=302, Location="file:///etc/passwd"))
    elif request.path == "/broken":
        writer.write(answer(status=302, Location="http://[::1/"))
    elif request.path == "/spaces":
        writer.write(answer(status=302, Location="/with space/\u00e9"))
    else:
        writer.write(answer(request.line.encode()))


async def test_a_redirect_is_followed_when_wanted() -> None:
    async with Loopback(route) as server:
        assert good(await ask(f"{server.url}/a")).status == 307
        seen = good(await ask(f"{server.url}/a", follow=True))
    assert seen.body == b"GET /b?x=1 HTTP/1.1"


async def test_a_post_turns_into_a_get_where_http_says_so() -> None:
    async with Loopback(route) as server:
        seen = good(await ask(f"{server.url}/post", follow=True, method="POST", body=b"x"))
    assert seen.body == b"GET /done HTTP/1.1"


async def test_a_redirect_with_odd_characters_is_still_a_request() -> None:
    async with Loopback(route) as server:
        seen = good(await ask(f"{server.url}/spaces", follow=True))
    assert seen.body.startswith(b"GET /with%20space/")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/deep", "redirect loop"),
        ("/scheme", "redirect to something that is not a URL"),
        ("/broken", "redirect to something that is not a URL"),
    ],
)
async def test_a_redirect_to_nowhere_fails(path: str, why: str) -> None:
    async with Loopback(route) as server:
        assert await ask(server.url + path, follow=True) == Failed(why=why)


async def test_headers_stay_home_when_a_redirect_leaves_the_origin() -> None:
    async with Loopback(answer(), host="::1") as other:

        async def away(request: Request, writer: asyncio.StreamWriter) -> None:
            del request
            writer.write(answer(status=302, Location=f"{other.url}/there"))

        async with Loopback(away) as server:
            headers = {"Authorization": "Bearer secret", "X-Key": "k"}
            good(await ask(server.url, follow=True, headers=headers))
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in other.requests[0].headers
    assert "x-key" not in other.requests[0].headers


async def test_cookies_are_not_kept() -> None:
    async with Loopback(answer(Set_Cookie="a=b")) as server:
        looked = exchange(reuse=True)
        for _ in range(2):
            await looked.look(Ask(url=server.url, seconds=2))
        await looked.close()
    assert "cookie" not in server.requests[1].headers


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with Loopback(answer()) as server:
        good(await ask(server.url))
