"""A lease is kept alive while it is needed, and given back."""

import asyncio

import httpx
import pytest

from rollbackd.core.errors import LeaseHeld, Rejected
from rollbackd.executors.app_lease import leased
from tests.support import until
from tests.unit.fly.answers import Fly, says

LEASE = httpx.Response(201, json={"status": "success", "data": {"nonce": "n1", "version": "01K"}})
NONE = httpx.Response(200, json={"id": "1"})


def server(fly: Fly, *, held: int = 0) -> None:
    """Leases as Fly keeps them: `held` refusals first."""
    left = [held]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return NONE
        if request.method == "POST" and left[0] > 0:
            left[0] -= 1
            text = "machine ID 1 lease currently held by a@b, expires at 2027-01-15T08:00:09Z"
            return says(409, text)
        return LEASE

    fly.replies[:] = [answer]


def asked(fly: Fly) -> list[tuple[str, str]]:
    return [
        (request.method, request.headers.get("fly-machine-lease-nonce", ""))
        for request in fly.sent
        if request.url.path.endswith("/lease")
    ]


async def test_the_lease_is_refreshed_with_its_nonce_and_given_back() -> None:
    fly = Fly([])
    server(fly)
    client = fly.client()

    async with leased(client, "shop", "1", words="rollbackd x", patience_seconds=0):
        await until(lambda: len(asked(fly)) >= 3)
    await client.close()

    calls = asked(fly)
    assert calls[0] == ("POST", "")
    assert calls[1] == calls[2] == ("POST", "n1")
    assert calls[-1] == ("DELETE", "n1")


async def test_the_lease_is_given_back_when_the_work_fails() -> None:
    fly = Fly([])
    server(fly)
    client = fly.client()

    with pytest.raises(Rejected):
        async with leased(client, "shop", "1", words="rollbackd x", patience_seconds=0):
            raise Rejected("no")
    await client.close()

    assert asked(fly)[-1] == ("DELETE", "n1")


async def test_a_held_lease_is_asked_for_until_patience_ends() -> None:
    fly = Fly([])
    server(fly, held=99)
    client = fly.client()
    begun = fly.clock.monotonic()

    with pytest.raises(LeaseHeld):
        async with leased(client, "shop", "1", words="rollbackd x", patience_seconds=10):
            pass
    await client.close()

    assert 10 <= fly.clock.monotonic() - begun < 14
    assert "DELETE" not in {method for method, _ in asked(fly)}


async def test_a_lease_that_is_free_again_is_taken() -> None:
    fly = Fly([])
    server(fly, held=2)
    client = fly.client()

    async with leased(client, "shop", "1", words="rollbackd x", patience_seconds=10) as lease:
        await asyncio.sleep(0)
    await client.close()

    assert lease.nonce == "n1"
    assert "n1" not in repr(lease)


async def test_a_lease_left_by_the_dead_is_given_back_and_taken_anew() -> None:
    """Who froze with the old nonce in hand would else be let in when it wakes."""
    fly = Fly([])
    left = {"id": "1", "lease": {"description": "rollbackd x", "nonce": "old"}}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            return LEASE
        if request.url.path.endswith("/lease"):
            return httpx.Response(200, json={"data": {"nonce": "old"}})
        return httpx.Response(200, json=left)

    fly.replies[:] = [answer]
    client = fly.client()

    async with leased(client, "shop", "1", words="rollbackd x", patience_seconds=0) as lease:
        assert lease.nonce == "n1"
    await client.close()

    mutations = [call for call in asked(fly) if call[0] != "GET"]
    assert mutations == [("DELETE", "old"), ("POST", ""), ("DELETE", "n1")]
