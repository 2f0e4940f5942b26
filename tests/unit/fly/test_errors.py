"""Every error Fly is known to answer, as ours: one row each."""

import httpx
import pytest

from rollbackd.core.errors import (
    Ambiguous,
    LeaseHeld,
    NotFound,
    RateLimited,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
    VersionConflict,
)
from rollbackd.fly.errors import Refusal, error_of
from tests.unit.fly.answers import Fly, says

HELD = (
    "machine ID 2879325b42d318 lease currently held by 9af60c27@tokens.fly.io,"
    " expires at 2026-05-14T10:41:08Z"
)
SENT = httpx.Request("POST", "https://machines.test/")

MUTATION = [
    (says(400, "invalid_argument: config.image is required"), Rejected),
    (says(401, "Authenticate: token validation error"), Unauthorized),
    (says(403, "Authorize: no"), Unauthorized),
    (says(404, "machine not found"), NotFound),
    (says(408, "deadline_exceeded: flyd"), Ambiguous),
    (says(409, HELD), LeaseHeld),
    (says(409, "lease nonce does not match"), LeaseHeld),
    (says(409, "current_version mismatch"), VersionConflict),
    (says(409, "already_exists: name taken by machine ID 1"), Rejected),
    (says(412, "failed_precondition: machine getting replaced, refusing to start"), TemporaryError),
    (says(422, "could not reserve resource for machine"), Rejected),
    (says(422, "no room", status="insufficient_capacity"), TemporaryError),
    (says(503, "no room", status="insufficient_capacity"), TemporaryError),
    (says(429, "rate limit exceeded"), RateLimited),
    (says(500, "boom"), Ambiguous),
    (says(502, "bad gateway"), Ambiguous),
    (says(503, "unavailable"), Ambiguous),
    (says(504, "gateway timeout"), Ambiguous),
    (httpx.Response(500, text="upstream connect error"), Ambiguous),
    (httpx.Response(502, html="<html><h1>502</h1></html>"), Ambiguous),
    (httpx.Response(301, headers={"location": "https://elsewhere.test"}), Rejected),
    (httpx.Response(200, text='{"id": "148e1", "stat'), Ambiguous),
    (httpx.Response(200, html="<html></html>"), Ambiguous),
    (httpx.ConnectError("refused", request=SENT), Unreachable),
    (httpx.ConnectTimeout("slow", request=SENT), Unreachable),
    (httpx.PoolTimeout("full", request=SENT), Unreachable),
    (httpx.ReadTimeout("slow", request=SENT), Ambiguous),
    (httpx.WriteError("reset", request=SENT), Ambiguous),
    (httpx.ReadError("reset", request=SENT), Ambiguous),
    (httpx.RemoteProtocolError("cut off", request=SENT), Ambiguous),
]


@pytest.mark.parametrize(("answer", "kind"), MUTATION)
async def test_a_mutation_that_fails_is_classed_and_never_sent_again_blindly(
    answer: httpx.Response | Exception, kind: type[RollbackdError]
) -> None:
    fly = Fly([answer])
    client = fly.client()

    with pytest.raises(RollbackdError) as raised:
        await client.update_machine("shop", "148e1", {}, "nonce")
    await client.close()

    assert type(raised.value) is kind
    limited = kind is RateLimited  # not carried out, by Fly's own word: sent again a few times
    assert len(fly.sent) == (5 if limited else 1)
    assert len(fly.permits) == len(fly.sent)


READ = [
    (says(401, "Authenticate: token validation error"), Unauthorized, 1),
    (says(404, "app not found"), NotFound, 1),
    (says(408, "deadline_exceeded"), TemporaryError, 3),
    (says(429, "rate limit exceeded"), RateLimited, 5),
    (says(500, "boom"), TemporaryError, 3),
    (httpx.Response(200, html="<html></html>"), TemporaryError, 3),
    (httpx.ConnectError("refused", request=SENT), Unreachable, 3),
    (httpx.ReadTimeout("slow", request=SENT), TemporaryError, 3),
]


@pytest.mark.parametrize(("answer", "kind", "tries"), READ)
async def test_a_read_that_may_pass_is_tried_again_within_a_bound(
    answer: httpx.Response | Exception, kind: type[RollbackdError], tries: int
) -> None:
    fly = Fly([answer])
    client = fly.client()

    with pytest.raises(RollbackdError) as raised:
        await client.get_machine("shop", "148e1")
    await client.close()

    assert type(raised.value) is kind
    assert len(fly.sent) == tries
    assert fly.permits == []


