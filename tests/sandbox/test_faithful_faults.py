"""fly.md §8.1 row 8: every injected fault, before and after the call took effect."""

import json

import httpx
import pytest

from rollbackd.sandbox.faults import Faults
from rollbackd.sandbox.server import Sandbox

METADATA = "/metadata/mark"


def mark(box: Sandbox) -> str:
    return f"/v1/apps/shop/machines/{box.machines[0].id}{METADATA}"


async def test_row_8_a_fault_before_the_call_leaves_no_effect(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.faults.add("status", method="POST", path="metadata", status=503, when="before")

    answer = await api.post(mark(box), json={"value": "x"})

    assert answer.status_code == 503
    assert "mark" not in box.machines[0].metadata


@pytest.mark.parametrize("status", [408, 500, 502])
async def test_row_8_an_ambiguous_failure_took_effect_and_is_in_the_effects_log(
    api: httpx.AsyncClient, box: Sandbox, status: int
) -> None:
    box.faults.add("status", method="POST", path="metadata", status=status, when="after")

    answer = await api.post(mark(box), json={"value": "x"})

    assert answer.status_code == status
    assert box.machines[0].metadata["mark"] == "x"
    assert box.effects[-1].action == "metadata.set"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_row_8_a_reset_cuts_the_connection(
    api: httpx.AsyncClient, box: Sandbox, when: str
) -> None:
    box.faults.add("reset", path="metadata", when=when)

    with pytest.raises(httpx.ReadError):
        await api.post(mark(box), json={"value": "x"})

    assert ("mark" in box.machines[0].metadata) is (when == "after")


async def test_row_8_a_hanging_call_never_answers_and_does_not_hold_up_the_end(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.faults.add("hang", path="/v1/apps/shop$")

    with pytest.raises(httpx.ReadTimeout):
        await api.get("/v1/apps/shop", timeout=0.2)


async def test_row_8_a_slow_call_answers_in_the_end(api: httpx.AsyncClient, box: Sandbox) -> None:
    box.faults.add("slow", path="/v1/apps/shop$", seconds=0.3)

    answer = await api.get("/v1/apps/shop")

    assert answer.json()["name"] == "shop"
    assert answer.elapsed.total_seconds() >= 0.3


async def test_row_8_a_dripping_answer_outlasts_patience(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.faults.add("drip", path="/v1/apps/shop$")

    async with api.stream("GET", "/v1/apps/shop") as answer:
        first = await anext(aiter(answer.aiter_raw()))

    assert first == b"{"


async def test_row_8_truncated_json_does_not_parse(api: httpx.AsyncClient, box: Sandbox) -> None:
    box.faults.add("truncated", path="/v1/apps/shop$")

    answer = await api.get("/v1/apps/shop")

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize(("kind", "content"), [("text", "text/plain"), ("html", "text/html")])
async def test_row_8_plain_text_and_html_instead_of_json(
    api: httpx.AsyncClient, box: Sandbox, kind: str, content: str
) -> None:
    box.faults.add(kind, path="/v1/apps/shop$", status=500)

    answer = await api.get("/v1/apps/shop")

    assert answer.headers["content-type"].startswith(content)


async def test_faults_are_set_over_http_and_strike_as_often_as_told(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"kind": "status", "path": "/v1/apps/shop$", "count": 2, "skip": 1, "status": 500}
    await api.post("/_sandbox/faults", json=words)

    codes = [(await api.get("/v1/apps/shop")).status_code for _ in range(4)]

    assert codes == [200, 500, 500, 200]
    assert (await api.get("/_sandbox/faults")).json()["faults"][0]["struck"] == 2


async def test_a_fault_that_makes_no_sense_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post("/_sandbox/faults", json={"kind": "meteor"})

    assert answer.status_code == 400


def test_the_control_surface_cannot_be_struck_by_mistake() -> None:
    faults = Faults()
    faults.add("status", path="shop", method="GET")

    assert faults.strike("POST", "/v1/apps/shop") is None
    assert faults.strike("GET", "/v1/apps/other") is None
    assert faults.strike("GET", "/v1/apps/shop") is not None
