"""Clients that take their time get no more of it than a bound: a listener has room for the rest."""

import asyncio

import httpx
import pytest

from rollbackd.web import asking
from rollbackd.web.auth import Tokens
from rollbackd.web.patience import Patient
from rollbackd.web.private import private_app
from rollbackd.web.server import Listener
from tests.support import until
from tests.support_desk import FakeDesk

ROOM = 64  # the listener's bound


async def test_a_crowd_that_says_nothing_does_not_keep_the_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Patient, "head_seconds", 0.2)
    listener = Listener(_app(), "127.0.0.1:0")
    await listener.start()
    host, _, port = listener.address.rpartition(":")
    crowd = [await asyncio.open_connection(host, int(port)) for _ in range(ROOM)]
    try:
        for _, writer in crowd:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")

        async def served() -> bool:
            async with httpx.AsyncClient(base_url=f"http://{listener.address}") as client:
                return (await client.get("/api/v1/version")).status_code == 200

        await until(served)
    finally:
        for _, writer in crowd:
            writer.close()
        await listener.stop()


async def test_a_client_that_asks_and_is_answered_is_not_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Patient, "head_seconds", 0.02)
    desk = FakeDesk()
    slow = asyncio.Event()
    answer = desk.rollbacks

    async def after_a_while(target: str | None, limit: int) -> dict[str, object]:
        await slow.wait()
        return dict(await answer(target, limit))

    monkeypatch.setattr(desk, "rollbacks", after_a_while)
    listener = Listener(_app(desk), "127.0.0.1:0")
    await listener.start()
    try:
        asyncio.get_running_loop().call_later(0.3, slow.set)
        async with httpx.AsyncClient(base_url=f"http://{listener.address}") as client:
            status = (await client.get("/api/v1/rollbacks")).status_code
    finally:
        await listener.stop()

    assert status == 200


async def test_a_body_that_drips_is_refused_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BODY_SECONDS", 0.1)
    listener = Listener(_app(), "127.0.0.1:0")
    await listener.start()
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = "POST /api/v1/targets/shop/pause HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{{".encode()
        )
        status = await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
        await listener.stop()

    assert b" 408 " in status


def _app(desk: FakeDesk | None = None) -> object:
    return private_app(desk or FakeDesk(), tokens=Tokens(), count=lambda *_: None)
