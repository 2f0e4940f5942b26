"""What holds the state together: its versions, its space, what it forgets."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Rejected
from rollbackd.core.facts import Paused
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import RollbackState, StepState
from rollbackd.stores import ballast, retention
from rollbackd.stores.ballast import Ballast
from rollbackd.stores.schema_sql import SCHEMA_VERSION
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import SHOP, decision, plan

V1 = Path(__file__).with_name("v1.sql")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    yield store
    await store.close()


async def test_state_of_the_first_version_goes_on_where_it_was(
    tmp_path: Path, clock: FakeClock
) -> None:
    old = sqlite3.connect(tmp_path / "rollbackd.db")
    old.executescript(V1.read_text())
    old.close()
    store = SqliteStore(tmp_path, clock)

    await store.open()

    (left,) = await store.unfinished()
    assert left.plan == plan(decision(at=150.0))
    assert left.rows[0].state is StepState.STARTED
    spent = decision(at=1000.0, bad=41)
    await store.finish(
        left.plan.rollback, RollbackState.FAILED, RollbackOutcome.FAILED_BEFORE_EFFECT, fence=1
    )
    with pytest.raises(Rejected, match="was already rolled back from: shop-v41-100"):
        await store.begin(spent, plan(spent))
    assert await store.record_broken_at() is None
    assert await store.get_blob("ledger/shop") == {"good": [41]}
    await store.close()
    with sqlite3.connect(tmp_path / "rollbackd.db") as file:
        (version,) = file.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    file.close()
    assert int(version) == SCHEMA_VERSION > 1


async def over(store: SqliteStore, *, at: float, bad: int) -> str:
    """An automatic rollback with an effect, begun and ended."""
    one = decision(at=at, bad=bad)
    await store.put_blob(f"fly/plan/{one.id}/m1", {"image": "x"})
    await store.begin(one, plan(one))
    for seq in (1, 2):
        await store.note(one.id, seq, StepState.STARTED, fence=1)
        await store.note(one.id, seq, StepState.DONE, fence=1)
    await store.finish(one.id, RollbackState.SUCCEEDED, RollbackOutcome.RECOVERED, fence=1)
    return one.id


async def test_old_rollbacks_are_forgotten_and_their_releases_are_not(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEPT_ROLLBACKS", 2)
    store = SqliteStore(tmp_path, clock)
    await store.open()
    names = [await over(store, at=float(n), bad=40 + n) for n in range(4)]
    open_one = decision(at=9.0, bad=50)
    await store.begin(open_one, plan(open_one))
    await store.close()
    clock.advance(retention.KEPT_SECONDS + 1)

    await store.open()

    kept = [row["id"] for row in await store.history(None, 10)]
    assert kept == [open_one.id, names[3]]
    assert await store.get_blob(f"fly/plan/{names[0]}/m1") is None
    assert await store.get_blob(f"fly/plan/{names[3]}/m1") == {"image": "x"}
    await store.finish(
        open_one.id, RollbackState.FAILED, RollbackOutcome.FAILED_BEFORE_EFFECT, fence=1
    )
    again = decision(at=99.0, bad=40)
    with pytest.raises(Rejected, match=f"was already rolled back from: {names[0]}"):
        await store.begin(again, plan(again))
    await store.close()


async def test_young_rollbacks_are_kept_however_many(
    store: SqliteStore, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEPT_ROLLBACKS", 1)
    for number in range(3):
        await over(store, at=float(number), bad=40 + number)
    clock.advance(retention.KEPT_SECONDS - 10)

    await store.put_blob("any", 1)

    assert len(await store.history(None, 10)) == 3


async def test_attempts_go_after_ninety_days_once_a_day_while_it_runs(
    store: SqliteStore, clock: FakeClock
) -> None:
    await over(store, at=1.0, bad=42)

    def attempts() -> int:
        (count,) = store._file.connection.execute("SELECT count(*) FROM attempt").fetchone()
        return int(count)

    before = await store._ask(attempts)
    clock.advance(retention.ATTEMPTS_KEPT_SECONDS + 1)
    await store.put_blob("any", 1)

    assert (before, await store._ask(attempts)) == (2, 0)


async def orders(store: SqliteStore) -> int:
    def count() -> int:
        (found,) = store._file.connection.execute("SELECT count(*) FROM fact").fetchone()
        return int(found)

    return await store._ask(count)


async def test_a_write_waits_for_one_chunk_of_what_is_forgotten(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await store.keep(Paused(target=SHOP, at=number, until=9e9, by="ann", reason="x"))
    monkeypatch.setattr(retention, "ORDERS_KEPT", 1)
    monkeypatch.setattr(retention, "_CHUNK", 2)
    clock.advance(retention.EVERY_SECONDS + 1)

    left = []
    for number in range(6):
        await store.put_blob("any", number)
        left.append(await orders(store))

    assert left == [8, 6, 4, 2, 1, 1]


async def test_what_is_written_is_written_though_forgetting_fails(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ORDERS_KEPT", 1)
    for number in range(3):
        await store.keep(Paused(target=SHOP, at=number, until=9e9, by="ann", reason="x"))

    def refuse() -> None:
        store._file.connection.execute(
            "CREATE TEMP TRIGGER full BEFORE DELETE ON fact BEGIN SELECT raise(ABORT, 'full'); END"
        )

    def allow() -> None:
        store._file.connection.execute("DROP TRIGGER full")

    await store._ask(refuse)
    clock.advance(retention.EVERY_SECONDS + 1)
    await store.keep(Paused(target=SHOP, at=3, until=9e9, by="ann", reason="x"))
    await store._ask(allow)

    assert await orders(store) == 4
    await store.put_blob("any", 1)
    assert await orders(store) == 4
    clock.advance(601)
    await store.put_blob("any", 2)
    assert await orders(store) == 1


async def test_of_many_orders_the_newest_are_kept(
    store: SqliteStore, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ORDERS_KEPT", 3)
    for number in range(8):
        await store.keep(Paused(target=SHOP, at=number, until=9e9, by="ann", reason="x"))
    await store.close()

    await store.open()

    assert [fact.at for fact in await store.facts(0.0)] == [5, 6, 7]


def test_the_ballast_is_really_allocated_and_no_more_than_a_quarter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Ballast(tmp_path)
    one.hold()
    file = tmp_path / ballast.FILE_NAME
    stood = file.stat()
    assert stood.st_size == 8 * 2**20
    assert stood.st_blocks * 512 >= stood.st_size
    assert one.give_up()
    assert not one.give_up()

    monkeypatch.setattr(one, "_free_bytes", lambda: 1_500_000)
    one.hold()
    assert file.stat().st_size == 375_000
    one.give_up()
    monkeypatch.setattr(one, "_free_bytes", lambda: 400_000)
    one.hold()
    assert not one.there


async def test_a_full_disk_costs_the_ballast_before_it_costs_a_write(
    store: SqliteStore, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ballast.FILE_NAME
    real = store._file._ballast.give_up

    def full() -> None:
        store._file.connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchone()
        store._file.connection.execute("PRAGMA max_page_count = 1")

    def space() -> None:
        store._file.connection.execute("PRAGMA max_page_count = 1000000")

    def give_up() -> bool:
        space()  # what the ballast's going does on a real disk
        return real()

    await store._ask(full)
    monkeypatch.setattr(store._file._ballast, "give_up", give_up)

    await store.put_blob("large", "x" * 100_000)

    assert await store.get_blob("large") == "x" * 100_000
    assert not file.exists()
    clock.advance(11)
    await store.put_blob("small", 1)
    assert file.stat().st_size == 8 * 2**20  # there is space again, and it is set aside again
