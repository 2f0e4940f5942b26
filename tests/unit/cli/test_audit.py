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
        await store.begin(decision(), plan(decision()))
        await store.record_line(
            "control", {"order": "pause", "by": "ann"}, target=TargetName("blog")
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


def test_the_export_is_a_chain_that_anybody_can_check(state: Path, rollbackd: Run) -> None:
    told = rollbackd("audit", "export", "--verify")

    assert told.exit_code == 0
    assert "the chain holds" in told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["boot", "decision", "rollback_begun", "control"]
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

    told = rollbackd("audit", "export", "--verify")

    assert told.exit_code == 1
    assert "broken at line 2" in told.stderr


def test_without_state_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rollbackd: Run
) -> None:
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "nowhere"))

    told = rollbackd("audit")

    assert told.exit_code == 69
    assert "nowhere" in told.stderr
    assert rollbackd("audit", "export", "a", "b").exit_code == 2
