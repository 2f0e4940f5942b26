"""fly.md §8.1, releases: REST and GraphQL over one store, and every way a deploy can end."""

import httpx
import pytest

from rollbackd.sandbox.deploys import OWNER
from rollbackd.sandbox.objects import Release
from rollbackd.sandbox.releases import unordered
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import client
from tests.support import until

RELEASES = "/api/v1/apps/shop/releases"
LIST = (
    "query($appName: String!, $limit: Int!) { app(name: $appName) { releases: "
    "releasesUnprocessed(first: $limit) { nodes { id version description reason status imageRef "
    "stable user { id email name } createdAt } } } }"
)


async def test_rest_and_graphql_show_the_same_releases(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await box.deploy(image="good-b")

    rest = (await api.get(RELEASES)).json()["releases"]
    words = {"query": LIST, "variables": {"appName": "shop", "limit": 25}}
    nodes = (await api.post("/graphql", json=words)).json()["data"]["app"]["releases"]["nodes"]

    assert {(r["id"], r["version"], r["image_ref"]) for r in rest} == {
        (n["id"], n["version"], n["imageRef"]) for n in nodes
    }
    assert isinstance(rest[0]["user"], str)
    assert nodes[0]["user"]["email"] == rest[0]["user"]


async def test_nodes_come_in_no_order_and_no_more_than_the_limit(box: Sandbox) -> None:
    template = box.releases[0]
    for version in range(2, 8):
        words = {s: getattr(template, s) for s in Release.__slots__}
        box.app.releases.append(Release(**words | {"version": version, "id": f"r{version}"}))

    versions = [release.version for release in unordered(box.app, 4)]

    assert sorted(versions) == [4, 5, 6, 7]
    assert versions not in ([4, 5, 6, 7], [7, 6, 5, 4])


async def test_an_app_that_was_never_deployed_has_no_current_release(box: Sandbox) -> None:
    box.platform.new_app("fresh")
    async with client(box, box.urls.org_token) as api:
        answer = await api.get("/api/v1/apps/fresh/releases/current")
        words = {"query": '{app(name:"fresh"){currentReleaseUnprocessed{id}}}'}
        graph = await api.post("/graphql", json=words)

    assert answer.status_code == 404
    assert graph.json()["data"]["app"]["currentReleaseUnprocessed"] is None


async def test_a_release_is_made_wrapped_and_not_idempotent(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"app_name": "shop", "build_id": 0, "definition": {"app": "shop"}}
    words |= {"image": "registry.fly.io/shop:good", "strategy": "ROLLING"}

    first = (await api.post("/api/v1/releases", json=words)).json()["release"]
    second = (await api.post("/api/v1/releases", json=words)).json()["release"]

    assert (first["version"], second["version"]) == (2, 3)
    assert first["status"] == "pending"
    assert first["in_progress"] is True


async def test_a_release_takes_status_and_metadata_and_answers_an_object(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    path = f"/api/v1/releases/{box.releases[0].id}"
    words = {"status": "failed", "metadata": {"post_deployment_info": {"error": "x"}}}

    answer = await api.patch(path, json=words)

    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert box.releases[0].metadata == words["metadata"]
    assert (await api.patch("/api/v1/releases/none", json=words)).status_code == 404


async def test_graphql_makes_and_moves_releases_too(api: httpx.AsyncClient, box: Sandbox) -> None:
    create = (
        "mutation($input:CreateReleaseInput!){createRelease(input:$input){release{id version}}}"
    )
    update = "mutation($input:UpdateReleaseInput!){updateRelease(input:$input){release{id}}}"
    words = {"appId": "shop", "image": "registry.fly.io/shop:good", "strategy": "ROLLING"}
    words |= {"platformVersion": "machines", "definition": {"app": "shop"}}

    made = (
        await api.post("/graphql", json={"query": create, "variables": {"input": words}})
    ).json()
    release = made["data"]["createRelease"]["release"]
    moved = {"releaseId": release["id"], "status": "complete", "metadata": {"rollbackd_op": "o1"}}
    await api.post("/graphql", json={"query": update, "variables": {"input": moved}})

    assert release["version"] == 2
    assert box.releases[-1].status == "complete"
    assert box.effects[-1].op_id == "o1"


async def test_a_pruned_image_is_null_and_cannot_be_started(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.app.gone_images.add("registry.fly.io/shop:old")
    ref = "registry.fly.io/shop:old"
    query = f'{{app(name:"shop"){{image(ref:"{ref}"){{id}}}}}}'

    seen = (await api.post("/graphql", json={"query": query})).json()
    config = box.machines[0].config | {"image": ref}
    path = f"/v1/apps/shop/machines/{box.machines[0].id}"
    update = await api.post(path, json={"config": config})

    assert seen["data"]["app"]["image"] is None
    assert update.status_code == 400
    assert "MANIFEST_UNKNOWN" in update.json()["error"]


async def test_a_rolling_deploy_goes_release_running_leases_updates_complete(
    fleet: Sandbox,
) -> None:
    before = len(fleet.effects)

    deploy = await fleet.deploy(image="good-b")

    actions = [effect.action for effect in fleet.effects[before:]]
    assert deploy.release.status == "complete"
    assert actions == [
        "release.create",
        "release.update",
        *["lease.acquire"] * 3,
        *["machine.update"] * 3,
        *["lease.release"] * 3,
        "release.update",
    ]
    for machine in fleet.machines:
        assert machine.config["image"] == "registry.fly.io/shop:good-b"
        assert machine.metadata["fly_release_version"] == "2"
        assert machine.metadata["fly_release_id"] == deploy.release.id


async def test_a_deploy_holds_every_lease_until_its_end(fleet: Sandbox) -> None:
    deploy = fleet.begin_deploy(image="boot-0.5s")

    await until(lambda: all(machine.lease for machine in fleet.machines))

    assert {machine.lease.owner for machine in fleet.machines if machine.lease} == {OWNER}
    assert deploy.release.status == "running"
    assert deploy.task is not None
    await deploy.task
    assert not any(machine.lease for machine in fleet.machines)


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
async def test_a_deploy_that_ends_early_leaves_a_mixed_fleet(fleet: Sandbox, outcome: str) -> None:
    deploy = await fleet.deploy(image="good-b", outcome=outcome, after=1)

    images = [machine.config["image"] for machine in fleet.machines]
    assert deploy.release.status == outcome
    assert images.count("registry.fly.io/shop:good-b") == 1
    assert not any(machine.lease for machine in fleet.machines)


async def test_a_killed_deploy_stays_running_and_its_leases_run_out(fleet: Sandbox) -> None:
    deploy = await fleet.deploy(image="good-b", outcome="killed", after=1)

    assert deploy.release.status == "running"
    assert all(machine.lease for machine in fleet.machines)
    fleet.advance(14)
    assert all(m.lease.expires_at < fleet.world.now() for m in fleet.machines if m.lease)


async def test_an_image_that_crashes_fails_its_deploy_after_the_first_machine(
    fleet: Sandbox,
) -> None:
    deploy = await fleet.deploy(image="crash")

    images = [machine.config["image"] for machine in fleet.machines]
    assert deploy.release.status == "failed"
    assert images.count("registry.fly.io/shop:crash") == 1


async def test_a_secrets_only_release_has_the_image_of_the_one_before(box: Sandbox) -> None:
    deploy = await box.deploy(secrets={"KEY": "value"})

    assert deploy.release.image_ref == box.releases[0].image_ref
    assert deploy.release.definition == box.releases[0].definition
    assert box.app.secrets["KEY"].digest


async def test_a_bad_config_on_a_good_image(box: Sandbox) -> None:
    deploy = await box.deploy(env={"PORT": "1234"}, wait_seconds=1)

    assert deploy.release.image_ref == box.releases[0].image_ref
    assert deploy.release.definition is not None
    assert deploy.release.definition["env"]["PORT"] == "1234"
    assert deploy.release.status == "failed"
    assert box.machines[0].checks["servicecheck-00-http-8080"].status == "critical"


async def test_bluegreen_replaces_every_machine_by_a_new_one(fleet: Sandbox) -> None:
    blues = {machine.id for machine in fleet.machines}

    deploy = await fleet.deploy(image="good-b", strategy="bluegreen")

    greens = {machine.id for machine in fleet.machines}
    assert deploy.release.status == "complete"
    assert len(greens) == 3
    assert not blues & greens


async def test_a_failed_bluegreen_leaves_only_the_blues(fleet: Sandbox) -> None:
    blues = {machine.id for machine in fleet.machines}

    deploy = await fleet.deploy(image="unhealthy", strategy="bluegreen", wait_seconds=1)

    assert deploy.release.status == "failed"
    assert {machine.id for machine in fleet.machines} == blues


async def test_a_failed_canary_stays_behind(fleet: Sandbox) -> None:
    deploy = await fleet.deploy(image="good-b", strategy="canary-leftover")

    canaries = [m for m in fleet.machines if m.metadata.get("fly_canary") == "true"]
    assert deploy.release.status == "failed"
    assert len(canaries) == 1


async def test_immediate_waits_for_nothing(fleet: Sandbox) -> None:
    deploy = await fleet.deploy(image="crash", strategy="immediate")

    assert deploy.release.status == "complete"


async def test_a_deploy_over_http_with_its_effects(api: httpx.AsyncClient, box: Sandbox) -> None:
    words = {"app": "shop", "image": "good-b", "wait": True}
    answer = await api.post("/_sandbox/deploys", json=words)

    assert answer.json()["status"] == "complete"
    effects = (await api.get("/_sandbox/effects")).json()["effects"]
    assert [effect["seq"] for effect in effects] == list(range(1, len(effects) + 1))
    assert set(effects[-1]) == {
        *("seq", "at", "app", "machine", "action", "op_id"),
        *("image", "release_id", "nonce", "request_id"),
    }


async def test_an_effect_carries_our_operation_and_never_for_what_others_do(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    path = f"/v1/apps/shop/machines/{box.machines[0].id}"
    config = (await api.get(path)).json()["config"]
    config["metadata"]["rollbackd_op"] = "op-7"
    await api.post(path, json={"config": config})
    await until(lambda: box.machines[0].state == "started")

    await box.deploy(image="good-b")

    found = [effect.action for effect in box.effects if effect.op_id == "op-7"]
    assert found == ["machine.update"]
    assert box.machines[0].metadata["rollbackd_op"] == "op-7"
