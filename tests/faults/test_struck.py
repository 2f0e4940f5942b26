"""The whole daemon, killed in the middle of a real rollback, or frozen while another takes over."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.struck import GOOD, applied_twice, left_on, struck
from tests.process.daemons import Running, images
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]


async def ends_well(daemon: Running) -> None:
    await daemon.until_outcome("recovered", 90)
    assert images(daemon.box) == {GOOD}
    assert applied_twice(daemon.box) == []
    assert left_on(daemon.box) == []  # a lease of the dead too is given back, not waited for
    assert daemon.box.releases[-1].status == "complete"


@pytest.mark.parametrize(
    "point",
    [
        "after send:update:2",
        pytest.param("before send:cordon", marks=pytest.mark.slow),
        pytest.param("after done:release_record", marks=pytest.mark.slow),
        pytest.param("after send:lease:2", marks=pytest.mark.slow),
    ],
)
async def test_killed_there_its_successor_finishes(tmp_path: Path, point: str) -> None:
    async with struck(tmp_path, point) as daemon:
        await daemon.start()

        await ends_well(daemon)


@pytest.mark.parametrize(
    "point",
    [
        "before send:update:2",
        pytest.param("before send:cordon", marks=pytest.mark.slow),
        pytest.param("before send:create_release", marks=pytest.mark.slow),
        pytest.param("on send:cordon", marks=pytest.mark.slow),
        pytest.param("on send:update:2", marks=pytest.mark.slow),
        pytest.param("after started:machine:1", marks=pytest.mark.slow),
    ],
)
async def test_frozen_there_another_takes_over_and_the_woken_one_does_no_harm(
    tmp_path: Path, point: str
) -> None:
    """Without the last look of `Wire` the record is posted twice; with the dead one's lease kept
    (`app_lease._acquire`) its cordon comes late. An update is refused by the machine's version.
    """
    async with struck(tmp_path, point, by="STOP") as daemon:
        frozen = daemon.process
        assert frozen is not None
        try:
            await daemon.start()
            await until(lambda: "daemon.took_over" in daemon.log(), 30)
            await until(lambda: "rollback.resumed" in daemon.log(), 30)
            frozen.send_signal(signal.SIGCONT)
            code = await frozen.wait()
            await ends_well(daemon)
        finally:
            if frozen.returncode is None:
                frozen.kill()
                await frozen.wait()

        assert code == 75
        assert "daemon.deposed" in daemon.log()


@pytest.mark.slow
async def test_suspended_for_long_it_looks_around_before_it_does_anything(tmp_path: Path) -> None:
    """Without `going_on.check_awake` it would update the first machine before it comes to the one
    that a person changed meanwhile.
    """
    long = {"FAULT_IDLE_SECONDS": "2"}
    async with struck(tmp_path, "after done:release_status", by="STOP", extra=long) as daemon:
        box = daemon.box
        last = box.machines[0]  # of the plan
        config = {**last.config, "env": {"BY": "bill"}}
        box.platform.machines.update(last, {"config": config})
        before = len(box.effects)
        await asyncio.sleep(3)  # the length of the sleep is the experiment
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGCONT)

        told = await daemon.until_outcome("holding", 60)

        assert "changed while nobody looked" in str(told["detail"])
        assert [e for e in box.effects[before:] if e.action == "machine.update"] == []
        assert left_on(box) == []
