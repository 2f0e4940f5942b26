"""kill -9 at random moments: nothing lost, nothing twice, phases in their order."""

import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollbackd.clock import SystemClock
from rollbackd.core.runbook import Phase
from rollbackd.stores.sqlite import SqliteStore
from tests.support_runner import LOOKS, WHOLE

ROOT = Path(__file__).parents[2]
KILLS = 30
ROLLBACKS = 15

pytestmark = pytest.mark.process


def victim(directory: Path, rollbacks: int = ROLLBACKS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.victim", str(directory), str(rollbacks)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def life(directory: Path, seconds: float | None) -> int:
    """Start it, let it work for so long after it is ready, kill it; None: let it end."""
    with victim(directory) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        if seconds is None:
            return process.wait(60)
        time.sleep(seconds)  # the length of the life is the experiment
        process.kill()
        return process.wait(10)


@pytest.mark.timeout(240)
async def test_a_daemon_killed_at_random_loses_and_repeats_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)

    def lives() -> int:
        kills = 0
        for _ in range(KILLS):
            kills += life(tmp_path, chance.uniform(0.0, 0.35)) == -9
        assert life(tmp_path, None) == 0
        return kills

    kills = await asyncio.to_thread(lives)

    assert kills >= KILLS // 3  # else it was finished before it could be killed
    store = SqliteStore(tmp_path, SystemClock())
    await store.open()
    history = await store.history(None, 1000)
    assert [one["outcome"] for one in history] == ["recovered"] * ROLLBACKS
    assert await store.record_broken_at() is None
    await store.close()
    effects = [json.loads(line) for line in (tmp_path / "effects").read_text().splitlines()]
    keys = [effect["op_key"] for effect in effects]
    assert len(keys) == len(set(keys))
    assert len(keys) == ROLLBACKS * sum(kind not in LOOKS for _, kind in WHOLE)
    order = [(effect["rollback"], list(Phase).index(effect["phase"])) for effect in effects]
    for rollback in {name for name, _ in order}:
        phases = [phase for name, phase in order if name == rollback]
        assert phases == sorted(phases)


async def test_a_second_process_on_the_same_directory_is_refused_by_pid(tmp_path: Path) -> None:
    def both() -> tuple[int, int, str]:
        with victim(tmp_path) as first:
            assert first.stdout is not None
            first.stdout.readline()
            with victim(tmp_path) as second:
                _, told = second.communicate(timeout=30)
                code = second.returncode
            first.kill()
        return first.pid, code, told

    pid, code, told = await asyncio.to_thread(both)

    assert code == 1
    assert f"another rollbackd uses {tmp_path}: pid {pid}" in told
