"""A deploy left half-way on the sandbox: what single machines of two releases are seen to do."""

from typing import Any

from rollbackd.core.facts import Check, CheckOutcome, Measure, Ratio
from rollbackd.core.ports import ByMachine, Probe
from rollbackd.plugins import ProbeContext
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import Rig
from tests.support import until
from tests.unit.probes.loopback import build, context

WINDOW = 2.0


def about(sandbox: Sandbox, rig: Rig) -> ProbeContext:
    urls = sandbox.urls
    return context(
        url=urls.proxy_url,
        platform=rig.platform,
        prometheus=urls.prometheus_url,
        token=urls.read_token,
        interval=WINDOW,
    )


async def half_deployed(sandbox: Sandbox, image: str) -> str:
    """One of three machines has the new image, and stays the only one. Returns its id."""
    sandbox.world.settings.scrape_seconds = 0.2
    await sandbox.deploy(image=image, outcome="killed", after=1)
    await sandbox.ready()
    (new,) = [m for m in sandbox.machines if m.metadata["fly_release_version"] == "2"]
    return new.id


async def parts_of_all(probe: Probe) -> dict[str, Measure]:
    """Looks until every machine was there for all of the time looked at."""
    found: dict[str, Measure] = {}

    async def all_of_them() -> bool:
        reading = await probe.take()
        found.clear()
        found.update(reading.parts if isinstance(reading, ByMachine) else ())
        return len(found) == 3

    try:
        await until(all_of_them, 30)
    finally:
        await probe.close()
    return found


def share(part: Measure) -> float:
    assert isinstance(part, Ratio), part
    return part.bad / part.total


def outcome(part: Measure) -> CheckOutcome:
    assert isinstance(part, Check), part
    return part.outcome


async def seen(sandbox: Sandbox, rig: Rig, kind: str, config: Any) -> dict[str, Measure]:
    return await parts_of_all(build(kind, config, about(sandbox, rig)))


async def test_a_dependency_that_breaks_after_the_deploy_hurts_old_and_new_alike(
    sandbox: Sandbox, rig: Rig
) -> None:
    await half_deployed(sandbox, "good-v2")
    await sandbox.platform.dependencies["shop"].down()
    sandbox.traffic(60)

    pages = await seen(sandbox, rig, "http", {"path": "/"})
    errors = await seen(sandbox, rig, "fly_edge", {"preset": "errors", "delay": "0s"})

    assert {outcome(part) for part in pages.values()} == {CheckOutcome.FAILED}
    assert {share(part) for part in errors.values()} == {1.0}


async def test_a_bad_release_hurts_its_own_machine_only(sandbox: Sandbox, rig: Rig) -> None:
    new = await half_deployed(sandbox, "errors-100")
    sandbox.traffic(60)

    pages = await seen(sandbox, rig, "http", {"path": "/"})
    errors = await seen(sandbox, rig, "fly_edge", {"preset": "errors", "delay": "0s"})

    assert {m for m, part in pages.items() if outcome(part) is CheckOutcome.FAILED} == {new}
    assert {m for m, part in errors.items() if share(part) > 0} == {new}
    assert share(errors[new]) == 1.0


async def test_looks_at_machines_are_no_calls_of_the_api(sandbox: Sandbox, rig: Rig) -> None:
    await half_deployed(sandbox, "good-v2")
    await rig.platform.machines()  # as the watch does every few seconds
    lists = sandbox.faults.add("slow", path=r"/machines$", method="GET", seconds=0.0, count=100)
    probe = build("http", {"path": "/"}, about(sandbox, rig))

    for _ in range(5):
        assert isinstance(await probe.take(), ByMachine)
    await probe.close()

    assert lists.struck == 0