async def test_a_read_that_succeeds_at_last_is_an_answer() -> None:
    fly = Fly([says(503, "later"), httpx.Response(200, json={"id": "148e1"})])
    client = fly.client()

    found = await client.get_machine("shop", "148e1")
    await client.close()

    assert found == {"id": "148e1"}


async def test_a_lease_that_is_held_says_by_whom_and_until_when() -> None:
    client = Fly([says(409, HELD)]).client()

    with pytest.raises(LeaseHeld) as held:
        await client.acquire_lease("shop", "148e1", ttl_seconds=30, description="rollbackd x")
    await client.close()

    assert held.value.owner == "9af60c27@tokens.fly.io"
    assert held.value.expires_at == 1778755268.0


async def test_the_wish_to_wait_is_kept_and_the_request_id_is_told() -> None:
    answer = httpx.Response(
        429, json={"error": "slow"}, headers={"retry-after": "7", "fly-request-id": "01REQ"}
    )
    fly = Fly([answer])
    client = fly.client()
    begun = fly.clock.monotonic()

    with pytest.raises(RateLimited) as limited:
        await client.list_machines("shop")
    await client.close()

    assert limited.value.retry_after_seconds == 7
    assert fly.clock.monotonic() - begun >= 4 * 7
    assert "01REQ" in limited.value.message


async def test_a_wait_that_runs_out_is_temporary_and_not_repeated() -> None:
    text = "deadline_exceeded: machine failed to reach desired state, started, currently created"
    fly = Fly([says(408, text)])
    client = fly.client()

    with pytest.raises(TemporaryError):
        await client.wait("shop", "148e1", state="settled", version="01K", timeout_seconds=300)
    await client.close()

    assert len(fly.sent) == 1
    assert dict(fly.sent[0].url.params) == {"state": "settled", "version": "01K", "timeout": "60"}
    assert fly.sent[0].extensions["timeout"]["read"] == 75


GRAPHQL = [
    ({"message": 'Could not find App "shop"', "extensions": {"code": "NOT_FOUND"}}, NotFound),
    ({"message": "no", "extensions": {"code": "UNAUTHORIZED"}}, Unauthorized),
    ({"message": "You are not authorized to do that"}, Unauthorized),
    ({"message": "rate limit exceeded"}, RateLimited),
    ({"message": "something else"}, Rejected),
]


@pytest.mark.parametrize(("error", "kind"), GRAPHQL)
async def test_graphql_errors_hide_behind_http_200(
    error: dict[str, object], kind: type[RollbackdError]
) -> None:
    client = Fly([httpx.Response(200, json={"data": None, "errors": [error]})]).client()

    with pytest.raises(RollbackdError) as raised:
        await client.release_history("shop")
    await client.close()

    assert type(raised.value) is kind


async def test_an_image_that_was_pruned_is_none_however_fly_says_it() -> None:
    gone = {"errors": [{"message": 'Could not find image "registry.fly.io/shop:1"'}]}
    null = {"data": {"app": {"id": "shop", "image": None}}}
    fly = Fly([httpx.Response(200, json=gone), httpx.Response(200, json=null)])
    client = fly.client()

    found = [await client.image("shop", "registry.fly.io/shop:1") for _ in range(2)]
    await client.close()

    assert found == [None, None]


async def test_an_answer_without_end_is_cut_off() -> None:
    client = Fly([httpx.Response(200, content=b" " * (17 * 1024 * 1024))]).client()

    with pytest.raises(TemporaryError, match="over"):
        await client.list_machines("shop")
    await client.close()


@pytest.mark.parametrize("body", [{"machines": []}, "text", None])
async def test_a_list_that_is_no_list_is_never_taken_for_no_machines(body: object) -> None:
    client = Fly([httpx.Response(200, json=body)]).client()

    with pytest.raises(TemporaryError):
        await client.list_machines("shop")
    await client.close()


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html>\n<html>no</html>", b" <HTML><h1>502</h1></HTML>"]
)
def test_a_page_of_a_proxy_is_named_and_not_quoted(page: bytes) -> None:
    refusal = Refusal(what="GET /x", status=502, body=page, request_id="r1", mutates=False)

    message = error_of(refusal).message

    assert message == "GET /x: 502 an HTML page: something before the API answered (request r1)"
