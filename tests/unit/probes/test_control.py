"""Whether our own connectivity works: what counts, and for whom."""

from __future__ import annotations

import asyncio

import pytest

from rollbackd.clock import SystemClock
from rollbackd.probes.control import HttpControl
from tests.support import until
from tests.unit.probes.loopback import Loopback, Request, answer, drip, hang, public_trust


def control(*urls: str, seconds: float = 1.0) -> HttpControl:
    return HttpControl(
        urls,
        ssl_context=public_trust(),
        clock=SystemClock(),
        user_agent="t",
        timeout_seconds=seconds,
    )


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500, 503])
async def test_any_http_answer_passes(status: int) -> None:
    async with Loopback(answer(status=status, Location="/again")) as server:
        looked = control(server.url)
        assert await looked.look() is True
        await looked.close()


async def test_headers_are_answer_enough() -> None:
    async with Loopback(drip) as server:
        looked = control(server.url)
        assert await looked.look() is True
        await looked.close()


async def test_silence_everywhere_is_our_own_trouble() -> None:
    async with Loopback(hang) as server, Loopback(b"gibberish\r\n\r\n") as odd:
        looked = control("http://127.0.0.1:9/", server.url, odd.url, seconds=0.2)
        began = asyncio.get_running_loop().time()
        assert await looked.look() is False
        assert asyncio.get_running_loop().time() - began < 1.0
        await looked.close()


async def test_one_answer_is_enough_and_the_slow_ones_are_not_waited_for() -> None:
    async with Loopback(hang) as slow, Loopback(answer()) as quick:
        looked = control("http://127.0.0.1:9/", slow.url, quick.url, seconds=30)
        async with asyncio.timeout(5):
            assert await looked.look() is True
        await looked.close()


async def test_nothing_to_ask_is_no_proof_that_we_are_connected() -> None:
    looked = control()
    assert await looked.look() is False
    await looked.close()


class Gated:
    """Answers when told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await self.gate.wait()
        writer.write(answer())


async def test_a_look_already_under_way_does_not_vouch_for_a_later_caller() -> None:
    gated = Gated()
    async with Loopback(gated) as server:
        looked = control(server.url, seconds=5)
        early = asyncio.create_task(looked.look())
        await until(lambda: gated.asked == 1)
        late = [asyncio.create_task(looked.look()) for _ in range(20)]
        await asyncio.sleep(0)
        gated.gate.set()
        assert await asyncio.gather(early, *late) == [True] * 21
        assert gated.asked == 2  # the twenty shared one of their own
        await looked.close()


async def test_a_caller_that_gives_up_does_not_spoil_the_look_for_others() -> None:
    gated = Gated()
    async with Loopback(gated) as server:
        looked = control(server.url, seconds=5)
        impatient = asyncio.create_task(looked.look())
        patient = asyncio.create_task(looked.look())
        await until(lambda: gated.asked == 1)
        impatient.cancel()
        gated.gate.set()
        assert await patient is True
        await looked.close()


async def test_closing_ends_looks_under_way() -> None:
    async with Loopback(hang) as server:
        looked = control(server.url, seconds=30)
        waiting = asyncio.create_task(looked.look())
        await until(lambda: server.connections == 1)
        await looked.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
