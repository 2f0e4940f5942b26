"""The configuration changes under a rollback: the daemon lives, and nothing is forgotten."""

import signal
from pathlib import Path

import pytest

from tests.process.daemons import CONFIGURATION, Running, images, running
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

RENAMED = CONFIGURATION.replace("  shop:\n", "  store:\n", 1)


def updates(daemon: Running) -> int:
    return sum(1 for e in daemon.box.effects if e.op_id and e.action == "machine.update")


async def test_a_rollback_waits_for_its_target_to_come_back_under_its_name(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.5) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        await until(lambda: 1 <= updates(daemon) < 3, 40)
        await daemon.end(signal.SIGKILL)
        seen = updates(daemon)
        daemon.configure(RENAMED)
        await daemon.start()
        await until(lambda: "shop is not in the configuration" in daemon.log(), 20)
        assert daemon.process is not None
        assert daemon.process.returncode is None

        daemon.configure(CONFIGURATION)
        reloaded = await daemon.post("/-/reload")
        await daemon.until_outcome("recovered")

        assert reloaded.status_code == 200
        assert seen < updates(daemon) == 3
        assert images(daemon.box) == {"good"}
        assert "Traceback" not in daemon.log()
