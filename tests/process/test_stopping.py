"""Every way of stopping it, each while a rollback runs (design section 5)."""

import signal
from pathlib import Path

import pytest

from tests.process.daemons import Running, images, running
from tests.support import until

pytestmark = pytest.mark.process


async def rolling(daemon: Running) -> None:
    """Until the first machine was given back to the good release, and not the last."""
    await daemon.start()
    await daemon.until_known_good()
    await daemon.box.deploy(image="errors-60")
    await until(lambda: 1 <= updates(daemon) < 3, 40)


def updates(daemon: Running) -> int:
    return sum(1 for e in daemon.box.effects if e.op_id and e.action == "machine.update")


@pytest.mark.slow
async def test_a_stop_file_stands_still_and_goes_on_when_it_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await rolling(daemon)
        (daemon.state / "STOP").touch()
        seen = updates(daemon)

        async def holding() -> bool:
            return [r["state"] for r in await daemon.rollbacks()] == ["holding"]

        await until(holding, 30)
        still = updates(daemon)
        (daemon.state / "STOP").unlink()
        await daemon.until_outcome("recovered")

        assert still <= seen + 1
        assert images(daemon.box) == {"good"}


async def test_sigterm_leaves_in_time_and_the_successor_finishes(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await rolling(daemon)

        code = await daemon.end(signal.SIGTERM)
        await daemon.start()
        await daemon.until_outcome("recovered")

        assert code == 0
        assert images(daemon.box) == {"good"}
        assert updates(daemon) == 3
        assert not any(m.cordoned for m in daemon.box.machines)


@pytest.mark.slow
async def test_killed_without_warning_it_goes_on_where_it_was(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await rolling(daemon)

        await daemon.end(signal.SIGKILL)
        await daemon.start()
        await daemon.until_outcome("recovered")

        assert updates(daemon) == 3
        records = [
            e
            for e in daemon.box.effects
            if e.action == "release.create" and e.request_id != "inside"
        ]
        assert len(records) == 1


@pytest.mark.slow
async def test_the_mode_observe_ends_acting_and_cordons_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await rolling(daemon)
        await daemon.end(signal.SIGTERM)
        seen = updates(daemon)
        daemon.extra = {"ROLLBACKD_MODE": "observe"}
        await daemon.start()

        async def holding() -> bool:
            return [r["state"] for r in await daemon.rollbacks()] == ["holding"]

        await until(holding, 30)
        await until(lambda: not any(m.cordoned for m in daemon.box.machines))
        assert updates(daemon) == seen


@pytest.mark.slow
async def test_a_revoked_token_holds_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await rolling(daemon)
        token = daemon.box.urls.token
        for name in (token, f"fm2_{token}"):
            daemon.box.world.tokens.pop(name)

        rollback = await daemon.until_outcome("holding")

        assert "token" in rollback["detail"] or "401" in rollback["detail"]


@pytest.mark.slow
async def test_a_pause_lets_nothing_new_begin(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.post("/api/v1/targets/shop/pause", seconds=600, reason="a migration")
        await daemon.box.deploy(image="errors-60")

        async def paused() -> bool:
            return await daemon.reason() == "paused"

        await until(paused, 40)
        assert await daemon.rollbacks() == []
        await daemon.post("/api/v1/targets/shop/resume", reason="it is done")
        await daemon.until_outcome("recovered")
