"""What an answer of the Management API means, and that the token stays out of every error."""

import asyncio
import json
import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from rollbackd.core.errors import (
    NotFound,
    RateLimited,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
)
from rollbackd.supabase.client import ServiceHealth, Status, SupabaseClient
from tests.support_supabase import PROJECT, TOKEN, SupabaseFake
from tests.unit.probes.loopback import Behaviour, Loopback, answer, drip, hang, reset


def client(url: str, token: str = TOKEN) -> SupabaseClient:
    return SupabaseClient(
        url,
        SecretStr(token),
        user_agent="rollbackd-test",
        ssl_context=ssl.create_default_context(),
    )


async def health(
    behaviour: bytes | Behaviour, *, token: str = TOKEN, seconds: float = 5, url: str = ""
) -> Any:
    async with Loopback(behaviour) as server:
        asked = client(url or server.url, token)
        try:
            return await asked.health(PROJECT, ("db", "auth"), within_seconds=seconds)
        finally:
            await asked.close()


async def refused(behaviour: bytes | Behaviour, **more: Any) -> RollbackdError:
    with pytest.raises(RollbackdError) as caught:
        await health(behaviour, **more)
    assert TOKEN not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    return caught.value


async def test_the_services_are_told_as_they_are() -> None:
    fake = SupabaseFake()
    fake.statuses = {"auth": "COMING_UP"}

    assert await health(fake) == (
        ServiceHealth(name="db", status=Status.ACTIVE_HEALTHY),
        ServiceHealth(name="auth", status=Status.COMING_UP),
    )


async def test_the_question_is_asked_as_documented() -> None:
    async with Loopback(SupabaseFake()) as server:
        asked = client(server.url)
        await asked.health(PROJECT, ("db", "auth"), within_seconds=5)
        await asked.close()

    (request,) = server.requests
    url = urlsplit(request.path)
    assert url.path == f"/v1/projects/{PROJECT}/health"
    # The API's own look has to end before we hang up, or a slow service would be our time-out.
    assert parse_qs(url.query) == {"services": ["db", "auth"], "timeout_ms": ["3500"]}
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected), (401, Unauthorized), (403, Unauthorized), (404, NotFound),
        (429, RateLimited), (500, TemporaryError), (503, TemporaryError), (302, Rejected),
    ],
)  # fmt: skip
async def test_a_refusal_is_one_of_our_errors(status: int, error: type[RollbackdError]) -> None:
    found = await refused(answer(b'{"message": "sbp_fc_planted_secret"}', status=status))

    assert type(found) is error
    assert found.message == f"the Management API: status {status}"


@pytest.mark.parametrize(("reset_at", "seconds"), [("42", 42), ("soon", 60), ("-1", 60)])
async def test_the_limit_says_for_how_long(reset_at: str, seconds: float) -> None:
    found = await refused(answer(status=429, X_RateLimit_Reset=reset_at))

    assert isinstance(found, RateLimited)
    assert found.retry_after_seconds == seconds


@pytest.mark.parametrize("behaviour", [hang, drip])
async def test_no_answer_in_time_is_unreachable(behaviour: Behaviour) -> None:
    async with asyncio.timeout(5):
        found = await refused(behaviour, seconds=0.2)

    assert type(found) is Unreachable
    assert found.message == "the Management API did not answer in time"


@pytest.mark.parametrize("behaviour", [reset, b"", b"gibberish"])
async def test_a_broken_connection_is_unreachable(behaviour: bytes | Behaviour) -> None:
    assert type(await refused(behaviour)) is Unreachable


async def test_a_token_that_no_header_can_carry_is_not_shown() -> None:
    assert type(await refused(answer(), token=f"{TOKEN}\n")) is Unreachable


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"{}",
        b"[5]",
        b'[{"name": "db"}]',
        b'[{"name": "db", "status": "SLEEPY"}]',
        json.dumps(["x" * 300_000]).encode(),
    ],
    ids=lambda body: body[:20].decode(),
)
async def test_an_answer_that_cannot_be_read_is_temporary(body: bytes) -> None:
    assert type(await refused(answer(body))) is TemporaryError
