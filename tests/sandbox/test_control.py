"""The control surface, and the corners of the Machines API that no faithfulness row names."""

import httpx
import pytest

from rollbackd.sandbox.contents import accept
from rollbackd.sandbox.durations import as_text, seconds_of
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import client
from tests.support import until

ONE = "/v1/apps/shop/machines"


async def test_apps_show_an_address_for_every_machine(api: httpx.AsyncClient, box: Sandbox) -> None:
    app = (await api.get("/_sandbox/apps")).json()["apps"][0]

    text = (await api.get(app["machines"][0]["metrics_url"])).text
    assert "http_requests_total" in text
    assert app["machines"][0]["routable"] is True
    assert (await api.get(app["proxy_url"])).status_code == 200


async def test_another_app_can_be_made_and_changed(api: httpx.AsyncClient, box: Sandbox) -> None:
    words = {"app": "other", "machines": 1, "image": "good-b", "autostop": True, "port": 3000}
    await api.post("/_sandbox/apps", json=words)
    other = box.world.apps["other"]
    machine_id = other.alive()[0].id

    change = {"app": "other", "idle_seconds": 7, "gone_images": ["old"]}
    await api.post("/_sandbox/apps", json=change | {"host_status": {machine_id: "unreachable"}})

    assert other.idle_seconds == 7
    assert other.gone_images == {"old"}
    assert other.machines[machine_id].host_status == "unreachable"
    assert other.machines[machine_id].config["services"][0]["internal_port"] == 3000


async def test_traffic_is_set_and_read_over_http(api: httpx.AsyncClient, box: Sandbox) -> None:
    await api.post("/_sandbox/traffic", json={"rate": 100, "path": "/shop"})
    await until(lambda: box.platform.traffic.flow("shop").served >= 5)
    await api.post("/_sandbox/traffic", json={"rate": 0})

    flow = (await api.get("/_sandbox/traffic")).json()["traffic"][0]
    assert flow["served"] >= 5
    assert flow["statuses"]["200"] == flow["served"]


async def test_the_clock_moves_by_hand(api: httpx.AsyncClient) -> None:
    before = (await api.get("/_sandbox/clock")).json()["now"]
    after = (await api.post("/_sandbox/clock", json={"advance": 3600})).json()["now"]

    assert 3600 <= after - before < 3660


async def test_settings_change_while_it_runs(api: httpx.AsyncClient, box: Sandbox) -> None:
    await api.post("/_sandbox/settings", json={"rate_limits": True, "lag_seconds": 30})

    assert box.platform.limits.enabled
    assert box.world.settings.lag_seconds == 30


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("deploys", {"image": "good", "colour": "red"}),
        ("deploys", {"strategy": "hope"}),
        ("settings", {"weather": 1}),
        ("traffic", {"app": "none"}),
    ],
)
async def test_what_control_does_not_know_is_refused(
    api: httpx.AsyncClient, path: str, words: dict[str, object]
) -> None:
    assert (await api.post(f"/_sandbox/{path}", json=words)).status_code in {400, 404, 422}


async def test_what_is_not_json_is_400(api: httpx.AsyncClient, box: Sandbox) -> None:
    for content in (b"{", b"[]"):
        answer = await api.post(f"{ONE}/{box.machines[0].id}", content=content)
        assert answer.status_code == 400


