"""fly.md §1.5 and §3.5: which token covers what, and which scheme which backend takes."""

from collections.abc import AsyncIterator

import httpx
import pytest

from rollbackd.sandbox.objects import TokenKind
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import QUICK, client

APP = "/v1/apps/shop"
CURRENT = "/api/v1/apps/shop/releases/current"
GRAPHQL = {"query": '{app(name:"shop"){id}}'}


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Sandbox]:
    """One for the whole file: these tests only look, or add what no other one sees."""
    async with Sandbox(machines=1, **QUICK) as one:
        await one.ready()
        yield one


async def get(box: Sandbox, path: str, token: str, scheme: str) -> int:
    async with client(box, token, scheme) as api:
        return (await api.get(path)).status_code


async def test_an_unknown_token_is_401_in_flys_words(box: Sandbox) -> None:
    async with client(box, "nobody") as api:
        answer = await api.get(APP)

    assert answer.status_code == 401
    assert answer.json() == {"error": "Authenticate: token validation error"}


async def test_no_token_is_401(box: Sandbox) -> None:
    async with httpx.AsyncClient(base_url=box.urls.machines_url) as api:
        assert (await api.get(APP)).status_code == 401


async def test_an_expired_token_is_401(box: Sandbox) -> None:
    token = box.world.add_token("short", TokenKind.DEPLOY, app="shop")
    token.expires_at = box.world.now() + 60
    assert await get(box, APP, "short", "Bearer") == 200

    box.advance(61)

    assert await get(box, APP, "short", "Bearer") == 401


async def test_a_deploy_token_does_not_cover_another_app(box: Sandbox) -> None:
    await box.add_app("other", machines=0)

    assert await get(box, "/v1/apps/other", box.urls.token, "Bearer") == 403
    assert await get(box, "/v1/apps/other", box.urls.read_token, "Bearer") == 200


async def test_a_readonly_token_reads_everything_and_changes_nothing(box: Sandbox) -> None:
    machine = f"{APP}/machines/{box.machines[0].id}"
    before = len(box.effects)
    async with client(box, box.urls.read_token) as api:
        read = await api.get(machine)
        writes = [
            await api.post(f"{machine}/lease"),
            await api.post(machine, json={"config": read.json()["config"]}),
            await api.post(f"{machine}/cordon"),
            await api.post("/api/v1/releases", json={"app_name": "shop", "image": "x"}),
            await api.patch(f"/api/v1/releases/{box.releases[0].id}", json={"status": "failed"}),
        ]

    assert read.status_code == 200
    assert [answer.status_code for answer in writes] == [403] * 5
    assert len(box.effects) == before


async def test_the_app_of_a_release_is_checked_and_not_only_the_address(box: Sandbox) -> None:
    await box.add_app("third", machines=0)
    async with client(box, box.urls.token) as api:
        words = {"app_name": "third", "image": "x", "strategy": "ROLLING"}
        answer = await api.post("/api/v1/releases", json=words)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("path", "scheme", "macaroon", "status"),
    [
        (APP, "Bearer", False, 200),
        (APP, "Bearer", True, 200),
        (APP, "FlyV1", True, 200),
        (APP, "FlyV1", False, 401),
        (CURRENT, "Bearer", False, 200),
        (CURRENT, "Bearer", True, 200),
        (CURRENT, "FlyV1", True, 401),
    ],
)
async def test_each_backend_takes_its_own_scheme(
    box: Sandbox, path: str, scheme: str, macaroon: bool, status: int
) -> None:
    token = f"fm2_{box.urls.token}" if macaroon else box.urls.token

    assert await get(box, path, token, scheme) == status


@pytest.mark.parametrize(
    ("scheme", "macaroon", "fits"),
    [
        ("Bearer", False, True),
        ("FlyV1", True, True),
        ("Bearer", True, False),
        ("FlyV1", False, False),
    ],
)
async def test_graphql_takes_flyv1_for_macaroons_only(
    box: Sandbox, scheme: str, macaroon: bool, fits: bool
) -> None:
    token = f"fm2_{box.urls.token}" if macaroon else box.urls.token
    async with client(box, token, scheme) as api:
        answer = await api.post("/graphql", json=GRAPHQL)

    assert answer.status_code == 200
    assert ("errors" not in answer.json()) is fits


async def test_a_list_of_macaroons_is_understood(box: Sandbox) -> None:
    tokens = f"fm2_discharge,fm2_{box.urls.token}"

    assert await get(box, APP, tokens, "FlyV1") == 200


async def test_a_token_tells_what_it_covers(box: Sandbox) -> None:
    async with client(box, box.urls.token) as api:
        covered = (await api.get("/v1/tokens/current")).json()["tokens"][0]
    async with client(box, box.urls.read_token) as api:
        everything = (await api.get("/v1/tokens/current")).json()["tokens"][0]

    assert covered["apps"] == ["shop"]
    assert covered["org_slug"] == box.urls.org
    assert everything["apps"] == []


async def test_a_deploy_token_may_not_read_logs(box: Sandbox) -> None:
    assert await get(box, "/api/v1/apps/shop/logs", box.urls.token, "Bearer") == 403


async def test_the_logs_of_one_machine_are_what_its_process_said(box: Sandbox) -> None:
    async with client(box, box.urls.read_token) as api:
        words = {"instance": box.machines[0].id}
        page = (await api.get("/api/v1/apps/shop/logs", params=words)).json()

    assert page["data"][-1]["attributes"]["message"] == "listening as good"
    assert page["meta"]["next_token"] == page["data"][-1]["id"]
