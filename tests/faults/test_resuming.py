"""How soon a successor acts: from its exec to the first thing it changes on the app."""

import os
import statistics
import time
from pathlib import Path

import pytest

from rollbackd.sandbox.server import Sandbox
from tests.faults.struck import struck
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(0)]

STARTS = int(os.environ.get("FAULT_STARTS", "1"))
SECONDS = float(
    os.environ.get("FAULT_RESUME_SECONDS", "10")
)  # `make faults`: 3, on a quiet machine


async def test_a_successor_acts_in_time(tmp_path: Path) -> None:
    """A wait anywhere in the start (`Tenure.begin`) makes it late."""
    found = []
    for number in range(STARTS):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with struck(directory, "before send:update:2") as daemon:
            held, since = _ours(daemon.box), time.perf_counter()
            await daemon.start()
            await until(lambda box=daemon.box, held=held: _ours(box) > held, 60)
            found.append(time.perf_counter() - since)

    print([round(seconds, 2) for seconds in found])  # noqa: T201 -- the figures of a long run
    assert statistics.median(found) <= SECONDS


def _ours(box: Sandbox) -> int:
    return sum(effect.request_id != "inside" for effect in box.effects)
