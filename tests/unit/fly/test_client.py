"""Headers, tokens, turns, permits and counts of the client."""

import httpx
import pytest
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.core.errors import RollbackdError, Stopped
from rollbackd.fly.auth import Token
from rollbackd.fly.ratelimit import ACTION, LOOK, Buckets
from tests.unit.fly.answers import TOKEN, Fly, says

OK = httpx.Response(200, json={"releases": [], "data": {"app": {"id": "shop"}}})


@pytest.mark.parametrize(
    ("raw", "machines", "graphql", "releases"),
    [
        ("fm2_a", "FlyV1 fm2_a", "FlyV1 fm2_a", "Bearer fm2_a"),
        ("FlyV1 fm2_a,fm1a_b", "FlyV1 fm2_a,fm1a_b", "FlyV1 fm2_a,fm1a_b", "Bearer fm2_a,fm1a_b"),
        ("bearer plain", "Bearer plain", "Bearer plain", "Bearer plain"),
        ("fm2_a, plain", "FlyV1 fm2_a", "FlyV1 fm2_a,plain", "Bearer fm2_a,plain"),
    ],
)
def test_each_api_gets_the_token_in_its_own_scheme(
    raw: str, machines: str, graphql: str, releases: str
) -> None:
    token = Token(SecretStr(raw))

    assert (token.for_machines, token.for_graphql, token.for_releases) == (
        machines,
        graphql,
        releases,
    )


async def test_reading_goes_by_the_read_token_and_changing_by_the_acting_one() -> None:
    fly = Fly([OK])
    client = fly.client(token="acting", read_token="reading")

    await client.get_machine("shop", "1")
    await client.releases("shop")
    await client.release_history("shop")
    await client.cordon("shop", "1")
    await client.patch_release("rel", "running", None)
    await client.close()

    used = [request.headers["authorization"] for request in fly.sent]
    assert used == ["Bearer reading"] * 3 + ["Bearer acting"] * 2
    assert [str(request.url) for request in fly.sent][:3] == [
        "https://machines.test/v1/apps/shop/machines/1?include_leases=true",
        "https://api.test/api/v1/apps/shop/releases?limit=25",
        "https://api.test/graphql",
    ]


async def test_a_token_is_never_shown() -> None:
    fly = Fly([says(401, f"bad token {TOKEN}"), httpx.ConnectError(f"no way for {TOKEN}")])
    client = fly.client()
    shown = [repr(client.token), repr(vars(client)), repr(vars(client.wire))]
    for _ in range(2):
        with pytest.raises(RollbackdError) as raised:
            await client.cordon("shop", "1")
        shown += [str(raised.value), repr(raised.value), raised.value.hint]
    await client.close()

    assert not [text for text in shown if "planted-secret" in text]


async def test_every_mutation_asks_for_permission_and_a_stop_sends_nothing() -> None:
    fly = Fly([OK])
    client = fly.client()

    def no(what: str) -> None:
        raise Stopped(what)

    client.wire.permit = no
    mutations = [
        client.update_machine("shop", "1", {}, "n"),
        client.acquire_lease("shop", "1", ttl_seconds=30, description="rollbackd x"),
        client.release_lease("shop", "1", "n"),
        client.cordon("shop", "1"),
        client.uncordon("shop", "1"),
        client.start("shop", "1"),
        client.set_metadata("shop", "1", "k", "v"),
        client.drop_metadata("shop", "1", "k"),
        client.create_release({"app_name": "shop"}),
        client.patch_release("rel", "running", None),
    ]
    for mutation in mutations:
        with pytest.raises(Stopped):
            await mutation
    await client.close()

    assert fly.sent == []


async def test_calls_are_counted_by_template_so_that_labels_stay_few() -> None:
    fly = Fly([OK, httpx.ReadTimeout("slow"), says(500)])
    client = fly.client()

    await client.get_machine("shop", "148e1")
    for _ in range(2):
        with pytest.raises(RollbackdError):
            await client.cordon("shop", "148e1")
    await client.close()

    machine = "/v1/apps/{app}/machines/{machine}"
    assert fly.calls == [
        ("machines", machine, "GET", "200"),
        ("machines", machine + "/cordon", "POST", "ReadTimeout"),
        ("machines", machine + "/cordon", "POST", "500"),
    ]


async def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    fly = Fly([OK])
    client = fly.client()

    await client.get_machine("shop", "../../evil?x=1")
    await client.close()

    assert fly.sent[0].url.raw_path.startswith(b"/v1/apps/shop/machines/..%2F..%2Fevil%3Fx%3D1?")


async def test_turns_keep_below_flys_limits_per_action_and_object() -> None:
    clock = FakeClock()
    buckets = Buckets(clock)

    waits = [await buckets.take("cordon", "1") for _ in range(5)]
    other = await buckets.take("cordon", "2")
    looks = [await buckets.take("get", "1", LOOK) for _ in range(11)]

    # A little below 1/s and 5/s: calls leave evenly and may arrive bunched.
    assert waits == pytest.approx([0, 0, 0, 1 / 0.95, 1 / 0.95])
    assert other == 0
    assert looks[:10] == [0] * 10
    assert looks[10] == pytest.approx(1 / 4.75)
    assert (ACTION.per_second, ACTION.burst) == (0.95, 3)
