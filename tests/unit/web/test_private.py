import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from rollbackd.core import errors
from rollbackd.telemetry import shapes
from rollbackd.web import page
from rollbackd.web.auth import Tokens
from rollbackd.web.private import private_app
from rollbackd.web.surface import Desk
from tests import support_views as views
from tests.support_desk import FakeDesk

RO, RW = "read-only-token-1", "read-write-token-2"
TOKENS = Tokens(ro=RO, rw=RW)
BEARER_RO = {"Authorization": f"Bearer {RO}"}
BEARER_RW = {"Authorization": f"Bearer {RW}"}
LOOKS = [
    "/",
    "/api/v1/version",
    "/api/v1/status",
    "/api/v1/targets/shop",
    "/api/v1/targets/shop/releases",
    "/api/v1/targets/shop/explain",
    "/api/v1/targets/shop/gate?sha=3f2a91c0",
    "/api/v1/rollbacks",
]
ORDERS = {
    "/api/v1/targets/shop/rollback": {"reason": "checkout fails"},
    "/api/v1/targets/shop/pause": {"seconds": 60, "reason": "migration"},
    "/api/v1/targets/shop/resume": {"reason": "it is done"},
    "/api/v1/targets/shop/unlock": {"reason": "the database is back"},
    "/api/v1/targets/shop/set": {"mode": "observe", "reason": "sale"},
    "/api/v1/proposals/shop-v42-to-v41/approve": {"hash": "abcd"},
    "/api/v1/proposals/shop/reject": {"reason": "a test"},
    "/api/v1/rollbacks/r1/abort": {"reason": "it holds"},
    "/api/v1/rollbacks/r1/undo": {"reason": "it was the database"},
    "/api/v1/targets/shop/announce": {"sha": "3f2a91c0"},
    "/api/v1/targets/shop/bless": {"version": 41, "reason": "I looked"},
    "/api/v1/targets/shop/quarantine": {"version": 41, "reason": "leaks"},
    "/api/v1/targets/shop/unquarantine": {"version": 41, "reason": "fixed"},
    "/-/reload": {},
}


@asynccontextmanager
async def served(
    desk: Desk | None = None,
    *,
    tokens: Tokens = TOKENS,
    trusted: bool = False,
    host: str = "rollbackd.internal",
    counted: Callable[[str, str, str], None] = lambda *_: None,
) -> AsyncIterator[httpx.AsyncClient]:
    app = private_app(desk or FakeDesk(), tokens=tokens, count=counted, trusted=trusted)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        yield client


def basic(user: str, token: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"}


@pytest.mark.parametrize("path", LOOKS)
async def test_every_look_needs_a_token_and_either_will_do(path: str) -> None:
    async with served() as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=BEARER_RO)).status_code == 200
        assert (await client.get(path, headers=BEARER_RW)).status_code == 200
        assert (await client.get(path, headers=basic("ann", RO))).status_code == 200


@pytest.mark.parametrize("path", ORDERS)
async def test_every_order_needs_the_token_that_may_write(path: str) -> None:
    desk = FakeDesk()
    async with served(desk) as client:
        assert (await client.post(path, json=ORDERS[path])).status_code == 401
        assert (await client.post(path, json=ORDERS[path], headers=BEARER_RO)).status_code == 403
        assert desk.orders == []
        answer = await client.post(path, json=ORDERS[path], headers=BEARER_RW)
        assert answer.status_code in {200, 202}
        assert len(desk.orders) == 1


@pytest.mark.parametrize("path", ORDERS)
async def test_a_get_never_orders_anything(path: str) -> None:
    desk = FakeDesk()
    async with served(desk) as client:
        answer = await client.get(path, headers=BEARER_RW)

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.orders == []


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic",
        "Basic !!!",
        "Basic \xe9",
        "Basic /w==",
        f"Token {RO}",
        RO,
        "Basic " + base64.b64encode(b"ann").decode(),
    ],
)
async def test_nothing_but_the_token_opens(header: str) -> None:
    async with served() as client:
        sent = {"Authorization": header.encode("latin-1")}
        answer = await client.get("/api/v1/status", headers=sent)

    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]


async def test_a_token_that_is_not_set_is_never_right() -> None:
    async with served(tokens=Tokens(ro=RO)) as client:
        for header in ("Bearer ", basic("ann", "")["Authorization"]):
            sent = {"Authorization": header}
            assert (await client.get("/api/v1/status", headers=sent)).status_code == 401
        order = await client.post("/-/reload", headers=BEARER_RO)
        assert order.status_code == 403


