"""The store keeps what it was given, and refuses what would break a promise."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.errors import (
    ConfigError,
    Fenced,
    PermanentError,
    Rejected,
    TemporaryError,
    UsageError,
)
from rollbackd.core.facts import (
    Paused,
    ReleasesSeen,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
    Unlocked,
)
from rollbackd.core.model import Hold, HoldReason, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.runbook import Journal, RollbackState, StepState
from rollbackd.stores import audit, kept
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import SHOP, decision, plan, release


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state", clock)
    await store.open()
    yield store
    await store.close()


async def begun(store: SqliteStore, *, bad: int = 42, by_hand: bool = False) -> Journal:
    decided = decision(bad=bad, by_hand=by_hand)
    return await store.begin(decided, plan(decided))


async def ended(
    store: SqliteStore, journal: Journal, outcome: RollbackOutcome = RollbackOutcome.RECOVERED
) -> None:
    await store.finish(journal.plan.rollback, RollbackState.SUCCEEDED, outcome, fence=journal.fence)


async def test_a_begun_rollback_is_read_back_as_it_was_planned(store: SqliteStore) -> None:
    journal = await begun(store)

    (found,) = await store.unfinished()

    assert found == journal
    assert found.plan == plan(decision())
    assert found.state is RollbackState.PENDING
    assert [row.state for row in found.rows] == [StepState.PENDING] * 5
    assert await store.journal(journal.plan.rollback) == journal


async def test_a_second_rollback_of_the_same_target_is_refused_while_one_is_open(
    store: SqliteStore,
) -> None:
    await begun(store)

    for by_hand in (False, True):
        second = decision(bad=43, by_hand=by_hand)
        with pytest.raises(Rejected, match="has a rollback already: shop-v42-100 is pending"):
            await store.begin(second, plan(second))
    other = decision(target="till")
    await store.begin(other, plan(other))


async def test_the_database_itself_refuses_a_second_open_rollback(
    store: SqliteStore, tmp_path: Path
) -> None:
    await begun(store)

    with (
        sqlite3.connect(tmp_path / "state" / "rollbackd.db") as other,
        pytest.raises(sqlite3.IntegrityError, match=r"rollback\.target"),
    ):
        other.execute(
            "INSERT INTO rollback SELECT id || 'x', incident, target, decision, plan, plan_hash,"
            " state, outcome, reason, fence, owner, created_at, updated_at, finished_at"
            " FROM rollback"
        )
    other.close()


async def test_one_automatic_rollback_per_bad_release_ever(
    store: SqliteStore, clock: FakeClock
) -> None:
    journal = await begun(store)
    for seq in (1, 2):
        await store.note(journal.plan.rollback, seq, StepState.STARTED, fence=1)
        await store.note(journal.plan.rollback, seq, StepState.DONE, fence=1)
    await ended(store, journal)

    again = decision(at=999.0)
    with pytest.raises(Rejected, match="was already rolled back from: shop-v42-100"):
        await store.begin(again, plan(again))
    by_hand = decision(at=1000.0, by_hand=True)
    await store.begin(by_hand, plan(by_hand))


async def test_a_failure_before_the_first_effect_may_be_tried_three_times(
    store: SqliteStore,
) -> None:
    for at in (1.0, 2.0, 3.0):
        attempt = decision(at=at)
        journal = await store.begin(attempt, plan(attempt))
        await store.note(attempt.id, 1, StepState.STARTED, fence=1)
        await store.note(attempt.id, 1, StepState.DONE, fence=1)
        await ended(store, journal, RollbackOutcome.FAILED_BEFORE_EFFECT)

    fourth = decision(at=4.0)
    with pytest.raises(Rejected, match="failed 3 times before touching anything"):
        await store.begin(fourth, plan(fourth))


async def test_a_claim_fences_off_whoever_had_it_before(store: SqliteStore) -> None:
    first = await begun(store)
    rollback = first.plan.rollback

    second = await store.claim(rollback)

    assert (second.fence, second.resumes) == (2, 1)
    with pytest.raises(Fenced):
        await store.note(rollback, 1, StepState.STARTED, fence=first.fence)
    with pytest.raises(Fenced):
        await store.turn(rollback, RollbackState.RUNNING, fence=first.fence)
    with pytest.raises(Fenced):
        await ended(store, first)
    (untouched,) = await store.unfinished()
    assert untouched == second


async def test_a_rollback_that_ended_cannot_be_claimed_or_turned(store: SqliteStore) -> None:
    journal = await begun(store)
    await ended(store, journal)

    with pytest.raises(Rejected, match="is over"):
        await store.claim(journal.plan.rollback)
    with pytest.raises(Fenced):
        await store.turn(journal.plan.rollback, RollbackState.RUNNING, fence=1)
    assert await store.unfinished() == []


async def test_a_step_keeps_its_attempts_result_and_error(
    store: SqliteStore, clock: FakeClock
) -> None:
    rollback = (await begun(store)).plan.rollback
    await store.note(rollback, 1, StepState.STARTED, fence=1)
    await store.note(rollback, 1, StepState.FAILED, fence=1, error="no answer \udcff")
    clock.advance(5)
    await store.note(rollback, 1, StepState.STARTED, fence=1)
    await store.note(rollback, 1, StepState.DONE, fence=1, result={"version": 44})

    journal = await store.journal(rollback)

    assert journal is not None
    row = journal.rows[0]
    assert (row.state, row.attempts, row.result) == (StepState.DONE, 2, {"version": 44})
    assert (row.started_at, row.finished_at, row.error) == (105.0, 105.0, "")


async def test_a_finished_step_is_never_written_again(store: SqliteStore) -> None:
    rollback = (await begun(store)).plan.rollback
    await store.note(rollback, 1, StepState.DONE, fence=1)

    with pytest.raises(PermanentError, match="step 1 of shop-v42-100 is finished"):
        await store.note(rollback, 1, StepState.STARTED, fence=1)


async def test_a_step_cannot_start_before_the_phases_ahead_of_it_are_finished(
    store: SqliteStore,
) -> None:
    rollback = (await begun(store)).plan.rollback

    with pytest.raises(PermanentError, match="is ahead of its phase"):
        await store.note(rollback, 2, StepState.STARTED, fence=1)


async def test_the_facts_of_a_rollback_are_on_disk_with_the_rollback(store: SqliteStore) -> None:
    journal = await begun(store)
    await store.finish(
        journal.plan.rollback,
        RollbackState.FAILED,
        RollbackOutcome.NOT_RECOVERED,
        fence=1,
        detail="still failing",
    )

    started, over = await store.facts(0.0)

    assert isinstance(started, RollbackStarted)
    assert (started.bad, started.good, started.trigger) == (release(42), release(41), "errors")
    assert isinstance(over, RollbackEnded)
    assert (over.outcome, over.detail) == (RollbackOutcome.NOT_RECOVERED, "still failing")


async def test_facts_come_back_in_their_order_and_once(
    store: SqliteStore, clock: FakeClock
) -> None:
    clock.advance(10_000)
    journal = await begun(store)
    rollback = journal.plan.rollback
    told: list[TargetFact] = [
        Paused(target=SHOP, at=101, until=float("inf"), by="ann", reason="sale"),
        RollbackSwitched(target=SHOP, at=102, rollback=rollback, version=43),
        Unlocked(target=SHOP, at=104, by="ann", reason="looked"),
    ]
    await store.keep(told[0])
    await store.keep(told[1])
    await ended(store, journal)
    await store.keep(told[2])

    fuller = RollbackEnded(
        target=SHOP, at=100, rollback=rollback, outcome=RollbackOutcome.RECOVERED, proved_at=99.0
    )
    await store.keep(fuller)
    await store.keep(told[1])

    _, *rest = await store.facts(0.0)
    assert rest == [told[0], told[1], fuller, told[2]]


async def test_what_a_clock_that_was_set_back_left_behind_was_heard_now(
    store: SqliteStore, clock: FakeClock
) -> None:
    ahead = ReleasesSeen(target=SHOP, at=clock.now() + 7200, releases=(release(42),))
    await store.keep(ahead)

    (found,) = await store.facts(0.0)

    assert found == replace(ahead, at=clock.now())


async def test_what_goes_on_after_a_hold_has_no_outcome_yet(store: SqliteStore) -> None:
    """`history` would show a rollback that runs as one that holds."""
    rollback = (await begun(store)).plan.rollback
    await store.finish(rollback, RollbackState.HOLDING, RollbackOutcome.HOLDING, fence=1)
    held = await store.past(rollback)

    await store.turn(rollback, RollbackState.RUNNING, fence=1, reason="eva let it go on")

    runs = await store.past(rollback)
    assert held is not None
    assert runs is not None
    assert (held["outcome"], runs["state"], runs["outcome"]) == ("holding", "running", None)


async def test_a_rollback_that_holds_and_goes_on_is_told_as_begun_anew(
    store: SqliteStore, clock: FakeClock
) -> None:
    clock.advance(10_000)
    journal = await begun(store)
    await store.finish(
        journal.plan.rollback, RollbackState.HOLDING, RollbackOutcome.HOLDING, fence=1
    )
    again = RollbackStarted(
        target=SHOP, at=200.0, rollback=journal.plan.rollback, bad=release(42), good=release(41)
    )

    await store.keep(again)

    assert (await store.facts(0.0))[-1] == again
    (open_one,) = await store.unfinished()
    assert open_one.state is RollbackState.HOLDING


async def test_release_lists_are_kept_when_they_change_and_not_for_ever(
    store: SqliteStore, clock: FakeClock
) -> None:
    clock.advance(10_000)
    for version in range(kept.RELEASES_KEPT + 5):
        for at in (version, version + 0.5):
            seen = ReleasesSeen(target=SHOP, at=at, releases=(release(version),))
            await store.keep(seen)

    found = await store.facts(0.0)
    newest = await store.facts(1e9)

    assert len(found) == kept.RELEASES_KEPT
    assert [fact.at for fact in newest] == [kept.RELEASES_KEPT + 4.0]


async def test_the_record_is_a_chain_that_shows_tampering(
    store: SqliteStore, tmp_path: Path
) -> None:
    await begun(store)
    await store.record(Hold(target=SHOP, at=1.0, reason=HoldReason.PAUSED, why="by ann"))
    await store.record(decision())
    assert await store.record_broken_at() is None
    lines = await store.record_lines(SHOP, 10)
    assert [(line.kind, line.data.get("decision")) for line in lines] == [
        ("rollback_begun", None),
        ("decision", "hold"),
        ("decision", "roll_back"),
    ]

    other = sqlite3.connect(tmp_path / "state" / "rollbackd.db", isolation_level=None)
    for statement in ("UPDATE audit SET kind = 'x'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(statement)
    other.execute("DROP TRIGGER audit_is_never_rewritten")
    other.execute("UPDATE audit SET data = '{}' WHERE id = 3")
    other.close()

    assert await store.record_broken_at() == 3


@pytest.mark.parametrize(
    ("gone", "broken_at"), [("id = 6", 6), ("id >= 5", 5), ("id IN (3, 4)", 3), ("1", 1)]
)
async def test_lines_that_were_taken_away_show_also_at_the_end_and_after_more_were_written(
    store: SqliteStore, tmp_path: Path, gone: str, broken_at: int
) -> None:
    for number in range(5):
        await store.record_line("control", {"number": number})
    assert await store.record_broken_at() is None
    other = sqlite3.connect(tmp_path / "state" / "rollbackd.db", isolation_level=None)
    other.execute("DROP TRIGGER audit_is_never_shortened")
    other.execute(f"DELETE FROM audit WHERE {gone}")
    other.close()

    found = await store.record_broken_at()
    await store.record_line("control", {"number": 6})

    assert found == broken_at
    assert await store.record_broken_at() == broken_at


async def test_an_old_and_long_record_is_pruned_and_still_a_chain(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEPT_LINES", 3)
    store = SqliteStore(tmp_path, clock)
    await store.open()
    for number in range(10):
        await store.record_line("control", {"number": number})
    await store.close()
    clock.advance(audit.KEPT_SECONDS + 1)

    await store.open()

    lines = await store.record_lines(None, 100)
    assert [line.kind for line in lines] == ["control"] * 3 + ["pruned", "boot"]
    assert await store.record_broken_at() is None
    await store.close()


async def test_blobs_are_opaque_json(store: SqliteStore) -> None:
    await store.put_blob("ledger/1", {"env": {"A": [1, None, "ü"]}})
    await store.put_blob("ledger/1", {"env": {}})

    assert await store.get_blob("ledger/1") == {"env": {}}
    assert await store.get_blob("ledger/2") is None


async def test_history_tells_newest_first_what_was_done_and_why(store: SqliteStore) -> None:
    first = await begun(store)
    await ended(store, first)
    await begun(store, bad=43, by_hand=True)

    newest, oldest = await store.history(None, 10)

    assert (newest["from_version"], newest["state"], newest["trigger"]) == (43, "pending", None)
    assert (oldest["outcome"], oldest["trigger"]) == ("recovered", "errors")
    assert oldest["evidence"] == {"odds": "inf"}
    assert isinstance(oldest["steps"], list)
    assert len(oldest["steps"]) == 5
    assert await store.history(TargetName("till"), 10) == []


async def test_a_second_daemon_is_told_who_has_the_directory(
    store: SqliteStore, tmp_path: Path, clock: FakeClock
) -> None:
    import os

    second = SqliteStore(tmp_path / "state", clock)

    with pytest.raises(Rejected, match=f"another rollbackd uses .*: pid {os.getpid()}"):
        await second.open()


async def test_a_reader_opens_beside_the_daemon_and_cannot_write(
    store: SqliteStore, tmp_path: Path, clock: FakeClock
) -> None:
    journal = await begun(store)
    reader = SqliteStore(tmp_path / "state", clock, read_only=True)
    await reader.open()

    assert await reader.unfinished() == [journal]
    with pytest.raises((PermanentError, TemporaryError)):
        await reader.put_blob("a", 1)
    await reader.close()


async def test_a_reader_of_nothing_says_so(tmp_path: Path, clock: FakeClock) -> None:
    reader = SqliteStore(tmp_path / "nowhere", clock, read_only=True)

    with pytest.raises(UsageError, match="there is no state in"):
        await reader.open()
    assert not (tmp_path / "nowhere").exists()


async def test_the_state_is_for_its_owner_only(store: SqliteStore, tmp_path: Path) -> None:
    directory = tmp_path / "state"

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    assert modes == {0o600}


async def test_state_from_a_newer_version_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    await store.close()
    with sqlite3.connect(tmp_path / "rollbackd.db") as other:
        other.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    other.close()

    for read_only in (False, True):
        with pytest.raises(ConfigError, match="written by a newer rollbackd"):
            await SqliteStore(tmp_path, clock, read_only=read_only).open()


async def test_a_damaged_file_is_refused_at_the_start(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "rollbackd.db").write_bytes(b"this is not a database" * 400)

    with pytest.raises(PermanentError, match="is damaged") as refused:
        await SqliteStore(tmp_path, clock).open()
    assert "an unfinished rollback may stand in it" in refused.value.hint
    assert "scripts/rollback/let-go.sh" in refused.value.hint


async def test_a_full_disk_is_a_temporary_error_that_loses_nothing(
    store: SqliteStore, clock: FakeClock
) -> None:
    journal = await begun(store)
    rollback = journal.plan.rollback

    def limit(pages: int) -> None:
        store._file.connection.execute(f"PRAGMA max_page_count = {pages}")

    await store._ask(lambda: limit(1))  # SQLite takes the present size where that is larger
    with pytest.raises(TemporaryError, match="no space left"):
        await store.put_blob("large", "x" * 100_000)
    assert await store.unfinished() == [journal]

    await store._ask(lambda: limit(1_000_000))
    await store.note(rollback, 1, StepState.STARTED, fence=1)
    assert await store.record_broken_at() is None


async def test_a_rollback_nobody_knows_is_none(store: SqliteStore) -> None:
    assert await store.journal(RollbackId("nobody")) is None


async def test_every_commit_waits_for_the_disk_where_nothing_else_is_said(
    store: SqliteStore,
) -> None:
    def pragmas() -> tuple[str, int]:
        connection = store._file.connection
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (level,) = connection.execute("PRAGMA synchronous").fetchone()
        return mode, level

    assert await store._ask(pragmas) == ("wal", 2)
