"""fly.md §8.1 row 14: the proxy, what it routes to, wakes, refuses and counts."""

from collections.abc import AsyncIterator

import httpx
import pytest

from rollbackd.sandbox import leases
from rollbackd.sandbox.objects import Machine
from rollbackd.sandbox.proxy import _told, routable
from rollbackd.sandbox.server import Sandbox
from rollbackd.sandbox.upstream import Message
from tests.support import until


@pytest.fixture
async def web(box: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=box.urls.proxy_url) as one:
        yield one


async def stop(box: Sandbox, machine: Machine) -> None:
    box.platform.machines.stop(machine)
    await until(lambda: machine.state == "stopped")


async def test_row_14_a_request_wakes_a_stopped_machine(
    box: Sandbox, web: httpx.AsyncClient
) -> None:
    await stop(box, box.machines[0])

    answer = await web.get("/")

    assert answer.status_code == 200
    assert box.machines[0].state == "started"


async def test_row_14_a_leased_machine_is_not_woken_and_the_log_says_pm01(
    box: Sandbox, web: httpx.AsyncClient
) -> None:
    await stop(box, box.machines[0])
    leases.acquire(box.world, box.machines[0], owner="somebody")

    answer = await web.get("/")

    assert answer.status_code == 503
    assert box.machines[0].state == "stopped"
    lines = [entry["attributes"]["message"] for entry in box.app.logs]
    assert any(line.startswith("[PM01]") and "lease currently held by" in line for line in lines)


async def test_an_idle_machine_is_put_to_sleep_down_to_the_minimum() -> None:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1}
    async with Sandbox(machines=2, autostop=True, **quick) as box:
        await box.ready()
        box.app.idle_seconds = 0.1

        await until(lambda: [m.state for m in box.machines].count("stopped") == 1)

        assert [m.state for m in box.machines].count("started") == 1


async def test_a_cordoned_machine_gets_no_traffic(box: Sandbox, web: httpx.AsyncClient) -> None:
    box.platform.machines.cordon(box.machines[0], cordoned=True)

    assert (await web.get("/")).status_code == 503


async def test_a_machine_whose_service_check_fails_leaves_the_rotation(
    box: Sandbox, web: httpx.AsyncClient
) -> None:
    await box.deploy(image="unhealthy", wait_seconds=1)

    assert (await web.get("/")).status_code == 503
    assert not routable(box.machines[0])


async def test_a_machine_can_be_forced_and_there_is_no_fallback(fleet: Sandbox) -> None:
    wanted, other = fleet.machines[0], fleet.machines[1]
    fleet.platform.machines.cordon(other, cordoned=True)
    async with httpx.AsyncClient(base_url=fleet.urls.proxy_url) as web:
        for _ in range(5):
            await web.get("/", headers={"fly-force-instance-id": wanted.id})
        refused = await web.get("/", headers={"fly-force-instance-id": other.id})
        preferred = await web.get("/", headers={"fly-prefer-instance-id": other.id})

    served = {
        dict(labels)["instance"]: value
        for (name, labels), value in fleet.platform.counters.values.items()
        if name == "fly_app_http_responses_count"
    }
    assert served[wanted.id] >= 5
    assert refused.status_code == 503
    assert preferred.status_code == 200


async def test_a_machine_hears_which_preferred_one_could_not_be_reached(box: Sandbox) -> None:
    here = box.machines[0]
    wished = Message(headers={"fly-prefer-instance-id": "gone"})
    met = Message(headers={"fly-prefer-instance-id": here.id})

    assert _told(wished, here).headers["fly-preferred-instance-unavailable"] == "gone"
    assert _told(met, here) is met


async def test_a_forced_machine_that_sleeps_is_woken_and_no_other(fleet: Sandbox) -> None:
    for machine in fleet.machines:
        machine.config["services"][0]["autostart"] = True
        await stop(fleet, machine)
    wanted = fleet.machines[1]
    async with httpx.AsyncClient(base_url=fleet.urls.proxy_url, timeout=20) as web:
        answer = await web.get("/", headers={"fly-force-instance-id": wanted.id})

    assert answer.status_code == 200
    assert [m.state for m in fleet.machines].count("started") == 1
    assert wanted.state == "started"


async def test_a_forced_machine_that_refuses_is_tried_again_and_then_given_up(
    fleet: Sandbox,
) -> None:
    await fleet.deploy(image="outage-refuse", wait_seconds=0.1)
    wanted = fleet.machines[0]
    await until(lambda: wanted.state == "started")
    wanted.checks.clear()  # so that it stays in the rotation
    async with httpx.AsyncClient(base_url=fleet.urls.proxy_url, timeout=20) as web:
        refused = await web.get("/", headers={"fly-force-instance-id": wanted.id})
        nobody = await web.get("/", headers={"fly-force-instance-id": "no-such-machine"})

    assert (refused.status_code, refused.content) == (502, b"")
    assert (nobody.status_code, nobody.content) == (503, b"")
    tries = [e for e in fleet.app.logs if e["attributes"]["message"].startswith("[PC01]")]
    assert len(tries) == 3


async def test_the_app_answers_on_the_main_port_by_its_host_name(box: Sandbox) -> None:
    async with httpx.AsyncClient(base_url=box.urls.sandbox_url) as web:
        answer = await web.get("/path?x=1", headers={"host": box.urls.host})

    assert answer.json()["path"] == "/path"


async def test_traffic_counts_what_was_served_and_what_failed(box: Sandbox) -> None:
    flow = box.traffic(100)
    await until(lambda: flow.served >= 20)
    assert flow.failed == 0

    box.platform.machines.cordon(box.machines[0], cordoned=True)
    await until(lambda: flow.failed >= 5)

    box.traffic(0)
    await until(lambda: flow.in_flight == 0)
    assert flow.sent == flow.served + flow.failed