async def test_the_record_names_who_ordered() -> None:
    desk = FakeDesk()
    path = "/api/v1/targets/shop/resume"
    async with served(desk) as client:
        for headers in (
            basic("ann", RW),
            BEARER_RW | {"X-Rollbackd-By": "bob"},
            BEARER_RW,
            basic("ann\x1b[2J" + "x" * 200, RW),
        ):
            await client.post(path, headers=headers, json=ORDERS[path])

    names = [str(order["by"]) for order in desk.orders]
    assert names[:3] == ["ann", "bob", "token writer"]
    assert names[3].startswith("ann[2Jxxx")
    assert len(names[3]) == 64


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://rollbackd.internal.evil.example"},
        {"Origin": "null"},
    ],
)
async def test_an_order_from_another_site_is_refused(headers: dict[str, str]) -> None:
    desk = FakeDesk()
    async with served(desk) as client:
        answer = await client.post("/-/reload", headers=basic("ann", RW) | headers)

    assert answer.status_code == 403
    assert desk.orders == []


async def test_an_order_from_our_own_page_is_taken() -> None:
    same = {"Origin": "http://rollbackd.internal", "Sec-Fetch-Site": "same-origin"}
    async with served() as client:
        answer = await client.post("/-/reload", headers=basic("ann", RW) | same)

    assert answer.status_code == 200


async def test_the_unix_socket_asks_for_no_token() -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True, host="localhost") as client:
        path = "/api/v1/targets/shop/resume"
        await client.post(path, headers={"X-Rollbackd-By": "root"}, json=ORDERS[path])
        await client.post(path, json=ORDERS[path])

    assert [order["by"] for order in desk.orders] == ["root", "local"]


async def test_without_tokens_only_loopback_names_are_served() -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        async with served(tokens=Tokens(), host=host) as client:
            assert (await client.get("/api/v1/status")).status_code == 200
    for host in ("evil.example", "10.0.0.7:8080", "localhost.evil.example"):
        async with served(tokens=Tokens(), host=host) as client:
            assert (await client.get("/api/v1/status")).status_code == 421


async def test_an_order_arrives_whole() -> None:
    desk = FakeDesk()
    asked = {"to": 40, "plan": "app", "reason": " slow ", "class": "security", "dry_run": False}
    async with served(desk) as client:
        answer = await client.post(
            "/api/v1/targets/shop/rollback", json=asked, headers=basic("ann", RW)
        )

    assert answer.status_code == 202
    assert answer.headers["location"] == "/api/v1/rollbacks/r9"
    assert desk.orders == [{**asked, "reason": "slow", "target": "shop", "by": "ann"}]


async def test_a_dry_run_begins_nothing() -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True) as client:
        answer = await client.post(
            "/api/v1/targets/shop/rollback", json={"reason": "x", "dry_run": True}
        )

    assert answer.status_code == 200
    assert "rollback" not in answer.json()
    assert desk.orders[0]["dry_run"] is True


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("rollback", {}),
        ("rollback", {"reason": ""}),
        ("rollback", {"reason": "  "}),
        ("rollback", {"reason": 7}),
        ("rollback", {"reason": "x" * 1001}),
        ("rollback", {"reason": "x", "to": 0}),
        ("rollback", {"reason": "x", "to": True}),
        ("rollback", {"reason": "x", "to": "41"}),
        ("rollback", {"reason": "x", "to": 41.5}),
        ("rollback", {"reason": "x", "dry_run": "no"}),
        ("rollback", {"reason": "x", "dryrun": True}),
        ("rollback", {"reason": "x", "tables": "orders"}),
        ("rollback", {"reason": "x", "tables": [7]}),
        ("rollback", {"reason": "x", "missing": "yes"}),
        ("pause", {"reason": "x"}),
        ("pause", {"reason": "x", "seconds": 0}),
        ("pause", {"reason": "x", "seconds": -1}),
        ("pause", {"reason": "x", "seconds": True}),
        ("pause", {"reason": "x", "seconds": "60"}),
        ("pause", {"reason": "x", "seconds": 10**400}),
        ("pause", {"seconds": 60}),
        ("resume", {"seconds": 60}),
        ("resume", {}),
    ],
)
async def test_an_order_that_is_not_exact_is_refused(path: str, body: object) -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True) as client:
        answer = await client.post(f"/api/v1/targets/shop/{path}", json=body)

    assert answer.status_code == 400, answer.text
    assert desk.orders == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"[]", b'"x"', b"null", b'{"seconds": NaN, "reason": "x"}',
        b'{"seconds": Infinity, "reason": "x"}', b"[" * 60_000, b"\xff",
        b'{"seconds": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(raw: bytes) -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True) as client:
        answer = await client.post(
            "/api/v1/targets/shop/pause", content=raw, headers={"Content-Type": "application/json"}
        )

    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert desk.orders == []


