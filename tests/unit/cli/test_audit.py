"""The record as people and programs read it, daemon or not."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from rollbackd.clock import FakeClock
from rollbackd.core.model import TargetName
from rollbackd.core.runbook import StepState
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision, plan

Run = Callable[..., Result]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "state"
    monkeypatch.setenv("ROLLBACKD_STATE", str(directory))

    async def leave() -> None:
        store = SqliteStore(directory, FakeClock(1000.5))
        await store.open()
        await store.record(decision())
        begun = await store.begin(decision(), plan(decision()))
        await store.note(begun.plan.rollback, 1, StepState.STARTED, fence=begun.fence)
        await store.record_line(
            "control", {"order": "pause", "by": "ann", "until": 7200.0}, target=TargetName("blog")
        )
        await store.close()

    asyncio.run(leave())
    return directory


def test_it_shows_one_target_or_all(state: Path, rollbackd: Run) -> None:
    everything, one = rollbackd("audit"), rollbackd("audit", "blog")

    assert everything.exit_code == one.exit_code == 0
    assert "boot" in everything.stdout
    assert "rollback_begun" in everything.stdout
    assert "1970-01-01 00:16:40Z" in one.stdout
    assert "by ann" in one.stdout
    assert "rollback_begun" not in one.stdout


def test_a_line_for_people_names_steps_and_tells_times(state: Path, rollbackd: Run) -> None:
    lines = rollbackd("audit").stdout.splitlines()

    (step,) = [line for line in lines if "  step " in line]
    name = plan(decision()).steps[0]
    assert f"  {name.phase.value}: {name.name}, seq 1, state started" in step
    (control,) = [line for line in lines if "  control " in line]
    assert control.endswith("control blog  order pause, by ann, until 1970-01-01 02:00:00Z")
    assert not any(", at " in line or "target shop" in line for line in lines)
    assert "e+" not in "".join(lines)


def test_what_nobody_knows_anything_of_is_said_to_be_so(state: Path, rollbackd: Run) -> None:
    told = rollbackd("audit", "shpo")

    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == "nothing is recorded of shpo\n"


def test_the_export_is_a_chain_that_anybody_can_check(state: Path, rollbackd: Run) -> None:
    told = rollbackd("audit", "export", "--verify")

    assert told.exit_code == 0
    assert "the chain holds" in told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["kind"] for line in lines] == [
        "boot", "decision", "rollback_begun", "step", "control",
    ]  # fmt: skip
    previous = ""
    for line in lines:
        body = json.dumps(line["data"], separators=(",", ":"))
        words = (previous, repr(line["at"]), line["kind"], line["target"], line["rollback"], body)
        previous = hashlib.sha256("\n".join(words).encode()).hexdigest()
        assert line["hash"] == previous


def test_a_line_that_was_changed_is_named(state: Path, rollbackd: Run) -> None:
    file = sqlite3.connect(state / "rollbackd.db", isolation_level=None)
    file.execute("DROP TRIGGER audit_is_never_rewritten")
    file.execute("UPDATE audit SET data = '{}' WHERE kind = 'decision'")
    file.close()

    told, alone = rollbackd("audit", "export", "--verify"), rollbackd("audit", "verify")

    assert told.exit_code == alone.exit_code == 1
    assert "broken at line 2" in told.stderr
    assert (alone.stdout, "broken at line 2" in alone.stderr) == ("", True)


def test_the_chain_alone_is_checked_for_all_targets(state: Path, rollbackd: Run) -> None:
    told, of_one = rollbackd("audit", "verify"), rollbackd("audit", "verify", "blog")

    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "the chain holds\n")
    assert of_one.exit_code == 2


def test_without_state_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rollbackd: Run
) -> None:
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "nowhere"))

    told = rollbackd("audit")

    assert told.exit_code == 69
    assert "nowhere" in told.stderr
    assert rollbackd("audit", "export", "a", "b").exit_code == 2
