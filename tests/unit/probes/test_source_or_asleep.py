"""The table of design section 2, the rows of refusals, sources and sleeping apps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Rejected, Unauthorized, Unreachable
from rollbackd.core.facts import Check, CheckOutcome, MissReason
from rollbackd.core.ports import Missed, NobodyHome, Reading
from tests.unit.probes.loopback import (
    FakePlatform,
    Loopback,
    Request,
    answer,
    asleep_platform,
    context,
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


def prometheus_says(body: bytes, *, status: int = 200) -> Loopback:
    return Loopback(answer(body, status=status))


async def ask_prometheus(server: Loopback) -> Reading:
    made_with = context(prometheus=server.url, clock=FakeClock(31.0))  # 30 s later than POINT
    return await take("prometheus", {"value": "up"}, made_with)


VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[%s]}}'
POINT = b'{"metric":{"a":"%d"},"value":[1,"%s"]}'


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"", MissReason.SOURCE_UNAUTHORIZED),
        (403, b"", MissReason.SOURCE_UNAUTHORIZED),
        (500, b"oops", MissReason.SOURCE_ERROR),
        (200, b'{"status":"error","errorType":"bad_data"}', MissReason.SOURCE_ERROR),
        (422, b'{"status":"error","errorType":"execution"}', MissReason.SOURCE_ERROR),
        (200, VECTOR % b"", MissReason.EMPTY),
        (200, VECTOR % (POINT % (1, b"NaN")), MissReason.NOT_A_NUMBER),
        (200, VECTOR % (POINT % (1, b"+Inf")), MissReason.NOT_A_NUMBER),
        (
            200,
            VECTOR % b",".join([POINT % (1, b"1"), POINT % (2, b"1")]),
            MissReason.SEVERAL_SERIES,
        ),
        (200, b"<html>login</html>", MissReason.SOURCE_BAD_BODY),
        (200, b"[" * 100_000, MissReason.SOURCE_BAD_BODY),
    ],
)
async def test_a_prometheus_without_one_number_is_a_miss_with_its_reason(
    status: int, body: bytes, reason: MissReason
) -> None:
    async with prometheus_says(body, status=status) as server:
        missed(await ask_prometheus(server), reason)


async def test_an_unreachable_prometheus_is_a_miss() -> None:
    async with Loopback() as server:
        url = server.url
    reading = await take("prometheus", {"value": "up"}, context(prometheus=url))
    missed(reading, MissReason.SOURCE_UNREACHABLE)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unreachable("no"), MissReason.SOURCE_UNREACHABLE),
        (Unauthorized("no"), MissReason.SOURCE_UNAUTHORIZED),
        (Rejected("no"), MissReason.SOURCE_ERROR),
    ],
)
async def test_a_machines_api_that_does_not_answer_is_a_miss(
    error: Exception, reason: MissReason
) -> None:
    missed(await take("fly", {}, context(platform=FakePlatform(error=error))), reason)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(b"<html>"), MissReason.SOURCE_BAD_BODY),
        (answer(b"{}"), MissReason.EMPTY),
        (answer(b'{"errors": "many"}'), MissReason.NOT_A_NUMBER),
        (answer(b'{"errors": true}'), MissReason.NOT_A_NUMBER),
        (answer(b'{"errors": 1e999}'), MissReason.NOT_A_NUMBER),
        (answer(b'{"errors": 1}', status=401), MissReason.SOURCE_UNAUTHORIZED),
        (answer(b'{"errors": 1}', status=500), MissReason.SOURCE_ERROR),
    ],
)
async def test_an_http_value_that_cannot_be_read_is_a_miss(
    reply: bytes, reason: MissReason
) -> None:
    async with Loopback(reply) as server:
        missed(await look(server, value="$.errors"), reason)


# Asleep -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("http", {"path": "/health"}),
        ("http", {"path": "auto"}),
        ("tcp", {"host": "127.0.0.1"}),
        ("scrape", {"url": "/metrics", "value": "up"}),
        ("fly", {}),
    ],
)
async def test_a_sleeping_app_is_not_woken(kind: str, config: dict[str, Any]) -> None:
    async def woken(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())

    async with Loopback(woken) as server:
        if kind == "tcp":
            config = config | {"port": server.port}
        if kind == "scrape":
            config = config | {"url": server.url + "/metrics"}
        reading = await take(kind, config, context(url=server.url, platform=asleep_platform()))
        assert reading == NobodyHome()
        assert server.connections == 0


# Refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 405, 429])
async def test_an_answer_that_refuses_us_is_refused_and_not_failed(status: int) -> None:
    async with Loopback(answer(status=status)) as server:
        reading = await look(server)
    assert isinstance(reading, Check)
    assert (reading.outcome, reading.why) == (CheckOutcome.REFUSED, f"status {status}")


async def test_a_refusal_that_is_expected_is_good() -> None:
    async with Loopback(answer(status=401)) as server:
        reading = await look(server, expect={"status": 401})
    assert isinstance(reading, Check)
    assert reading.outcome is CheckOutcome.OK