async def test_a_form_is_not_json() -> None:
    async with served(trusted=True) as client:
        answer = await client.post("/api/v1/targets/shop/pause", data={"seconds": "60"})

    assert answer.status_code == 415


async def test_a_body_over_the_limit_is_cut_off_whatever_its_length_claims() -> None:
    read = 0

    async def drip() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 1024

    async with served(trusted=True) as client:
        answer = await client.post(
            "/-/reload", content=drip(), headers={"Content-Type": "application/json"}
        )

    assert answer.status_code == 413


@pytest.mark.parametrize("path", [*LOOKS, "/api/v1/rollbacks/r1"])
async def test_an_unknown_query_parameter_is_an_error(path: str) -> None:
    async with served(trusted=True) as client:
        answer = await client.get(path, params={"tagret": "shop"})

    assert answer.status_code == 400
    assert "tagret" in answer.json()["detail"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "9" * 5000, "1e2", "٣"])
async def test_a_limit_out_of_bounds_is_an_error(limit: str) -> None:
    async with served(trusted=True) as client:
        answer = await client.get("/api/v1/rollbacks", params={"limit": limit})

    assert answer.status_code == 400


async def test_rollbacks_are_asked_by_target_and_limit() -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True) as client:
        answer = await client.get("/api/v1/rollbacks", params={"target": "shop", "limit": "1"})
        twice = await client.get("/api/v1/rollbacks?limit=1&limit=2")

    assert desk.orders == [{"look": "rollbacks", "target": "shop", "limit": 1}]
    assert [row["id"] for row in answer.json()["rollbacks"]] == ["r2"]
    assert twice.status_code == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("x"), 404),
        (errors.NotFound("x"), 404),
        (errors.ConfigError("x"), 422),
        (errors.Rejected("x"), 409),
        (errors.PlanRefused("x"), 409),
        (errors.VersionConflict("x"), 409),
        (errors.Superseded("x"), 409),
        (errors.Stopped("x"), 409),
        (errors.Unauthorized("x"), 502),
        (errors.TemporaryError("x"), 503),
        (errors.RateLimited("x"), 503),
        (errors.Unreachable("x"), 503),
        (errors.LeaseHeld("x"), 503),
        (errors.RollbackdError("x"), 500),
        (RuntimeError("a bug"), 500),
    ],
)
async def test_each_error_has_its_status(error: Exception, status: int) -> None:
    async with served(FakeDesk(refusal=error), trusted=True) as client:
        answer = await client.get("/api/v1/targets/shop")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert "Traceback" not in answer.text
    assert "a bug" not in answer.text


async def test_a_refusal_carries_its_hint_and_when_to_come_back() -> None:
    error = errors.RateLimited("slow down", hint="wait", retry_after_seconds=2.4)
    async with served(FakeDesk(refusal=error), trusted=True) as client:
        answer = await client.get("/api/v1/status")

    assert answer.json()["detail"] == "slow down"
    assert answer.json()["hint"] == "wait"
    assert answer.headers["retry-after"] == "2"


async def test_an_error_text_does_not_leak_a_token() -> None:
    error = errors.Rejected("Fly said no to FlyV1 fm2_opensesame")
    async with served(FakeDesk(refusal=error), trusted=True) as client:
        answer = await client.get("/api/v1/status")

    assert "opensesame" not in answer.text


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/status/", "/api/v1/targets/"])
async def test_there_is_no_redirect_and_a_stranger_learns_nothing(path: str) -> None:
    async with served(trusted=True) as client:
        answer = await client.get(path)

    assert answer.status_code == 404
    assert answer.json()["title"] == "Not found"


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/nowhere", "/api/v1/targets/bug"])
async def test_every_answer_is_framed(path: str) -> None:
    refusal = RuntimeError("a bug") if path.endswith("bug") else None
    async with served(FakeDesk(refusal=refusal), trusted=True) as client:
        headers = (await client.get(path)).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_requests_are_counted_by_template_never_by_path() -> None:
    counted: list[tuple[str, str, str]] = []
    async with served(counted=lambda *seen: counted.append(seen)) as client:
        await client.get("/api/v1/targets/shop", headers=BEARER_RO)
        await client.get("/api/v1/targets/unknown", headers=BEARER_RO)
        await client.get("/secret/path")
        await client.request("BREW", "/api/v1/status")

    assert counted == [
        ("/api/v1/targets/{target}", "GET", "200"),
        ("/api/v1/targets/{target}", "GET", "404"),
        ("other", "GET", "404"),
        ("other", "other", "405"),
    ]


