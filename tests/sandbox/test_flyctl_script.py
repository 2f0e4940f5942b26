"""A scripted flyctl against the sandbox, command by command, request by request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rollbackd.sandbox.server import Sandbox
from tests.sandbox.flyctl import Flyctl, is_time
from tests.support import until

GOOD, OTHER = "registry.fly.io/shop:good", "registry.fly.io/shop:good-b"


@pytest.fixture
async def fly(fleet: Sandbox) -> AsyncIterator[Flyctl]:
    one = Flyctl(fleet)
    async with one.http:
        yield one


@pytest.mark.parametrize("strategy", ["rolling", "immediate"])
async def test_deploy_image_sends_this_and_every_answer_is_one_it_can_read(
    fleet: Sandbox, fly: Flyctl, strategy: str
) -> None:
    release = await fly.deploy(OTHER, strategy=strategy)

    ids = [machine.id for machine in fleet.machines]
    assert fly.sent[:11] == [
        "G5",
        "GET /v1/apps/shop",
        f"GET /api/v1/organizations/{fly.org}",
        "POST /api/v1/builds",
        "G10",
        "POST /api/v1/builds/finish",
        "GET /v1/apps/shop/machines",
        "POST /api/v1/releases",
        "G11",
        f"PATCH /api/v1/releases/{release['id']}",
        f"POST /v1/apps/shop/machines/{ids[0]}/lease",
    ]
    assert fly.sent[-1] == f"PATCH /api/v1/releases/{release['id']}"
    assert release["version"] == 2
    newest = fleet.releases[-1]
    assert (newest.status, newest.image_ref, newest.strategy) == (
        "complete",
        OTHER,
        strategy.upper(),
    )
    assert [machine.config["image"] for machine in fleet.machines] == [OTHER] * 3
    assert [machine.id for machine in fleet.machines] == ids, "nothing was replaced"
    assert not any(machine.lease for machine in fleet.machines)
    updates = [e for e in fleet.effects if e.action == "machine.update"]
    assert len(updates) == 3


async def test_a_second_deploy_while_one_runs_cannot_take_a_lease(
    fleet: Sandbox, fly: Flyctl
) -> None:
    held = await fly.lease((await fly.machines())[0], ttl=13)

    taken = await fly.flaps("POST", f"/machines/{fleet.machines[0].id}/lease?ttl=13")

    assert taken.status_code == 409
    assert "lease currently held by" in taken.json()["error"]
    await fly.unlease({"id": fleet.machines[0].id}, held)


async def test_a_first_deploy_creates_a_machine_whose_lease_can_be_released(
    fleet: Sandbox, fly: Flyctl
) -> None:
    config = (await fly.machines())[0]["config"]
    body = {"config": config, "region": "ord", "skip_secrets": False, "lease_ttl": 300}

    made = (await fly.flaps("POST", "/machines", body=body)).json()
    seen = await fly.flaps("GET", f"/machines/{made['id']}")

    assert made["nonce"], "else the lease is never released"
    assert seen.status_code == 200, "read right after it was made"
    waited = await fly.flaps("GET", f"/machines/{made['id']}/wait?state=started&timeout=60")
    assert waited.status_code in {200, 404}, "404 is retried for a machine just made"
    freed = await fly.flaps("DELETE", f"/machines/{made['id']}/lease", nonce=made["nonce"])
    assert freed.is_success
    await until(lambda: len(fleet.machines) == 4)


async def test_addresses_and_volumes_are_objects_and_arrays_never_null(fly: Flyctl) -> None:
    addresses = (await fly.flaps("GET", "/ip_assignments")).json()
    volumes = (await fly.flaps("GET", "/volumes")).json()
    words: dict[str, Any] = {"type": "v6", "region": "", "org_slug": fly.org}
    words |= {"network": "", "service_name": ""}
    given = await fly.flaps("POST", "/ip_assignments", body=words)

    assert isinstance(addresses["ips"], list), "a null body panics"
    assert all(is_time(each["created_at"]) for each in addresses["ips"])
    assert volumes == []
    assert given.is_success
    assert given.json()["ip"]


async def test_status_reads_app_machines_and_images(fly: Flyctl) -> None:
    app = (await fly.graphql("G2", appName="shop"))["appcompact"]
    machines = await fly.machines()
    version = (await fly.graphql("G3", appName="shop"))["app"]["currentRelease"]["version"]

    assert isinstance(app["organization"]["internalNumericId"], str), "a BigInt is text"
    assert app["organization"]["slug"] == fly.org
    assert app["status"] == "deployed"
    assert version == 1
    for machine in machines:
        metadata = machine["config"]["metadata"]
        assert metadata["fly_platform_version"] == "v2", "else it is not shown"
        assert int(metadata["fly_release_version"]) == 1


async def test_releases_are_read_with_strict_times(fleet: Sandbox, fly: Flyctl) -> None:
    await fly.deploy(OTHER, strategy="immediate")

    nodes = (await fly.graphql("G4", appName="shop", limit=25))["app"]["releases"]["nodes"]

    assert sorted(node["version"] for node in nodes) == [1, 2]
    for node in nodes:
        assert isinstance(node["id"], str)
        assert isinstance(node["version"], int)
        assert isinstance(node["stable"], bool)
        assert is_time(node["createdAt"])
        assert node["createdAt"], "releases are listed by it"
        assert node["user"] is None or isinstance(node["user"]["email"], str)
    by_version = {node["version"]: node["imageRef"] for node in nodes}
    assert by_version == {1: fleet.releases[0].image_ref, 2: OTHER}


async def test_a_lease_is_viewed_and_cleared_by_somebody_else(fleet: Sandbox, fly: Flyctl) -> None:
    machine = (await fly.machines())[0]
    taken = await fly.lease(machine)
    path = f"/machines/{machine['id']}/lease"

    app = (await fly.graphql("G7", machineId=machine["id"]))["gqlmachine"]["app"]
    seen = (await fly.flaps("GET", path)).json()
    cleared = await fly.flaps("DELETE", path, nonce=seen["data"]["nonce"])
    gone = await fly.flaps("GET", path)

    assert app == {"name": "shop", "organization": app["organization"]}
    assert app["organization"]["slug"] == fly.org
    assert seen["data"]["nonce"] == taken
    assert seen["data"]["version"] == machine["instance_id"], "else it looks a second time"
    assert cleared.is_success
    assert (gone.status_code, gone.json()["error"]) == (404, "lease not found")
    assert fleet.machines[0].lease is None


async def test_config_show_gives_what_was_deployed(fleet: Sandbox, fly: Flyctl) -> None:
    await fly.deploy(OTHER, strategy="immediate")

    definition = await fly.definition()

    assert definition["app"] == "shop"
    assert definition == fleet.releases[-1].definition


async def test_stop_start_and_restart_of_a_machine_as_a_person_types_them(
    fleet: Sandbox, fly: Flyctl
) -> None:
    machine = (await fly.machines())[0]
    path = f"/machines/{machine['id']}"
    nonce = await fly.lease(machine)

    body = {"id": machine["id"], "timeout": "0s"}
    stopped = await fly.flaps("POST", f"{path}/stop", nonce=nonce, body=body)
    await until(lambda: fleet.machines[0].state == "stopped")
    down = await fly.machine(machine["id"])
    started = await fly.flaps("POST", f"{path}/start", nonce=nonce)
    await fly.flaps("GET", f"{path}/wait?state=started&timeout=60")
    again = await fly.flaps("POST", f"{path}/restart?force_stop=false&timeout=10s", nonce=nonce)
    waited = await fly.flaps("GET", f"{path}/wait?state=started&timeout=60")
    await fly.unlease(machine, nonce)

    assert all(answer.is_success for answer in (stopped, started, again, waited))
    assert any(event["type"] == "exit" for event in down["events"])
    assert started.json()["previous_state"] == "stopped", "start decodes its answer"
    assert started.json().get("status") != "error"


async def test_an_error_carries_a_message_and_a_request_id(fly: Flyctl) -> None:
    answer = await fly.flaps("GET", "/machines/0123456789abcd")

    assert answer.status_code == 404
    assert "machine not found" in answer.json()["error"], "flyctl looks for these words"
    assert answer.headers["fly-request-id"]


async def test_a_client_that_sends_no_content_type_and_odd_headers_is_served(
    fleet: Sandbox, fly: Flyctl
) -> None:
    odd = {"traceparent": "00-0-0-00", "baggage": "a=b", "Fly-Force-Region": "ord"}
    answer = await fly.http.post(
        f"/v1/apps/shop/machines/{fleet.machines[0].id}/cordon", headers=odd
    )

    assert answer.is_success
    assert fleet.machines[0].cordoned
