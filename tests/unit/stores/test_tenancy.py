"""One daemon at a time: the dead give way at once, the frozen after five seconds, fenced."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock, SystemClock
from rollbackd.core.errors import ConfigError, Fenced, Rejected, TemporaryError
from rollbackd.stores import lock, tenancy
from rollbackd.stores.database import untouchable
from rollbackd.stores.lock import DirectoryLock
from rollbackd.stores.sqlite import SqliteStore
from tests.support import until

HOLDER = """
import asyncio, sys
from pathlib import Path
from rollbackd.clock import SystemClock
from rollbackd.core.errors import Fenced
from rollbackd.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]), SystemClock())
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await store.put_blob("by", "the first")
    except Fenced as error:
        print("write:", error.message, flush=True)
    try:
        store.check_ours("update of m1")
    except Fenced as error:
        print("send:", error.message, flush=True)
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the directory; it tries to write when it is spoken to."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
async def heir(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, SystemClock())
    yield store
    await store.close()


@pytest.mark.process
async def test_a_frozen_holder_is_deposed_and_neither_writes_nor_sends_when_it_wakes(
    holder: subprocess.Popen[str], heir: SqliteStore
) -> None:
    told: list[str] = []
    holder.send_signal(signal.SIGSTOP)

    deposed = await heir.stand_by(told.append)
    await heir.open()
    await heir.put_blob("by", "the second")
    holder.send_signal(signal.SIGCONT)
    said, _ = await asyncio.to_thread(holder.communicate, "\n", 10)

    assert deposed
    assert len(told) == 1
    assert f"pid {holder.pid}" in told[0]
    lines = said.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["write", "send"]
    assert "took" in lines[0]
    assert "not sent: update of m1" in lines[1]
    assert await heir.get_blob("by") == "the second"
    heir.check_ours("update of m2")


@pytest.mark.process
async def test_a_holder_that_dies_gives_way_at_once_and_nobody_is_deposed(
    holder: subprocess.Popen[str],
    heir: SqliteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenancy, "_FROZEN_POLLS", 10_000)
    told: list[str] = []
    waiting = asyncio.create_task(heir.stand_by(told.append))
    await until(lambda: bool(told))

    holder.kill()

    assert await asyncio.wait_for(waiting, 2) is False
    await heir.close()
    again = DirectoryLock(tmp_path / "rollbackd.db.lock")
    again.take()  # what was never opened is given back, too
    again.release()


@pytest.mark.process
async def test_a_holder_that_lives_is_waited_for(
    holder: subprocess.Popen[str], heir: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(tenancy, "_FROZEN_POLLS", 20)
    waiting = asyncio.create_task(heir.stand_by(lambda _told: None))

    done, _ = await asyncio.wait({waiting}, timeout=4)  # twice what a frozen one is given

    assert not done
    waiting.cancel()


def test_of_two_who_wait_one_takes_the_place_of_the_frozen(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    frozen, first, second = (DirectoryLock(path) for _ in range(3))
    others = set(threading.enumerate())
    frozen.take()
    frozen._ended.set()
    for thread in set(threading.enumerate()) - others:
        thread.join()  # its heart stopped
    sign = frozen.sign_of_life()

    taken = [first.take_over(sign), second.take_over(sign)]

    assert taken == [True, False]
    assert (frozen.held, first.held) == (False, True)
    with pytest.raises(Rejected, match="another rollbackd uses"):
        second.take()
    for one in (frozen, first, second):
        one.release()


async def test_a_holder_that_moved_after_all_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    alive, other = DirectoryLock(path), DirectoryLock(path)
    alive.take()
    sign = alive.sign_of_life()

    await until(lambda: alive.sign_of_life() != sign)

    assert not other.take_over(sign)
    assert alive.held
    alive.release()


async def test_a_beat_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    failed = threading.Event()

    def refuse(_descriptor: int) -> None:
        failed.set()
        raise OSError("Input/output error")

    monkeypatch.setattr("os.utime", refuse)
    alive = DirectoryLock(tmp_path / "x.lock")
    alive.take()
    await until(failed.is_set)
    monkeypatch.undo()
    sign = alive.sign_of_life()

    await until(lambda: alive.sign_of_life() != sign)

    alive.release()


async def test_whoever_opens_after_us_ends_our_writing_even_past_the_lock(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path, FakeClock())
    await first.open()
    (tmp_path / "rollbackd.db.lock").unlink()  # as a person might, and must not
    second = SqliteStore(tmp_path, FakeClock())
    await second.open()

    with pytest.raises(Fenced, match=r"took .* over"):
        await first.put_blob("a", 1)
    with pytest.raises(Fenced, match="not sent: cordon of m1"):
        first.check_ours("cordon of m1")
    await second.put_blob("a", 2)
    await first.close()
    second.check_ours("the end of the first changes nothing")
    await second.close()


@pytest.mark.parametrize("name", ["rollbackd.db", "rollbackd.db.lock"])
async def test_what_is_no_file_of_ours_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    store = SqliteStore(tmp_path, SystemClock())

    async def begin() -> None:
        await store.stand_by(lambda _told: None)
        await store.open()

    with pytest.raises(ConfigError, match=f"cannot use .*{name}: Is a directory") as refused:
        await begin()
    await store.close()

    assert "ROLLBACKD_STATE" in refused.value.hint


async def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(ConfigError, match="cannot use the state directory"):
        await SqliteStore(tmp_path / "state", SystemClock()).stand_by(lambda _told: None)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_new_file_passes_and_what_is_not_ours_does_not(code: int) -> None:
    """A full disk is waited for at the start (`Tenure.begin`); the others end it."""
    full = untouchable(OSError(code, os.strerror(code)), "/data/rollbackd.db")
    foreign = untouchable(OSError(errno.EACCES, "Permission denied"), "/data/rollbackd.db")

    assert isinstance(full, TemporaryError)
    assert full.message == "no space left for /data/rollbackd.db"
    assert isinstance(foreign, ConfigError)
    assert foreign.message == "cannot use /data/rollbackd.db: Permission denied"
