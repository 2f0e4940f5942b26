"""The apps inside the machines: each catalogue entry does what it says, as a real process."""

import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from rollbackd.sandbox import image as program
from rollbackd.sandbox.images import CATALOGUE, parse_image
from rollbackd.sandbox.ports import Ports
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import QUICK
from tests.support import until


def command(port: int, behaviour: str, *more: str) -> list[str]:
    script = str(Path(program.__file__))
    options = ["--port", str(port), "--behaviour", behaviour, "--watch-stdin", *more]
    return [sys.executable, "-I", "-S", script, *options]


@asynccontextmanager
async def running(behaviour: str, *more: str) -> AsyncIterator[httpx.AsyncClient]:
    ports = Ports()
    port = ports.reserve("app")
    child = subprocess.Popen(
        command(port, behaviour, *more), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=1) as web:

            async def listens() -> bool:
                try:
                    await web.get("/metrics")
                except httpx.TransportError:
                    return False
                return True

            await until(listens)
            yield web
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=5)
        ports.close()


async def statuses(web: httpx.AsyncClient, path: str, count: int) -> list[int]:
    return [(await web.get(path)).status_code for _ in range(count)]


async def test_good_answers_everything() -> None:
    async with running("good") as web:
        assert set(await statuses(web, "/", 3)) == {200}
        assert set(await statuses(web, "/healthz", 3)) == {200}


async def test_errors_come_at_their_rate_and_health_stays_well() -> None:
    async with running("errors-40") as web:
        assert (await statuses(web, "/", 20)).count(500) == 8
        assert set(await statuses(web, "/healthz", 3)) == {200}
        text = (await web.get("/metrics")).text

    assert 'http_requests_total{status="500"} 8' in text
    assert 'http_request_duration_seconds_bucket{le="+Inf"} 23' in text


async def test_only_the_bad_one_of_one_bad_errs() -> None:
    async with running("one-bad", "--bad") as web:
        assert (await statuses(web, "/", 10)).count(500) == 5
    async with running("one-bad") as web:
        assert (await statuses(web, "/", 10)).count(500) == 0


async def test_slow_is_slow_and_its_health_is_not() -> None:
    async with running("slow-0.3s") as web:
        assert (await web.get("/")).elapsed.total_seconds() >= 0.3
        assert (await web.get("/healthz")).elapsed.total_seconds() < 0.3


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [("no-health", 404), ("login-wall", 302), ("login-wall-401", 401), ("unhealthy", 503)],
)
async def test_health_that_is_refused_while_pages_are_well(behaviour: str, status: int) -> None:
    async with running(behaviour) as web:
        from_edge = {"fly-client-ip": "127.0.0.1"}
        assert (await web.get("/healthz", headers=from_edge)).status_code == status
        assert (await web.get("/", headers=from_edge)).status_code == 200


async def test_the_hosts_own_check_gets_past_a_login_wall() -> None:
    async with running("login-wall") as web:
        assert (await web.get("/healthz")).status_code == 200


async def test_an_outage_takes_connections_and_says_nothing() -> None:
    async with running("outage") as web:
        with pytest.raises(httpx.ReadTimeout):
            await web.get("/healthz", timeout=0.2)


async def test_reset_closes_without_an_answer() -> None:
    async with running("reset") as web:
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get("/")


async def test_html_comes_where_json_was_asked_for() -> None:
    async with running("html") as web:
        assert (await web.get("/api")).headers["content-type"] == "text/html"


async def test_drip_outlasts_patience() -> None:
    async with running("drip") as web:
        with pytest.raises(httpx.ReadTimeout):
            await web.get("/", timeout=0.3)


def test_crash_exits_with_one() -> None:
    child = subprocess.Popen(command(0, "crash"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with child:
        assert child.wait(timeout=5) == 1


def test_an_app_ends_by_itself_when_its_parent_is_gone() -> None:
    child = subprocess.Popen(command(0, "good"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=5) == 0


def test_an_app_costs_little_to_start() -> None:
    before = _cpu_of_children()
    for _ in range(3):
        child = subprocess.Popen(command(0, "good"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            assert child.stdin is not None
            child.stdin.close()

    # CPU and not the clock on the wall, which a busy machine stretches: 0.08 s each here.
    assert (_cpu_of_children() - before) / 3 < 0.3


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_catalogue_entry_is_found_by_its_tag(name: str) -> None:
    assert parse_image(f"registry.fly.io/shop:{name}", app="shop").behaviour == name


@pytest.mark.parametrize(
    ("text", "ref", "behaviour"),
    [
        ("errors", "registry.fly.io/shop:errors", "errors"),
        ("errors-30", "registry.fly.io/shop:errors-30", "errors-30"),
        ("shop:41", "registry.fly.io/shop:41", "good"),
        ("registry.fly.io/o/shop:slow-2s", "registry.fly.io/o/shop:slow-2s", "slow-2s"),
        (f"registry.fly.io/shop:a@sha256:{'0' * 64}", "registry.fly.io/shop:a", "good"),
        ("registry.fly.io/shop:deployment-01K7", "registry.fly.io/shop:deployment-01K7", "good"),
        ("errorsome", "registry.fly.io/shop:errorsome", "good"),
    ],
)
def test_image_references_are_taken_apart(text: str, ref: str, behaviour: str) -> None:
    image = parse_image(text, app="shop")

    assert (image.ref, image.behaviour) == (ref, behaviour)
    assert image.digest.startswith("sha256:")


async def test_the_environment_overrides_the_image(box: Sandbox) -> None:
    await box.deploy(env={"ROLLBACKD_SANDBOX_BEHAVIOUR": "errors-100"})

    async with httpx.AsyncClient(base_url=box.urls.proxy_url) as web:
        assert (await web.get("/")).status_code == 500


async def test_a_late_boot_is_started_but_out_of_rotation(box: Sandbox) -> None:
    deploy = box.begin_deploy(image="boot-1s")
    await until(lambda: box.machines[0].metadata.get("fly_release_version") == "2")
    await until(lambda: box.machines[0].state == "started")

    assert box.machines[0].checks["servicecheck-00-http-8080"].status == "critical"
    assert deploy.task is not None
    await deploy.task
    assert deploy.release.status == "complete"


async def test_a_slow_boot_ends_with_the_deploy_that_ordered_it(box: Sandbox) -> None:
    deploy = box.begin_deploy(image="good-b", boot_seconds=30)
    await until(lambda: box.machines[0].state == "starting")
    assert box.machines[0].boot_seconds == 30
    assert deploy.task is not None
    deploy.task.cancel()

    nonce = box.machines[0].lease.nonce if box.machines[0].lease else ""
    box.platform.machines.update(box.machines[0], {"config": box.machines[0].config}, nonce=nonce)

    await box.ready(seconds=10)


async def test_leaving_the_sandbox_leaves_no_process() -> None:
    async with Sandbox(machines=2, **QUICK) as box:
        await box.ready()
        pids = [machine.pid for machine in box.machines]

    assert all(pid is not None and not Path(f"/proc/{pid}").exists() for pid in pids)
