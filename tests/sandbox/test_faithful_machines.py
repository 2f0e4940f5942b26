"""fly.md §8.1, Machines API: one named test or more for every row, over the wire."""

import asyncio
import copy
from typing import Any

import httpx

from rollbackd.sandbox.server import Sandbox
from tests.support import until

MACHINES = "/v1/apps/shop/machines"
NONCE = "fly-machine-lease-nonce"


def path(box: Sandbox, tail: str = "") -> str:
    return f"{MACHINES}/{box.machines[0].id}{tail}"


async def config_of(api: httpx.AsyncClient, box: Sandbox) -> dict[str, Any]:
    config: dict[str, Any] = (await api.get(path(box))).json()["config"]
    return config


async def lease(api: httpx.AsyncClient, box: Sandbox, ttl: int = 30) -> str:
    answer = await api.post(path(box, "/lease"), json={"ttl": ttl, "description": "rb_1"})
    nonce: str = answer.json()["data"]["nonce"]
    return nonce


# Row 1: full replacement, versions


async def test_row_1_an_update_replaces_the_whole_config(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    smaller = {"image": config["image"], "metadata": config["metadata"]}

    answer = await api.post(path(box), json={"config": smaller})

    assert answer.status_code == 200
    assert "services" not in answer.json()["config"]
    assert "env" not in answer.json()["config"]


async def test_row_1_a_config_without_image_is_refused_and_nothing_changes(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    before = box.machines[0].version

    answer = await api.post(path(box), json={"config": {"env": {"A": "b"}}})

    assert answer.status_code == 400
    assert "error" in answer.json()
    assert box.machines[0].version == before


async def test_row_1_every_update_makes_a_new_and_greater_version_kept_with_its_config(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    for word in ("one", "two"):
        config["env"]["WORD"] = word
        await api.post(path(box), json={"config": config})

    versions = (await api.get(path(box, "/versions"))).json()

    ulids = [one["version"] for one in versions]
    assert len(ulids) == 3
    assert ulids == sorted(set(ulids))
    assert all(len(ulid) == 26 for ulid in ulids)
    assert versions[1]["user_config"]["env"]["WORD"] == "one"


async def test_row_1_an_old_version_reads_back_as_replaced(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    old = box.machines[0].version
    config = await config_of(api, box) | {"env": {"NEW": "1"}}
    await api.post(path(box), json={"config": config})

    seen = (await api.get(path(box), params={"version": old})).json()

    assert seen["state"] == "replaced"
    assert seen["version"] == old
    assert "NEW" not in seen["config"]["env"]


# Row 2: states


async def test_row_2_an_update_passes_through_replacing_and_starting_to_started(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.world.settings.boot_seconds = 0.5
    answer = await api.post(path(box), json={"config": await config_of(api, box)})

    assert answer.json()["state"] == "replacing"
    await until(lambda: box.machines[0].state == "starting")
    await until(lambda: box.machines[0].state == "started")


async def test_row_2_skip_launch_leaves_a_created_machine_that_refuses_a_start_too_early(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    made = (await api.post(MACHINES, json={"config": config, "skip_launch": True})).json()

    early = await api.post(f"{MACHINES}/{made['id']}/start")

    assert made["state"] == "created"
    assert early.status_code == 412
    assert "unable to start machine from current state: 'created'" in early.json()["error"]
    await until(lambda: box.world.machine("shop", made["id"]).state == "stopped")
    late = await api.post(f"{MACHINES}/{made['id']}/start")
    assert late.json()["previous_state"] == "stopped"


async def test_row_2_a_machine_being_replaced_refuses_to_start(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.world.settings.stop_seconds = 0.5
    await api.post(path(box), json={"config": await config_of(api, box)})

    answer = await api.post(path(box, "/start"))

    assert answer.status_code == 412
    assert answer.json()["error"] == (
        "failed_precondition: machine getting replaced, refusing to start"
    )


async def test_row_2_a_stopped_machine_updated_with_skip_launch_stays_down(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await api.post(path(box, "/stop"), json={"timeout": "10s"})
    await until(lambda: box.machines[0].state == "stopped")

    await api.post(path(box), json={"config": await config_of(api, box), "skip_launch": True})

    await until(lambda: box.machines[0].state == "stopped")
    assert box.machines[0].pid is None


async def test_row_2_a_stop_wins_over_a_start_that_is_under_way(box: Sandbox) -> None:
    """Whenever it comes: before the boot, while the process is made, after it."""
    machines, machine = box.platform.machines, box.machines[0]
    box.world.settings.boot_seconds = box.world.settings.stop_seconds = 0.0
    for passes in range(40):
        machines.stop(machine)
        await until(lambda: machine.state == "stopped", 5)

        machines.start(machine)
        for _ in range(passes):
            await asyncio.sleep(0)
        machines.stop(machine)

        await until(lambda: machine.state == "stopped", 5)
        assert machine.pid is None
        machines.start(machine)
        await until(lambda: machine.state == "started", 5)


# Row 3: leases


async def test_row_3_a_lease_comes_in_its_envelope_with_the_machine_version(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    answer = await api.post(path(box, "/lease"), params={"ttl": 13})

    body = answer.json()
    assert answer.status_code == 201
    assert body["status"] == "success"
    assert body["data"]["version"] == box.machines[0].version
    assert isinstance(body["data"]["expires_at"], int)


async def test_row_3_a_refresh_with_the_nonce_keeps_the_nonce(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    nonce = await lease(api, box)

    again = await api.post(path(box, "/lease"), params={"ttl": 60}, headers={NONCE: nonce})

    assert again.json()["data"]["nonce"] == nonce


async def test_row_3_another_holder_gets_409_with_owner_and_expiry(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await lease(api, box)

    answer = await api.post(path(box, "/lease"), json={"ttl": 5})

    machine = box.machines[0]
    assert answer.status_code == 409
    assert machine.lease is not None
    expected = f"machine ID {machine.id} lease currently held by {machine.lease.owner}, expires at "
    assert answer.json()["error"].startswith(expected)
    assert answer.json()["error"].endswith("Z")


async def test_row_3_every_mutation_of_a_leased_machine_needs_the_nonce(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    await lease(api, box)
    tails = ("", "/start", "/stop", "/suspend", "/restart", "/signal", "/cordon", "/uncordon")

    answers = [await api.post(path(box, tail), json={"config": config}) for tail in tails]
    answers.append(await api.delete(path(box), params={"force": "true"}))

    assert [answer.status_code for answer in answers] == [409] * 9
    assert box.machines[0].state == "started"


async def test_row_3_reads_waits_and_metadata_need_no_nonce(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await lease(api, box)

    answers = [
        await api.get(path(box)),
        await api.get(path(box, "/wait"), params={"state": "started", "timeout": 1}),
        await api.post(path(box, "/metadata/note"), json={"value": "x"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 204]


async def test_row_3_a_lease_runs_out_by_the_clock_and_is_then_not_found(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await lease(api, box, ttl=30)
    box.advance(31)

    answer = await api.get(path(box, "/lease"))

    assert answer.status_code == 404
    assert answer.json() == {"error": "lease not found"}
    assert (await api.delete(path(box, "/lease"))).status_code == 404


async def test_row_3_reading_a_lease_shows_its_nonce_so_it_can_be_broken(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    nonce = await lease(api, box)

    seen = (await api.get(path(box, "/lease"))).json()["data"]
    broken = await api.delete(path(box, "/lease"), headers={NONCE: seen["nonce"]})

    assert seen["nonce"] == nonce
    assert broken.json() == {"status": "success", "data": {"ok": True}}


async def test_row_3_a_nonce_whose_lease_ran_out_protects_nothing(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    nonce = await lease(api, box)
    box.advance(31)

    answer = await api.post(
        path(box), json={"config": await config_of(api, box)}, headers={NONCE: nonce}
    )

    assert answer.status_code == 409


async def test_row_3_leases_show_in_the_list_only_when_asked_for_and_without_nonce(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    await lease(api, box)

    plain = (await api.get(MACHINES)).json()[0]
    shown = (await api.get(MACHINES, params={"include_leases": "true"})).json()[0]

    assert "lease" not in plain
    assert set(shown["lease"]) == {"owner", "expires_at", "description"}


# Row 4: compare and swap


async def test_row_4_an_update_for_another_version_is_409_and_changes_nothing(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    old = box.machines[0].version
    await api.post(path(box), json={"config": config, "current_version": old})
    before, effects = box.machines[0].version, len(box.effects)

    answer = await api.post(path(box), json={"config": config, "current_version": old})

    assert answer.status_code == 409
    assert box.machines[0].version == before
    assert len(box.effects) == effects


# Row 5: wait


async def test_row_5_a_wait_that_times_out_says_so_in_flys_words(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    answer = await api.get(path(box, "/wait"), params={"state": "stopped", "timeout": 1})

    assert answer.status_code == 408
    assert answer.json()["error"] == (
        "deadline_exceeded: machine failed to reach desired state, stopped, currently started"
    )


async def test_row_5_a_wait_blocks_until_the_new_version_has_started(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    updated = await api.post(path(box), json={"config": await config_of(api, box)})
    version = updated.json()["version"]

    answer = await api.get(path(box, "/wait"), params={"state": "started", "version": version})

    body = answer.json()
    assert body["ok"] is True
    assert body["state"] == "started"
    assert body["version"] == version
    assert len(body["event_id"]) == 26


async def test_row_5_the_state_of_an_old_version_satisfies_nobody(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    old = box.machines[0].version
    await api.post(path(box), json={"config": await config_of(api, box)})
    await until(lambda: box.machines[0].state == "started")

    words = {"state": "started", "version": old, "timeout": 1}
    answer = await api.get(path(box, "/wait"), params=words)

    assert answer.status_code == 408


async def test_row_5_several_states_and_settled_are_understood(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    listed = await api.get(path(box, "/wait"), params={"state": "stopped,started"})
    repeated = await api.get(path(box, "/wait"), params=[("state", "failed"), ("state", "settled")])

    assert (listed.status_code, repeated.status_code) == (200, 200)


async def test_row_5_an_unknown_state_or_timeout_is_400(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    state = await api.get(path(box, "/wait"), params={"state": "happy"})
    timeout = await api.get(path(box, "/wait"), params={"timeout": "soon"})

    assert (state.status_code, timeout.status_code) == (400, 400)


async def test_row_5_a_wait_right_after_creation_does_not_see_the_machine_yet(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.world.settings.wait_blind_seconds = 5
    made = (await api.post(MACHINES, json={"config": await config_of(api, box)})).json()

    answer = await api.get(f"{MACHINES}/{made['id']}/wait", params={"state": "started"})
    read = await api.get(f"{MACHINES}/{made['id']}")

    assert (answer.status_code, read.status_code) == (404, 200)


# Row 6: checks and exits


async def test_row_6_checks_go_from_empty_over_critical_to_passing(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.world.settings.boot_seconds = 0.3
    config = await config_of(api, box)
    config["image"] = "registry.fly.io/shop:boot-0.4s"
    await api.post(path(box), json={"config": config})
    await until(lambda: box.machines[0].state == "starting")

    before = (await api.get(path(box))).json()["checks"]
    await until(lambda: box.machines[0].state == "started")
    fresh = (await api.get(path(box))).json()["checks"]
    await until(lambda: box.machines[0].checks["servicecheck-00-http-8080"].status == "passing")

    assert before == []
    assert [check["status"] for check in fresh] == ["critical"]


async def test_row_6_a_check_shows_when_it_changed_and_not_when_it_ran(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    first = (await api.get(path(box))).json()["checks"][0]["updated_at"]
    address = f"http://127.0.0.1:{box.machines[0].port}/metrics"

    async def looks() -> int:
        line = 'http_requests_total{status="200"} '
        return int((await api.get(address)).text.partition(line)[2].split()[0])

    before = await looks()

    async def looked_again() -> bool:
        return await looks() >= before + 2

    await until(looked_again)

    assert (await api.get(path(box))).json()["checks"][0]["updated_at"] == first


async def test_row_6_a_crash_loop_shows_exit_events_with_a_growing_restart_count(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box) | {"image": "registry.fly.io/shop:crash"}
    await api.post(path(box), json={"config": config})

    await until(lambda: box.machines[0].exits >= 3)

    events = (await api.get(path(box, "/events"), params={"limit": 50})).json()
    exits = [event for event in events if event["type"] == "exit"][:2]
    assert exits[0]["request"]["restart_count"] > exits[1]["request"]["restart_count"]
    assert exits[0]["request"]["exit_event"]["exit_code"] == 1
    assert exits[0]["request"]["exit_event"]["restarting"] is True
    assert exits[0]["request"]["exit_event"]["requested_stop"] is False


async def test_row_6_a_crashed_machine_that_is_started_lives_once_only(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box) | {"image": "registry.fly.io/shop:crash"}
    await api.post(path(box), json={"config": config})
    await until(lambda: box.machines[0].state == "stopped")

    for _ in range(5):  # as the proxy does for every request while it is down
        await api.post(path(box, "/start"))
        await until(lambda: box.machines[0].state == "stopped")
    await api.post(path(box), json={"config": config | {"image": "registry.fly.io/shop:good"}})
    await until(lambda: bool(box.machines[0].checks))

    events = [event["type"] for event in box.machines[0].events]
    assert events[: events.index("launch")] == ["start"]


async def test_row_6_restarts_end_when_the_policy_has_enough(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box) | {
        "image": "registry.fly.io/shop:crash",
        "restart": {"policy": "on-failure", "max_retries": 1},
    }
    await api.post(path(box), json={"config": config})

    await until(lambda: box.machines[0].state == "failed")


async def test_row_6_a_leak_ends_in_an_exit_for_memory(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    config |= {"image": "registry.fly.io/shop:leak-48", "restart": {"policy": "no"}}
    await api.post(path(box), json={"config": config})

    await until(lambda: box.machines[0].oom)

    exit_event = box.machines[0].events[0]["request"]["exit_event"]
    assert exit_event["oom_killed"] is True
    assert exit_event["restarting"] is False


# Row 7: rate limits


async def test_row_7_three_calls_of_an_action_at_once_and_the_fourth_is_429(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.platform.limits.enabled = True

    codes = [(await api.get(MACHINES)).status_code for _ in range(4)]
    other = await api.get(path(box, "/versions"))

    assert codes == [200, 200, 200, 429]
    assert other.status_code == 200


async def test_row_7_reading_one_machine_has_ten_at_once(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.platform.limits.enabled = True

    codes = [(await api.get(path(box))).status_code for _ in range(14)]

    assert codes[:10] == [200] * 10
    assert codes[-1] == 429


# Row 9: unreachable hosts


async def test_row_9_a_machine_on_an_unreachable_host_hides_its_config(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.machines[0].host_status = "unreachable"

    seen = (await api.get(path(box))).json()
    update = await api.post(path(box), json={"config": seen["incomplete_config"]})

    assert seen["config"] is None
    assert seen["incomplete_config"]["image"]
    assert update.status_code == 408


# Row 10: immutable fields


async def test_row_10_region_and_name_stay_whatever_an_update_says(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"config": await config_of(api, box), "region": "fra", "name": "other"}

    answer = (await api.post(path(box), json=words)).json()

    assert answer["region"] == "ord"
    assert answer["name"] == box.machines[0].name


async def test_row_10_volumes_cannot_be_swapped_by_an_update(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box) | {"mounts": [{"volume": "vol_x", "path": "/data"}]}

    answer = await api.post(path(box), json={"config": config})

    assert answer.status_code == 400


# Row 11: cordon and metadata


async def test_row_11_cordon_is_a_flag_that_can_be_set_twice(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    for _ in range(2):
        assert (await api.post(path(box, "/cordon"))).json() == {"ok": True}
    assert (await api.get(path(box))).json()["cordoned"] is True

    await api.post(path(box, "/uncordon"))

    assert (await api.get(path(box))).json()["cordoned"] is False


async def test_row_11_metadata_merges_and_null_or_empty_deletes_without_a_new_version(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    version = box.machines[0].version
    await api.patch(path(box, "/metadata"), json={"metadata": {"a": "1", "b": "2", "c": "3"}})

    answer = await api.patch(path(box, "/metadata"), json={"metadata": {"a": None, "b": ""}})

    kept = (await api.get(path(box, "/metadata"))).json()
    assert answer.status_code == 204
    assert kept["c"] == "3"
    assert {"a", "b"}.isdisjoint(kept)
    assert box.machines[0].version == version
    assert box.machines[0].state == "started"


async def test_row_11_metadata_for_another_version_is_412(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"metadata": {"a": "1"}, "machine_version": "01K7GAF077KAFVMASWPST44GGJ"}

    answer = await api.patch(path(box, "/metadata"), json=words)

    assert answer.status_code == 412
    assert "a" not in box.machines[0].metadata


# Row 12: odds and ends of the wire


async def test_row_12_autostop_reads_back_as_bool_except_suspend(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    seen = []
    for wanted in ("off", "stop", "suspend"):
        config["services"][0]["autostop"] = wanted
        answer = await api.post(path(box), json={"config": config})
        seen.append(answer.json()["config"]["services"][0]["autostop"])

    assert seen == [False, True, "suspend"]


async def test_row_12_unknown_config_keys_survive(api: httpx.AsyncClient, box: Sandbox) -> None:
    config = await config_of(api, box)
    config["future"] = {"deep": [1, {"er": None}]}

    answer = await api.post(path(box), json={"config": copy.deepcopy(config)})

    assert answer.json()["config"]["future"] == config["future"]


async def test_row_12_numbers_in_metadata_or_env_are_refused(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    config = await config_of(api, box)
    for key in ("metadata", "env"):
        bad = config | {key: {"version": 12}}
        assert (await api.post(path(box), json={"config": bad})).status_code == 400


async def test_row_12_every_answer_has_a_request_id_of_its_own(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    good, bad = await api.get(path(box)), await api.get(f"{MACHINES}/none")

    ids = {good.headers["fly-request-id"], bad.headers["fly-request-id"]}
    assert len(ids) == 2


async def test_row_12_a_list_with_a_limit_pages_by_cursor(
    fleet_api: httpx.AsyncClient, fleet: Sandbox
) -> None:
    first = await fleet_api.get(MACHINES, params={"limit": 2})
    cursor = first.headers["fly-next-cursor"]
    second = await fleet_api.get(MACHINES, params={"limit": 2, "cursor": cursor})

    found = [machine["id"] for machine in first.json() + second.json()]
    assert sorted(found) == sorted(machine.id for machine in fleet.machines)
    assert "fly-next-cursor" not in second.headers


# Row 13: capacity


async def test_row_13_no_capacity_is_said_in_code_and_text(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    box.app.refuse_capacity = 1

    answer = await api.post(MACHINES, json={"config": await config_of(api, box)})

    assert answer.json()["status"] == "insufficient_capacity"
    assert "could not reserve resource for machine" in answer.json()["error"]


async def test_row_13_a_taken_name_is_409_with_the_machine_that_has_it(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {"config": await config_of(api, box), "name": box.machines[0].name}

    answer = await api.post(MACHINES, json=words)

    assert answer.status_code == 409
    assert "already_exists" in answer.json()["error"]
    assert f"machine ID {box.machines[0].id}" in answer.json()["error"]
