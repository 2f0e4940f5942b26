"""With no daemon alive the looks read the journal, and say that they do."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

from rollbackd.clock import SystemClock
from rollbackd.core.facts import (
    Announced,
    Paused,
    Quarantined,
    ReleasesSeen,
    RollbackSwitched,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Hold, HoldReason, TargetName
from rollbackd.core.runbook import RollbackState
from rollbackd.core.trial import WouldHave
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import SHOP, decision, plan, release

Run = Callable[..., Result]
BLOG = TargetName("blog")
COMMIT = "3f2a91c0" * 5


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory that a daemon left in the middle of a rollback."""
    directory = tmp_path / "state"
    monkeypatch.delenv("ROLLBACKD_URL", raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(directory))
    asyncio.run(leave(directory))
    return directory


async def leave(directory: Path) -> None:
    clock = SystemClock()
    store = SqliteStore(directory, clock)
    await store.open()
    try:
        now = clock.now()
        seen = ReleasesSeen(target=SHOP, at=now - 60, releases=(release(42), release(41)))
        await store.keep(seen)
        until = now + 3570
        await store.keep(Paused(target=BLOG, at=now, until=until, by="ann", reason="migration"))
        await store.keep(Paused(target=SHOP, at=now, until=now - 1, by="ann", reason="over"))
        await store.record(Hold(target=BLOG, at=now, reason=HoldReason.PAUSED, why="by ann"))
        await store.record(decision())
        journal = await store.begin(decision(), plan(decision()))
        await store.turn(journal.plan.rollback, RollbackState.RUNNING, fence=journal.fence)
    finally:
        await store.close()


def test_status_tells_the_last_decision_and_what_is_unfinished(state: Path, rollbackd: Run) -> None:
    told = rollbackd("status")

    assert told.exit_code == 0
    assert "no daemon answers on" in told.stderr
    lines = {line.split()[0]: line for line in told.stdout.splitlines()}
    assert "hold: paused" in lines["blog"]
    assert "in 59m" in lines["blog"]
    assert "roll_back: auto" in lines["shop"]
    found = json.loads(rollbackd("status", "--json").stdout)
    assert found["daemon"] == "down"
    (shop,) = [t for t in found["targets"] if t["name"] == "shop"]
    assert shop["paused_until"] is None
    assert shop["rollback"] == {"id": decision().id, "state": "running"}


def test_a_health_check_does_not_take_the_journal_for_a_daemon(state: Path, rollbackd: Run) -> None:
    assert rollbackd("status", "--quiet").exit_code == 69


def test_status_of_one_target_is_that_one_alone(state: Path, rollbackd: Run) -> None:
    told = rollbackd("status", "blog")

    assert "shop" not in told.stdout
    assert "blog" in told.stdout
    assert rollbackd("status", "nobody").exit_code == 2


def test_releases_are_those_last_seen(state: Path, rollbackd: Run) -> None:
    told = rollbackd("releases")

    assert told.exit_code == 0
    assert "as last seen 1m" in told.stderr
    lines = told.stdout.splitlines()
    assert lines[1].split()[:3] == ["*", "v42", "quarantined"]
    assert lines[2].split()[:3] == ["->", "v41", "unknown"]
    assert "v42 runs: quarantined, was rolled back to v41 by " in told.stdout
    assert "v41 is where a rollback would go now: unknown" in told.stdout
    assert rollbackd("releases", "nobody").exit_code == 2


def test_releases_know_what_was_known_and_said_before_the_daemon_went(
    state: Path, rollbackd: Run
) -> None:
    asyncio.run(leave_more(state))

    found = {
        r["version"]: r for r in json.loads(rollbackd("releases", "--json").stdout)["releases"]
    }

    assert {v: (r["standing"], r["commit"], r["author"]) for v, r in found.items()} == {
        44: ("quarantined", COMMIT, "ann"),
        43: ("good", "", ""),
        42: ("quarantined", "", ""),
        41: ("good", "", ""),
    }
    assert found[44]["why"] == "was quarantined by bob: leaks"
    assert (found[44]["current"], found[43]["goal"]) == (True, True)
    assert found[43]["why"] == "has the content of v41, which was well until its successor came"
    history = rollbackd("history").stdout
    assert "Would have acted, had the mode let it:" in history
    assert "v40 -> v39, observe_mode" in history


