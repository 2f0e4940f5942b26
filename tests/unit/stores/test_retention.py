"""Plans that nobody began are forgotten; what a rollback rests on is not, while it is kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import RollbackState
from rollbackd.stores import retention
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision, plan

DAY = retention.PLANS_KEPT_SECONDS
BEGUN = decision().id


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    yield store
    await store.close()


async def keys(store: SqliteStore) -> set[str]:
    return await store._ask(
        lambda: {row["key"] for row in store._file.connection.execute("SELECT key FROM blob")}
    )


async def forget(store: SqliteStore) -> None:
    """What a daemon that never restarts does once a day, at its next write."""
    await store.put_blob("anything", 1)


async def planned(store: SqliteStore, rollback: str) -> set[str]:
    made = {f"fly/plan/{rollback}/m1", f"fly/plan/{rollback}/definition"}
    for key in made:
        await store.put_blob(key, {"image": "shop:41"})
    return made


async def test_a_plan_that_never_began_is_forgotten_after_a_day(
    store: SqliteStore, clock: FakeClock
) -> None:
    await planned(store, "shop-v42-99")
    begun = await planned(store, BEGUN)
    await store.begin(decision(), plan(decision()))

    clock.advance(DAY + 1)
    asked_still = await planned(store, "shop-v44-7")  # its question is looked at every minute
    await forget(store)

    assert await keys(store) == begun | asked_still | {"anything"}


async def test_a_day_is_waited_for(store: SqliteStore, clock: FakeClock) -> None:
    withdrawn = await planned(store, "shop-v42-99")
    clock.advance(DAY - 1)

    await forget(store)

    assert await keys(store) >= withdrawn


async def test_no_other_key_is_taken_for_a_plan(store: SqliteStore, clock: FakeClock) -> None:
    others = {"ledger/shop", "state/fly/plan/x", "fly/planning/x/y", "fly/release/shop/41"}
    for key in others:
        await store.put_blob(key, 1)
    clock.advance(10 * DAY)

    await forget(store)

    assert await keys(store) == others | {"anything"}


async def test_it_is_forgotten_in_pieces(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_CHUNK", 1)
    await planned(store, "shop-v42-99")
    clock.advance(DAY + 1)

    await forget(store)
    assert len(await keys(store)) == 2
    await forget(store)
    assert await keys(store) == {"anything"}


async def test_with_a_rollback_goes_all_that_was_kept_for_it(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "KEPT_ROLLBACKS", 0)
    await planned(store, BEGUN)
    for key in (f"fly/backup/{BEGUN}", f"fly/logs/{BEGUN}/m1", f"fly/record/{BEGUN}"):
        await store.put_blob(key, 1)
    await store.put_blob(f"fly/backup/{BEGUN}0", 1)  # another one, whose id begins alike
    await store.begin(decision(), plan(decision()))
    over = RollbackState.SUCCEEDED, RollbackOutcome.RECOVERED
    await store.finish(BEGUN, *over, fence=1)
    clock.advance(retention.KEPT_SECONDS + 1)

    await forget(store)

    assert await keys(store) == {"anything", f"fly/backup/{BEGUN}0"}
