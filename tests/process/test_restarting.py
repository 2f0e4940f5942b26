"""The daemon is killed and started again: it knows who is to blame, and accuses nobody else."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.process.daemons import CONFIGURATION, Running, images, running
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

# A busy machine looks late now and then; that is no gap here, and not what is tested.
PATIENT = (
    CONFIGURATION.replace("        probe: ", "        max_age: 10s\n        probe: ")
    .replace("interval: 500ms, timeout: 450ms", "interval: 2s, timeout: 2s")
    .replace("for: 1s", "for: 0s")
)


async def sees(daemon: Running, version: int) -> None:
    async def seen() -> bool:
        target = await daemon.target()
        return bool(target and target["release"] and target["release"]["version"] == version)

    await until(seen, 40)


async def settled(daemon: Running) -> dict[str, object]:
    return await daemon.until_outcome("recovered", 120)


async def test_killed_between_the_bad_deploy_and_the_decision_it_rolls_back_all_the_same(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(PATIENT)
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        assert await daemon.rollbacks() == []

        await daemon.end(signal.SIGKILL)
        await daemon.start()
        rollback = await settled(daemon)

        assert (rollback["from_version"], rollback["to_version"]) == (2, 1)
        assert rollback["trigger"] == "error-rate"
        assert rollback["requested_by"] == "rollbackd"
        assert images(daemon.box) == {"good"}


@pytest.mark.slow
async def test_killed_with_the_release_seen_it_rolls_back_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(PATIENT)
        await daemon.start()
        await daemon.until_known_good()
        deploy = asyncio.create_task(daemon.box.deploy(image="errors-60"))
        await sees(daemon, 2)
        assert await daemon.rollbacks() == []

        await daemon.end(signal.SIGKILL)
        await deploy
        await daemon.start()
        await settled(daemon)

        assert images(daemon.box) == {"good"}


@pytest.mark.slow
async def test_a_restart_while_all_is_well_is_no_reason_for_anything(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        daemon.configure(PATIENT)
        await daemon.start()
        await daemon.until_known_good()

        for number in (signal.SIGKILL, signal.SIGTERM):
            await daemon.end(number)
            await daemon.start()
            await daemon.until_known_good()

        assert await daemon.rollbacks() == []
        assert "Traceback" not in daemon.log()
