"""A dependency's health: what is failed, what is a miss, and that no secret gets out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from rollbackd.clock import FakeClock
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Check, CheckOutcome, MissReason
from rollbackd.core.ports import Missed, Reading
from rollbackd.plugins import ProbeContext, SupabaseAccess
from rollbackd.probes.supabase import SupabaseConfig, judge
from rollbackd.supabase.client import ServiceHealth, Status
from tests.support_supabase import PROJECT, TOKEN, SupabaseFake
from tests.unit.probes.loopback import Loopback, answer, build, context, hang, take

CONFIG = {"project": PROJECT}


def made_with(url: str, token: str | None = TOKEN, **more: Any) -> ProbeContext:
    access = SupabaseAccess(url=url, token=None if token is None else SecretStr(token))
    return dataclasses.replace(context(**more), supabase=access)


async def look(fake: Any, config: dict[str, Any] | None = None, **more: Any) -> Reading:
    async with Loopback(fake) as server:
        return await take("supabase", CONFIG | (config or {}), made_with(server.url, **more))


async def test_healthy_services_are_ok() -> None:
    assert await look(SupabaseFake()) == Check(outcome=CheckOutcome.OK)


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        ({"db": "UNHEALTHY"}, "db UNHEALTHY"),
        ({"auth": "COMING_UP"}, "auth COMING_UP"),
        ({"rest": "UNHEALTHY", "db": "COMING_UP"}, "db COMING_UP, rest UNHEALTHY"),
    ],
)
async def test_a_wanted_service_that_is_not_healthy_fails(
    statuses: dict[str, str], why: str
) -> None:
    fake = SupabaseFake()
    fake.statuses = statuses

    assert await look(fake) == Check(outcome=CheckOutcome.FAILED, why=why)


async def test_a_service_that_is_not_wanted_does_not_matter() -> None:
    fake = SupabaseFake()
    fake.statuses = {"storage": "UNHEALTHY"}

    assert await look(fake) == Check(outcome=CheckOutcome.OK)
    assert isinstance(await look(fake, {"services": ["storage"]}), Check)
    assert await look(fake, {"services": ["storage"]}) != Check(outcome=CheckOutcome.OK)


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"broken": 500}, MissReason.SOURCE_ERROR, "the Management API: status 500"),
        ({"permissions": ()}, MissReason.SOURCE_UNAUTHORIZED, "the Management API: status 403"),
        ({"requests_left": 0}, MissReason.SOURCE_ERROR, "asked to slow down"),
    ],
)
async def test_failing_to_ask_is_a_miss(
    change: dict[str, Any], reason: MissReason, detail: str
) -> None:
    fake = SupabaseFake()
    for name, value in change.items():
        setattr(fake, name, value)

    assert await look(fake) == Missed(reason=reason, detail=detail)


async def test_a_wrong_token_is_a_miss_that_does_not_show_it() -> None:
    reading = await look(SupabaseFake(), token="sbp_wrong")

    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.SOURCE_UNAUTHORIZED
    assert "sbp_" not in str(reading)


async def test_silence_is_a_miss() -> None:
    reading = await look(hang, seconds=0.2)

    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.SOURCE_UNREACHABLE


async def test_an_answer_that_leaves_a_service_out_is_a_miss() -> None:
    body = b'[{"name": "db", "healthy": true, "status": "ACTIVE_HEALTHY"}]'

    assert await look(answer(body)) == Missed(
        reason=MissReason.SOURCE_BAD_BODY, detail="nothing is said of rest, auth"
    )


def test_one_that_is_ill_outweighs_one_that_is_not_told_of() -> None:
    found = (ServiceHealth(name="db", status=Status.UNHEALTHY),)

    assert judge(("auth", "db"), found) == Check(outcome=CheckOutcome.FAILED, why="db UNHEALTHY")


async def test_after_too_many_requests_it_is_quiet_for_as_long_as_it_is_told() -> None:
    fake, clock = SupabaseFake(), FakeClock()
    fake.requests_left = 0
    async with Loopback(fake) as server:
        probe = build("supabase", CONFIG, made_with(server.url, clock=clock))
        await probe.take()
        fake.requests_left = 10
        clock.advance(41)
        early = await probe.take()
        clock.advance(1)
        late = await probe.take()
        await probe.close()

    assert early == Missed(reason=MissReason.SOURCE_ERROR, detail="asked to slow down")
    assert late == Check(outcome=CheckOutcome.OK)
    assert len(server.requests) == 2


async def test_a_token_of_its_own_comes_first() -> None:
    assert await look(SupabaseFake(), {"token": TOKEN}, token="sbp_wrong") == Check(
        outcome=CheckOutcome.OK
    )


def test_without_a_token_it_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="no Supabase token") as caught:
        build("supabase", CONFIG, context())

    assert "ROLLBACKD_SUPABASE_TOKEN" in caught.value.hint


def test_its_token_is_not_shown() -> None:
    made = SupabaseConfig.model_validate(CONFIG | {"token": TOKEN})

    assert TOKEN not in f"{made!r} {made} {made_with('http://x.test')!r}"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"project": "short"},
        {"project": PROJECT.upper()},
        CONFIG | {"services": []},
        CONFIG | {"services": ["database"]},
    ],
)
def test_what_is_no_project_or_service_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SupabaseConfig.model_validate(config)
