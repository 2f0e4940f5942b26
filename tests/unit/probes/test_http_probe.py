"""What the http probe asks for, and how it judges the answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, Value
from rollbackd.core.ports import Reading
from rollbackd.plugins import probes
from rollbackd.probes.http import HttpConfig, HttpProbe
from tests.unit.probes.loopback import (
    Loopback,
    answer,
    build,
    context,
    take,
)


async def look(server: Loopback, **config: Any) -> Reading:
    return await take("http", {"path": "/health", **config}, context(url=server.url))


def outcome(reading: Reading) -> CheckOutcome:
    assert isinstance(reading, Check), reading
    return reading.outcome


@pytest.mark.parametrize(
    ("config", "reply", "good"),
    [
        ({}, answer(status=204), True),
        ({"expect": {"status": 204}}, answer(status=200), False),
        ({"expect": {"status": ["2xx", 302]}, "redirects": "none"}, answer(status=302), True),
        ({"expect": {"body": "all systems"}}, answer(b"yes, all systems go"), True),
        ({"expect": {"json": {"path": "$.up", "equals": True}}}, answer(b'{"up":true}'), True),
        ({"expect": {"json": {"path": "$.up", "equals": True}}}, answer(b'{"up":1}'), False),
        ({"expect": {"json": {"path": "$.n[1]", "equals": 2}}}, answer(b'{"n":[1,2.0]}'), True),
        ({"expect": {"json": {"path": "$.n", "equals": None}}}, answer(b'{"n":null}'), True),
        ({"expect": {"json": {"path": "$.n", "present": True}}}, answer(b'{"m":null}'), False),
        ({"expect": {"json": {"path": "$.n", "present": False}}}, answer(b'{"m":null}'), True),
        ({"expect": {"headers": {"X-Commit": "^abc"}}}, answer(X_Commit="abcdef"), True),
        ({"expect": {"headers": {"X-Commit": "^abc"}}}, answer(), False),
        ({"method": "HEAD"}, b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", True),
    ],
)  # fmt: skip
async def test_an_answer_is_judged_by_what_is_expected(
    config: dict[str, Any], reply: bytes, good: bool
) -> None:
    async with Loopback(reply) as server:
        found = outcome(await look(server, **config))
    assert found is (CheckOutcome.OK if good else CheckOutcome.FAILED)


async def test_the_request_says_who_asks_and_carries_the_headers() -> None:
    async with Loopback(answer()) as server:
        await look(server, method="POST", body="ping", headers={"X-Key": "k"})
    request = server.requests[0]
    assert request.line == "POST /health HTTP/1.1"
    assert request.headers["user-agent"] == "rollbackd-test"
    assert request.headers["x-key"] == "k"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.body == b"ping"


async def test_a_number_is_read_from_the_json_body() -> None:
    async with Loopback(answer(b'{"errors": 17, "name": "shop"}')) as server:
        assert await look(server, value="$.errors") == Value(value=17.0)


def test_the_measure_is_a_value_only_where_one_is_read() -> None:
    assert HttpProbe.measure(HttpConfig()) is MeasureKind.CHECK
    assert HttpProbe.measure(HttpConfig(value="$.x")) is MeasureKind.VALUE


@pytest.mark.parametrize(
    "config",
    [
        {"path": "health"},
        {"path": "/a", "url": "http://x/"},
        {"value": "errors"},
        {"value": "$..errors"},
        {"value": "$.a[*]"},
        {"value": "$.a[?(@.b)]"},
        {"expect": {"body": "("}},
        {"expect": {"status": 999}},
        {"expect": {"status": []}},
        {"expect": {"json": {"path": "$.a"}}},
        {"expect": {"json": {"path": "$.a", "equals": 1, "present": True}}},
        {"size_limit": 10},
        {"ip": 5},
        {"redirects": True},
        {"timout": "3s"},
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpConfig.model_validate(config)


def test_a_path_needs_a_target_with_a_url() -> None:
    with pytest.raises(ConfigError, match="has no url") as caught:
        build("http", {"path": "/health"}, context(url=None))
    assert caught.value.hint


def test_every_field_says_what_it_is() -> None:
    for plugin in probes().values():
        schema = plugin.Config.model_json_schema()
        for model in (schema, *schema.get("$defs", {}).values()):
            for name, field in model.get("properties", {}).items():
                assert field.get("description"), f"{plugin.kind}.{name}"
