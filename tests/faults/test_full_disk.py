"""A disk that is really full, in the middle of a rollback and at the start: nobody restarts it."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.struck import GOOD, applied_twice, begin, faulty
from tests.process.daemons import Running, images
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]

MOUNT = 'mount -t tmpfs -o size=4m,mode=700 none "$ROLLBACKD_STATE" && {fill} exec "$0" "$@"'
FILL = 'head -c 5m /dev/zero > "$ROLLBACKD_STATE/filler" 2>/dev/null;'


@contextlib.asynccontextmanager
async def small(directory: Path, *, fill: str = "") -> AsyncIterator[Running]:
    """A daemon whose state directory is a disk of 4 MiB of its own."""
    short = Path(tempfile.mkdtemp(prefix="rb"))  # a socket's path may have 100 characters
    try:
        async with faulty(directory) as daemon:
            daemon.state = short
            daemon.wrapper = ("unshare", "-Urm", "sh", "-c", MOUNT.format(fill=fill))
            yield daemon
    finally:
        shutil.rmtree(short)


def inside(daemon: Running) -> Path:
    """The mounted directory as seen from outside, now that the process is there."""
    assert daemon.process is not None
    return Path(f"/proc/{daemon.process.pid}/root{daemon.state}")


def fill(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory / "filler").open("ab", buffering=0) as file:
        for size in (65_536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


async def stopped(daemon: Running, point: str) -> Path:
    """Until it stands still at that point of a rollback; its directory."""
    daemon.extra |= {"FAULT_POINT": point, "FAULT_SIGNAL": "STOP"}
    await daemon.start()
    await until(lambda: "daemon.started" in daemon.log(), 40)
    daemon.state = inside(daemon)
    await begin(daemon)
    await until((daemon.directory / "hit").exists, 60)
    return daemon.state


async def test_the_ballast_carries_a_rollback_to_its_end(tmp_path: Path) -> None:
    async with small(tmp_path) as daemon:
        state = await stopped(daemon, "after done:release_record")
        ballast = (state / "ballast").stat()
        assert ballast.st_size >= 2**18
        fill(state)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGCONT)

        await daemon.until_outcome("recovered", 90)

        with contextlib.suppress(FileNotFoundError):  # else it was made again, of what was left
            assert (state / "ballast").stat().st_ino != ballast.st_ino
        assert images(daemon.box) == {GOOD}
        assert applied_twice(daemon.box) == []


@pytest.mark.parametrize(
    "point",
    [
        "before done:machine:1",
        pytest.param("before started:machine:1", marks=pytest.mark.slow),
        pytest.param("before started:verify", marks=pytest.mark.slow),
    ],
)
async def test_without_ballast_it_waits_and_goes_on_when_there_is_space(
    tmp_path: Path, point: str
) -> None:
    async with small(tmp_path) as daemon:
        state = await stopped(daemon, point)
        (state / "ballast").unlink()
        fill(state)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGCONT)
        await until(lambda: '"op": "journal"' in daemon.log(), 40)
        before = len(daemon.box.effects)
        done = [e for e in daemon.box.effects[before:] if e.op_id]
        (state / "filler").unlink()

        await daemon.until_outcome("recovered", 90)

        assert done == []  # nothing is done that is not written down
        assert images(daemon.box) == {GOOD}
        assert applied_twice(daemon.box) == []


async def test_on_a_full_disk_it_starts_as_soon_as_there_is_space(tmp_path: Path) -> None:
    async with small(tmp_path, fill=FILL) as daemon:
        await daemon.start()
        await until(lambda: "store.failed" in daemon.log(), 40)
        assert daemon.process is not None
        assert daemon.process.returncode is None

        (inside(daemon) / "filler").unlink()

        await until(lambda: "daemon.started" in daemon.log(), 20)
        assert await daemon.end() == 0