async def leave_more(directory: Path) -> None:
    """The rollback was done, then v44 came as announced and was quarantined by a person."""
    clock = SystemClock()
    store = SqliteStore(directory, clock)
    await store.open()
    try:
        now = clock.now()
        ledger = Ledger()
        ledger.prove_good(release(41), now)
        ledger.trial.note(
            WouldHave(
                version=40,
                to_version=39,
                at=now,
                trigger="errors",
                why="shop v40 is bad: errors",
                held_by="observe_mode",
                asks=False,
            )
        )
        ledger.authorship.hear(Announced(target=SHOP, at=now, commit=COMMIT, by="ann"))
        ledger.authorship.match([release(44)], now)
        await store.put_blob("ledger/shop", ledger.as_json())
        old = (release(42), release(41))
        await store.keep(RollbackSwitched(target=SHOP, at=now, rollback=decision().id, version=43))
        ours = replace(release(43), content=release(41).content)
        for at, seen in ((now + 1, (ours, *old)), (now + 2, (release(44), ours, *old))):
            await store.keep(ReleasesSeen(target=SHOP, at=at, releases=seen))
        said = Quarantined(target=SHOP, at=now + 3, version=44, by="bob", reason="leaks")
        await store.keep(said)
    finally:
        await store.close()


@pytest.mark.parametrize("command", ["releases", "history"])
def test_a_damaged_ledger_is_one_line_that_names_it(
    state: Path, rollbackd: Run, command: str
) -> None:
    with sqlite3.connect(state / "rollbackd.db") as connection:
        row = ("ledger/shop", '{"good": [41', 0)
        connection.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", row)

    told = rollbackd(command, "shop")

    assert told.exit_code == 1
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: what is kept as ledger/shop in ")
    assert "is damaged" in line


def test_history_is_the_journal(state: Path, rollbackd: Run) -> None:
    told = rollbackd("history", "--json")
    table = rollbackd("history", "shop", "--steps")

    (row,) = json.loads(told.stdout)["rollbacks"]
    assert (row["id"], row["state"], row["from_version"]) == (decision().id, "running", 42)
    assert "v42 -> v41" in table.stdout
    assert "update 2" in table.stdout
    assert json.loads(rollbackd("history", "blog", "--json").stdout)["rollbacks"] == []


def test_what_a_daemon_would_have_to_heed_needs_a_living_one(state: Path, rollbackd: Run) -> None:
    for words in (
        ("resume", "blog", "--reason", "x"),
        ("pause", "blog", "--for", "1h", "--reason", "x"),
    ):
        assert rollbackd(*words).exit_code == 69


def test_a_rollback_without_a_daemon_needs_a_configuration(
    state: Path, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = state.parent / "broken"
    broken.mkdir()
    (broken / "rollback-monitoring.yml").write_text("targets: 5\n")
    asked = ("rollback", "shop", "--reason", "x", "--yes")

    monkeypatch.setenv("ROLLBACKD_CONFIG", str(state.parent / "none"))
    none = rollbackd(*asked)
    monkeypatch.setenv("ROLLBACKD_CONFIG", str(broken))
    refused = rollbackd(*asked)

    assert none.exit_code == 69
    assert refused.exit_code == 78
    assert "rollback-monitoring.yml:1:" in refused.stderr


def test_looking_changes_nothing(state: Path, rollbackd: Run) -> None:
    before = (state / "rollbackd.db").read_bytes()

    for words in (("status",), ("releases",), ("history",)):
        rollbackd(*words)

    assert (state / "rollbackd.db").read_bytes() == before