async def test_a_failed_reload_says_why() -> None:
    async with served(FakeDesk(config_error="line 3: unknown key"), trusted=True) as client:
        answer = await client.post("/-/reload")

    assert answer.status_code == 422
    assert answer.json()["error"] == "line 3: unknown key"


async def test_the_page_escapes_every_word_from_outside() -> None:
    desk = FakeDesk(why="<script>alert(1)</script>", names=('x"><img src=x>',))
    async with served(desk, trusted=True) as client:
        answer = await client.get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;" in answer.text


async def test_the_page_shows_releases_evidence_and_what_would_have_been_done() -> None:
    async with served(trusted=True) as client:
        text = (await client.get("/")).text

    assert "<strong>shop v42 is well: 2.1 %" in text
    assert "<td>v41</td><td>goal</td>" in text
    assert '<td class="bad">quarantined</td><td>was rolled back from</td>' in text
    assert "<code>3f2a91c03f</code>" in text
    assert "rollbackd would have acted once in 14 releases" in text
    assert "shop v39 is bad: errors 12 %" in text


async def test_the_page_says_what_is_still_learned_and_what_came_back() -> None:
    view = shapes.target(
        views.target(
            learning=("release-regression is learning: 34 of 60 min of history",),
            relapse="has the commit <b> of v42, which was rolled back from",
            trial="",
            releases=(),
        )
    )
    text = page.render({"targets": [view, {"name": "odd", "releases": [3], "would_have": 4}]})

    assert "release-regression is learning: 34 of 60 min of history" in text
    assert "The current release has the commit &lt;b&gt; of v42" in text
    assert "would have" not in text


def test_the_page_says_what_people_set() -> None:
    view = shapes.target(
        views.target(
            paused="paused for 34 min more by ann: a <sale>",
            locked_out=True,
            locked_why="shop-v42-1 failed",
            mode_set="approve, set by ann: launch",
            verdicts=(views.verdict(value=23048.2),),
        )
    )

    text = page.render({"targets": [view], "stopped": True})

    assert "<p>paused for 34 min more by ann: a &lt;sale&gt;</p>" in text
    assert "<p>locked out: shop-v42-1 failed; look at it, then unlock</p>" in text
    assert "<p>mode approve, set by ann: launch</p>" in text
    assert "A STOP file is in the state directory" in text
    assert "<td>23,048</td>" in text
    assert " · hold: ok</p>" in text
    assert "STOP" not in page.render({"targets": [view], "stopped": False})


@pytest.mark.parametrize("word", ["bless", "quarantine", "unquarantine"])
async def test_what_is_said_of_a_release_names_it_and_why(word: str) -> None:
    desk = FakeDesk()
    path = f"/api/v1/targets/shop/{word}"
    async with served(desk) as client:
        for body in ({"reason": "x"}, {"version": 41}, {"version": "41", "reason": "x"}):
            assert (await client.post(path, json=body, headers=BEARER_RW)).status_code == 400
        assert desk.orders == []
        said = {"version": 41, "reason": "looked"}
        answer = await client.post(path, json=said, headers={**BEARER_RW, "X-Rollbackd-By": "ann"})

    assert answer.json()["standing"] == "good"
    assert desk.orders == [{word: "shop", "version": 41, "reason": "looked", "by": "ann"}]


async def test_a_deploy_is_announced_and_the_gate_asked_with_any_token() -> None:
    desk = FakeDesk(refused=("3f2a91c0",))
    async with served(desk) as client:
        told = await client.post(
            "/api/v1/targets/shop/announce", json={"sha": "3f2a91c0"}, headers=BEARER_RW
        )
        gate = await client.get("/api/v1/targets/shop/gate?sha=3f2a91c0", headers=BEARER_RO)

    assert desk.orders == [
        {"announce": "shop", "sha": "3f2a91c0", "actor": "", "url": "", "by": "token writer"}
    ]
    assert told.json()["ok"] is False
    assert (gate.status_code, gate.json()["why"]) == (
        200,
        "v42 was rolled back to v41 by errors",
    )


async def test_the_page_shows_a_refused_configuration() -> None:
    async with served(FakeDesk(config_error="line 3"), trusted=True) as client:
        assert "line 3" in (await client.get("/")).text


def test_tokens_never_show() -> None:
    assert RW not in repr(TOKENS)
    assert json.dumps(repr(TOKENS)) == '"Tokens()"'


async def test_half_a_character_is_refused_since_no_page_could_show_it() -> None:
    desk = FakeDesk()
    async with served(desk, trusted=True) as client:
        answer = await client.post(
            "/api/v1/targets/shop/pause",
            content=b'{"seconds": 60, "reason": "\\ud800"}',
            headers={"Content-Type": "application/json"},
        )

    assert answer.status_code == 400
    assert desk.orders == []
