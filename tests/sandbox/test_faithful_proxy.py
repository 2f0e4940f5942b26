"""fly.md §8.1 row 14: the proxy, what it routes to, wakes, refuses and counts."""

from collections.abc import AsyncIterator

import httpx
import pytest

from rollbackd.sandbox import leases
from rollbackd.sandbox.objects import Machine
from rollbackd.sandbox.proxy import routable
from rollbackd.sandbox.server import Sandbox
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
