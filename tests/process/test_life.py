"""How the process lives and ends: each with its code, and nothing decided by a clock."""

import asyncio
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.faults.struck import faulty
from tests.process.daemons import Running, running
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def up(daemon: Running) -> None:
    await daemon.start()

    async def answers() -> bool:
        return await daemon.target() is not None

    await until(answers, 40)


async def ended(daemon: Running, seconds: float = 30) -> int:
    assert daemon.process is not None
    async with asyncio.timeout(seconds):
        return await daemon.process.wait()


async def test_it_stands_by_for_a_living_daemon_and_goes_on_when_that_one_ends(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, machines=1) as daemon:
        await up(daemon)
        first = daemon.process
        assert first is not None
        await daemon.start()
        second = daemon.process
        assert second is not None
        await until(lambda: "daemon.stood_by" in daemon.log(), 20)
        assert f"pid {first.pid}" in daemon.log()

        first.send_signal(signal.SIGTERM)
        code = await first.wait()
        await until(lambda: daemon.log().count("daemon.started") == 2, 20)

        assert code == 0
        assert "daemon.took_over" not in daemon.log()
        assert await daemon.end() == 0


async def test_one_that_stands_by_leaves_when_it_is_told_to(tmp_path: Path) -> None:
    async with running(tmp_path, machines=1) as daemon:
        await up(daemon)
        first = daemon.process
        assert first is not None
        await daemon.start()
        await until(lambda: "daemon.stood_by" in daemon.log(), 20)

        code = await daemon.end()

        assert code == 0
        assert await daemon.target() is not None  # the socket is still the first one's
        first.kill()
        await first.wait()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with faulty(tmp_path, machines=1) as daemon:
        daemon.extra |= {"FAULT_SLOW_DRAIN": "20"}
        await up(daemon)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        await until(lambda: "daemon.stop_asked" in daemon.log(), 10)
        began = time.monotonic()

        daemon.process.send_signal(signal.SIGINT)

        assert await ended(daemon) == 128 + signal.SIGINT
        assert time.monotonic() - began < 2


@pytest.mark.slow
async def test_it_leaves_in_fifteen_seconds_whatever_hangs(tmp_path: Path) -> None:
    async with faulty(tmp_path, machines=1) as daemon:
        daemon.extra |= {"FAULT_SLOW_DRAIN": "60"}
        await up(daemon)
        began = time.monotonic()

        code = await daemon.end()

        assert code == 70
        assert time.monotonic() - began < 15
        assert "daemon.left_late" in daemon.log()


async def test_a_loop_that_hangs_ends_the_process_and_says_where(tmp_path: Path) -> None:
    async with faulty(tmp_path, machines=1) as daemon:
        daemon.extra |= {"FAULT_STUCK_SECONDS": "2"}
        await up(daemon)

        (tmp_path / "hang").touch()

        assert await ended(daemon) == 70
        assert "daemon.stuck" in daemon.log()
        assert "_hanging" in daemon.log()  # the stack tells who


async def test_a_process_frozen_as_a_whole_is_not_taken_for_stuck(tmp_path: Path) -> None:
    async with faulty(tmp_path, machines=1) as daemon:
        daemon.extra |= {"FAULT_STUCK_SECONDS": "2"}
        await up(daemon)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(4)  # longer than the watchdog waits: the length is the experiment
        daemon.process.send_signal(signal.SIGCONT)

        async def turns() -> bool:
            return await daemon.target() is not None

        await until(turns)
        assert "daemon.stuck" not in daemon.log()
        assert await daemon.end() == 0


async def test_state_of_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path, machines=1) as daemon:
        await up(daemon)
        await daemon.end()
        file = sqlite3.connect(daemon.state / "rollbackd.db")
        file.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        file.commit()
        file.close()

        await daemon.start()

        assert await ended(daemon) == 78
        assert "written by a newer rollbackd" in daemon.log()
        assert "run the newer rollbackd" in daemon.log()


async def test_on_fly_a_disk_that_does_not_last_is_refused_unless_told(tmp_path: Path) -> None:
    async with running(tmp_path, machines=1) as daemon:
        daemon.extra = {"FLY_MACHINE_ID": "d8901"}
        same_disk = tmp_path.stat().st_dev == Path("/").stat().st_dev
        if same_disk:
            await daemon.start()
            assert await ended(daemon) == 78
            assert "ROLLBACKD_ALLOW_EPHEMERAL=1" in daemon.log()
        daemon.extra |= {"ROLLBACKD_ALLOW_EPHEMERAL": "1"}
        await up(daemon)
        assert await daemon.end() == 0, daemon.log()[-4000:]


def off(daemon: Running, seconds: float) -> None:
    (daemon.directory / "clock.new").write_text(str(seconds))
    (daemon.directory / "clock.new").replace(daemon.directory / "clock")


@pytest.mark.parametrize(
    "seconds", [7200.0, pytest.param(-7200.0, marks=pytest.mark.slow)], ids=["forward", "back"]
)
async def test_a_clock_that_is_set_decides_nothing_and_the_watch_begins_anew(
    tmp_path: Path, seconds: float
) -> None:
    async with faulty(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()

        off(daemon, seconds)

        await until(lambda: "clock.taken" in daemon.log(), 10)
        now = time.time() + seconds

        async def sees_again() -> bool:  # the sandbox's Prometheus lives in the old time
            target = await daemon.target()
            if target is None or target["decision"] is None:
                return False
            states = {t["name"]: t["state"] for t in target["triggers"]}
            return states["health-down"] == "ok" and abs(target["decision"]["at"] - now) < 60

        await until(sees_again, 40)
        assert await daemon.rollbacks() == []
        kinds = [line[0] for line in record(daemon)]
        assert kinds.count("clock_jumped") == 1
        assert await daemon.end() == 0


@pytest.mark.slow
async def test_a_clock_that_is_set_while_it_rolls_back_waits_for_the_end(tmp_path: Path) -> None:
    async with faulty(tmp_path, boot_seconds=1.0) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        await until(lambda: "rollback.step_started" in daemon.log(), 40)

        off(daemon, 7200.0)
        rollback = await daemon.until_outcome("recovered")

        assert "clock.jumped" in daemon.log()
        assert "clock.taken" not in daemon.log()  # its cool-down counts on the old time
        assert rollback["proved_at"] - rollback["decided_at"] < 120
        assert len(await daemon.rollbacks()) == 1


def record(daemon: Running) -> list[tuple[str, str]]:
    file = sqlite3.connect(daemon.state / "rollbackd.db")
    try:
        return file.execute("SELECT kind, data FROM audit ORDER BY id").fetchall()
    finally:
        file.close()
