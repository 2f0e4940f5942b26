"""What a real rollback took is given back, however it ends: somebody deploys, somebody aborts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.model import RollbackOutcome
from rollbackd.core.policy import Traffic
from rollbackd.sandbox.server import Sandbox
from tests.faults.dying import Life, Lives
from tests.faults.struck import left_on
from tests.faults.test_let_go import let_go
from tests.process.daemons import images
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    async with Sandbox(machines=2, rate_limits=False, **quick) as made:
        await made.ready()
        yield made


@pytest.fixture
async def lives(box: Sandbox, tmp_path: Path) -> Lives:
    """Traffic is stopped for the whole rollback, the bad release is out."""
    made = Lives(box, tmp_path, Traffic.STOP)
    await made.learn()
    await box.deploy(image="errors-60", strategy="immediate")
    return made


def out_of_traffic(box: Sandbox) -> list[str]:
    return [one.id for one in box.machines if one.cordoned]


async def only(box: Sandbox) -> dict[str, Any]:
    return {"cordoned": out_of_traffic(box), "left": left_on(box)}


@pytest.mark.parametrize("refused", [0, 2])
async def test_a_release_between_stop_and_switch_gets_its_traffic_back(
    box: Sandbox, lives: Lives, refused: int
) -> None:
    seen: list[list[str]] = []

    def deployed() -> None:
        seen.append(out_of_traffic(box))
        if refused:
            box.faults.add("status", method="POST", path="/uncordon$", status=500, count=refused)
        box.begin_deploy(image="newer", strategy="immediate")

    (outcome,) = await lives.live(Life("after done 9:1", deployed), "begin")

    assert len(seen[0]) >= 1
    assert outcome is RollbackOutcome.SUPERSEDED, lives.told[-3:]
    await until(lambda: images(box) == {"newer"})
    assert await only(box) == {"cordoned": [], "left": []}


async def test_an_abort_between_stop_and_switch_gives_traffic_back(
    box: Sandbox, lives: Lives
) -> None:
    asking: list[asyncio.Task[str]] = []

    (outcome,) = await lives.live(
        Life("after done 9:1", lambda: asking.append(abort(lives))), "begin"
    )

    assert outcome is RollbackOutcome.CANCELLED
    assert await asking[0] == ""
    assert images(box) == {"errors-60"}
    assert await only(box) == {"cordoned": [], "left": []}


@pytest.mark.parametrize("point", ["after turn compensating:1", "before end:1"])
async def test_an_abort_that_a_death_cut_short_is_carried_out_by_the_successor(
    box: Sandbox, lives: Lives, point: str
) -> None:
    """Without the line before it (`end_to`) the successor puts the good release back."""
    asking: list[asyncio.Task[str]] = []

    def aborted() -> None:
        asking.append(abort(lives))
        life.point, life.does = point, None

    life = Life("after done 9:1", aborted)
    assert await lives.live(life, "begin") == []
    await asyncio.gather(*asking, return_exceptions=True)  # nobody answered

    assert await lives.live(Life(), "resume") == [RollbackOutcome.CANCELLED]
    assert images(box) == {"errors-60"}
    assert await only(box) == {"cordoned": [], "left": []}


async def test_what_the_script_let_go_of_is_taken_out_of_traffic_again(
    box: Sandbox, lives: Lives, tmp_path: Path
) -> None:
    """Without it (`going_on._open_again`) the machines are changed while they serve."""
    assert await lives.live(Life("after done 9:1"), "begin") == []
    assert out_of_traffic(box) != []
    code, said = await let_go(box, tmp_path)
    assert (code, out_of_traffic(box)) == (0, []), said
    before = len(box.effects)

    assert await lives.live(Life(), "resume") == [RollbackOutcome.RECOVERED]

    for machine in box.machines:
        own = [e.action for e in box.effects[before:] if e.machine == machine.id]
        assert own.index("machine.cordon") < own.index("machine.update")
    assert await only(box) == {"cordoned": [], "left": []}


def abort(lives: Lives) -> asyncio.Task[str]:
    """A person asks; the task ends when they are answered."""
    journal = next(iter(lives.heard("rollback.step_started")))["rollback"]
    return asyncio.create_task(lives.runner.abort(journal, by="ann", reason="a sale"))
