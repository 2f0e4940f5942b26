"""The demo as a newcomer starts it: every scenario ends as it says, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollbackd.sandbox.processes import bare_environment
from rollbackd.sandbox.scenarios import SCENARIOS
from tests.support import until

pytestmark = pytest.mark.process

KEYS = {
    "scenario", "outcome", "trigger", "reason", "from_version", "to_version", "onset_at",
    "decided_at", "recovered_at", "seconds_to_decide", "seconds_to_recover", "failed_requests",
    "served_requests", "journal",
}  # fmt: skip
LONGEST_SECONDS = 170.0  # one scenario waits for the second minute of a release


async def demo(directory: Path, *arguments: str) -> Process:
    """A demo with a process group and a place for temporary files of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollbackd", "demo", "--headless", *arguments),
        cwd=directory,
        env=bare_environment({"TMPDIR": str(directory)}),
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


async def nothing_is_left(process: Process, directory: Path) -> None:
    await until(lambda: group_is_empty(process.pid), seconds=5)
    assert list(directory.iterdir()) == []


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, unlike tmp_path: the daemon's socket lies below it."""
    with tempfile.TemporaryDirectory(prefix="newcomer-") as made:
        Path(made).chmod(0o711)  # as root, the server of one scenario runs as nobody in there
        yield Path(made)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS],
)
async def test_a_scenario_ends_as_it_says_and_leaves_nothing_behind(name: str, place: Path) -> None:
    process = await demo(place, "--json", "--scenario", name)
    async with asyncio.timeout(LONGEST_SECONDS):
        out, told = await process.communicate()

    assert process.returncode == 0, told.decode()
    wire = json.loads(out)
    assert set(wire) == KEYS
    expected = SCENARIOS[name]
    assert (wire["scenario"], wire["outcome"]) == (name, expected.outcome)
    if expected.outcome == "recovered":
        judge_recovered(wire)
    else:
        judge_held(wire, expected.reason)
    await nothing_is_left(process, place)


def judge_recovered(wire: dict[str, Any]) -> None:
    assert (wire["from_version"], wire["to_version"]) == (2, 1)
    assert wire["decided_at"] < wire["recovered_at"]
    for name, until_name in (("decide", "decided_at"), ("recover", "recovered_at")):
        onset, seconds = wire["onset_at"], wire[f"seconds_to_{name}"]
        if onset is None:  # it never came to a user
            assert seconds is None
        else:
            assert seconds == pytest.approx(wire[until_name] - onset, abs=0.01)
    assert wire["served_requests"] > 0
    times = [line["at"] for line in wire["journal"]]
    assert times
    assert times == sorted(times)
    assert all(set(line) == {"at", "step", "event", "detail"} for line in wire["journal"])
    assert any(line["step"].startswith("execute: bring") for line in wire["journal"])


def judge_held(wire: dict[str, Any], reason: str) -> None:
    assert wire["reason"] == reason
    assert wire["to_version"] is None
    assert wire["recovered_at"] is None
    assert wire["seconds_to_recover"] is None
    assert wire["journal"] == []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
async def test_a_demo_that_is_stopped_takes_its_processes_with_it(
    number: signal.Signals, place: Path
) -> None:
    process = await demo(place)
    assert process.stdout is not None
    async with asyncio.timeout(LONGEST_SECONDS):
        assert b"a local Fly" in await process.stdout.readline()
        process.send_signal(number)
        out, _ = await process.communicate()

    assert process.returncode == 130
    assert out.decode().endswith("stopped: nothing is left running\n")
    await nothing_is_left(process, place)


@pytest.mark.slow
async def test_a_long_temporary_directory_is_no_obstacle(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    process = await demo(long)
    assert process.stdout is not None
    async with asyncio.timeout(LONGEST_SECONDS):
        told = [(await process.stdout.readline()).decode() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    await process.communicate()

    assert "v1 is known to be good" in told[2]


async def test_an_unknown_scenario_names_the_ones_there_are(place: Path) -> None:
    process = await demo(place, "--scenario", "errosr")
    _, told = await process.communicate()

    assert process.returncode == 2
    assert "not-to-blame" in told.decode()