async def test_a_machine_is_destroyed_by_force_and_stays_readable(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    path = f"{ONE}/{box.machines[0].id}"

    polite = await api.delete(path)
    forced = await api.delete(path, params={"kill": "true"})
    again = await api.delete(path, params={"kill": "true"})

    assert (polite.status_code, forced.status_code, again.status_code) == (412, 200, 404)
    assert (await api.get(path)).json()["state"] == "destroyed"
    assert (await api.get(ONE)).json() == []
    assert len((await api.get(ONE, params={"include_deleted": "true"})).json()) == 1


async def test_a_machine_is_suspended_restarted_and_signalled(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    machine = box.machines[0]
    path = f"{ONE}/{machine.id}"
    version, pid = machine.version, machine.pid

    await api.post(f"{path}/restart", params={"force_stop": "false", "timeout": "10s"})
    await until(lambda: machine.state == "started" and machine.pid != pid)
    await api.post(f"{path}/signal", json={"signal": "SIGKILL"})
    await until(lambda: machine.exits == 1)
    await until(lambda: machine.state == "started")
    await api.post(f"{path}/suspend")
    await until(lambda: machine.state == "suspended")

    assert machine.version == version
    assert (await api.post(f"{path}/signal", json={"signal": "SIGFOO"})).status_code == 400
    assert (await api.post(f"{path}/signal", json={})).status_code == 412


async def test_a_list_is_filtered_by_state_region_and_metadata(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    async def count(**words: str) -> int:
        return len((await api.get(ONE, params=words)).json())

    assert await count(state="started,stopped", region="ord") == 1
    assert await count(state="stopped") == 0
    assert await count(region="fra") == 0
    assert await count(**{"metadata.fly_process_group": "app"}) == 1
    assert await count(**{"metadata.fly_process_group": "worker"}) == 0
    summary = (await api.get(ONE, params={"summary": "true"})).json()[0]
    assert "config" not in summary


async def test_volumes_are_made_grown_saved_and_deleted(api: httpx.AsyncClient) -> None:
    made = (await api.post("/v1/apps/shop/volumes", json={"name": "data", "size_gb": 1})).json()
    path = f"/v1/apps/shop/volumes/{made['id']}"

    grown = (await api.put(f"{path}/extend", json={"size_gb": 3})).json()
    await api.post(f"{path}/snapshots")

    assert grown["volume"]["size_gb"] == 3
    assert len((await api.get(f"{path}/snapshots")).json()) == 1
    assert (await api.delete(path)).status_code == 200
    assert (await api.get(path)).status_code == 404


async def test_secrets_never_show_their_values(api: httpx.AsyncClient) -> None:
    path = "/v1/apps/shop/secrets"
    await api.post(path, json={"values": {"A": "planted", "B": "x"}})
    await api.post(f"{path}/C", json={"value": "planted"})
    await api.delete(f"{path}/B")

    text = (await api.get(path)).text

    assert "planted" not in text
    assert [secret in text for secret in ('"A"', '"B"', '"C"')] == [True, False, True]
    assert (await api.delete(f"{path}/B")).status_code == 404


async def test_a_floor_for_secrets_that_do_not_exist_yet_is_refused(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"config": box.machines[0].config, "min_secrets_version": 9}

    assert (await api.post(f"{ONE}/{box.machines[0].id}", json=words)).status_code == 422


async def test_metadata_is_read_set_and_deleted_by_key(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    path = f"{ONE}/{box.machines[0].id}/metadata/note"
    await api.post(path, json={"value": "x"})
    assert (await api.get(path)).json() == {"value": "x"}

    await api.delete(path)

    assert (await api.get(path)).status_code == 404


async def test_apps_are_made_and_deleted_with_an_org_token(box: Sandbox) -> None:
    async with client(box, box.urls.org_token) as api:
        made = await api.post("/v1/apps", json={"app_name": "new", "org_slug": box.urls.org})
        again = await api.post("/v1/apps", json={"app_name": "new", "org_slug": box.urls.org})
        gone = await api.delete("/v1/apps/new")

    assert (made.status_code, again.status_code, gone.status_code) == (201, 422, 202)
    assert "new" not in box.world.apps


async def test_builds_and_organization_answer_as_a_deploy_needs(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    build = await api.post("/api/v1/builds", json={"app_name": "shop"})
    finish = await api.post("/api/v1/builds/finish", json={"build_id": build.json()["id"]})
    org = await api.get(f"/api/v1/organizations/{box.urls.org}")
    current = await api.get("/api/v1/releases/all_current")

    assert (build.status_code, finish.status_code) == (200, 200)
    assert org.json()["organization"]["internal_numeric_id"] == 1
    assert list(current.json()) == ["shop"]
    assert (await api.get("/api/v1/organizations/none")).status_code == 404


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("1m30s", 90), ("50ms", 0.05), (2_000_000_000, 2), ("soon", 7), (None, 7)],
)
def test_durations_are_read_as_go_does(text: object, seconds: float) -> None:
    assert seconds_of(text, default=7) == pytest.approx(seconds)


def test_a_number_of_nanoseconds_reads_back_as_text() -> None:
    assert as_text(15_000_000_000) == "15s"
    assert as_text("15s") == "15s"


@pytest.mark.parametrize("config", [None, {}, {"image": ""}, {"image": "a", "env": []}])
def test_a_config_that_is_none_is_refused(config: object) -> None:
    with pytest.raises(FlyError):
        accept(config)
