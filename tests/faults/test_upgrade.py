"""The daemon is exchanged for a newer or an older one in the middle of a rollback, at each step."""

import json
import sqlite3
from pathlib import Path

import pytest

from rollbackd.core.errors import ConfigError
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import StepState
from rollbackd.sandbox.server import Sandbox
from rollbackd.stores.schema_sql import SCHEMA_VERSION
from rollbackd.stores.sqlite import SqliteStore
from tests.faults.dying import Life, Lives
from tests.faults.struck import left_on
from tests.faults.test_crash_points import live, start
from tests.process.daemons import images
from tests.support_runner import SHORT, FakeExecutor, House, World

OLDER = """
    ALTER TABLE incident DROP COLUMN spent_by;
    UPDATE meta SET value = '1' WHERE key = 'schema_version';
"""
NEWER = "UPDATE meta SET value = '99' WHERE key = 'schema_version'"
BACK = f"UPDATE meta SET value = '{SCHEMA_VERSION}' WHERE key = 'schema_version'"


def altered(directory: Path, script: str) -> None:
    file = sqlite3.connect(directory / "rollbackd.db")
    file.executescript(script)
    file.close()


@pytest.mark.parametrize("seq", range(1, len(SHORT) + 1))
async def test_a_newer_one_brings_the_file_up_to_date_and_goes_on(tmp_path: Path, seq: int) -> None:
    world = World()
    house = House(tmp_path, FakeExecutor(world, shape=SHORT))
    await start(house, ("after started", seq))
    assert await live(house, first=True) == []
    altered(tmp_path, OLDER)

    await start(house, None)

    assert await live(house, first=False) == [RollbackOutcome.RECOVERED]
    assert sorted(step.seq for step in world.effects) == [2, 3]


@pytest.mark.parametrize("seq", range(1, len(SHORT) + 1))
async def test_an_older_one_refuses_the_file_and_the_newer_one_goes_on(
    tmp_path: Path, seq: int
) -> None:
    world = World()
    house = House(tmp_path, FakeExecutor(world, shape=SHORT))
    await start(house, ("after started", seq))
    await live(house, first=True)
    altered(tmp_path, NEWER)
    before = len(world.effects)

    with pytest.raises(ConfigError, match="written by a newer rollbackd"):
        await SqliteStore(tmp_path, house.clock).open()
    assert len(world.effects) == before
    altered(tmp_path, BACK)
    await start(house, None)

    assert await live(house, first=False) == [RollbackOutcome.RECOVERED]
    assert sorted(step.seq for step in world.effects) == [2, 3]


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seq", [1, 10, 11])
async def test_a_plan_with_a_step_nobody_here_knows_holds_and_lets_go(
    tmp_path: Path, seq: int
) -> None:
    """Without `app_words.kind_of` the daemon ends of it, again and again."""
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    async with Sandbox(machines=1, rate_limits=False, **quick) as box:
        await box.ready()
        lives = Lives(box, tmp_path)
        await lives.learn()
        await box.deploy(image="errors-60", strategy="immediate")
        await lives.live(Life(f"before {StepState.STARTED.value} {seq}:1"), "begin")
        _foreign(tmp_path, seq)

        (outcome,) = await lives.live(Life(), "resume")

        assert outcome in {RollbackOutcome.HOLDING, RollbackOutcome.FAILED_BEFORE_EFFECT}
        assert "knows no step of kind teleport" in str(lives.told)
        assert left_on(box) == []
        assert images(box) == {"errors-60"}


def _foreign(directory: Path, seq: int) -> None:
    file = sqlite3.connect(directory / "rollbackd.db")
    ((text,),) = file.execute("SELECT plan FROM rollback").fetchall()
    plan = json.loads(text)
    plan["steps"][seq - 1]["kind"] = "teleport"
    file.execute("UPDATE rollback SET plan = ?", (json.dumps(plan),))
    file.commit()
    file.close()
