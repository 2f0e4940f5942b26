"""Killed at any step of a restore: a successor finishes it, the rows come back once, and no machine
stays down.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import StepState
from rollbackd.sandbox.server import Sandbox
from tests.postgres.restoring import (
    FIRST,
    HARMED,
    QUICK,
    STATE,
    WELL,
    Where,
    harm,
    house,
    policy,
    taken,
    unfenced,
)
from tests.postgres.shop import execute

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
# Every other point is in `make faults`: tests/faults/test_dying_data.py.
SHORT = ("done stop_machine", "sent")


async def killed_and_finished(
    database: str, state: Path, point: str, *, change: str = "", abort: bool = False
) -> None:
    """Also with rows written in the dead time: a second COMMIT would take them away again.
    `change`: of the schema, since the snapshot. `abort`: a person ends it instead.
    """
    async with Sandbox(machines=2, rate_limits=False, **QUICK) as box:
        await box.ready()
        execute(database, FIRST)
        where = Where.of(box, database, state)
        chosen = await taken(where)
        harm(database)
        execute(database, change or "SELECT")
        given = json.dumps({**asdict(where), "state": str(state)})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.postgres.dying_data", given, chosen.id, point), cwd=ROOT
        )
        assert await process.wait() == -9
        over = execute(database, STATE) == WELL
        if over:
            execute(database, "INSERT INTO products VALUES (77, 'px')")

        async with house(where, policy()) as made:
            (left,) = await made.store.unfinished()
            rows = {row.step.kind: row for row in left.rows}
            if abort:
                assert await made.runner.abort(left.plan.rollback, by="ann", reason="no") == ""
                assert execute(database, STATE) == HARMED
                assert await unfenced(box)
                return
            outcomes = await made.resume()
            done = await made.store.journal(left.plan.rollback)

        assert outcomes == [RollbackOutcome.RECOVERED], done and done.reason
        if point == "sent":
            assert rows["data_restore"].state is StepState.STARTED
        assert execute(database, "SELECT count(*) FROM products WHERE name LIKE 'p%%'") == [
            (11 if over else 10,)
        ]
        assert execute(database, "SELECT count(*) FROM orders") == [(100,)]
        assert await unfenced(box)
        # What the killed one restored beside is gone too: it is as large as the database.
        left_over = (
            "SELECT datname FROM pg_database WHERE starts_with(datname, 'rollbackd_scratch')"
        )
        assert execute(database, left_over) == []


@pytest.mark.parametrize("point", SHORT)
async def test_a_successor_finishes_what_was_killed_and_commits_once(
    database: str, tmp_path: Path, point: str
) -> None:
    await killed_and_finished(database, tmp_path / "state", point)
