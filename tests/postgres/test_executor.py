"""Migrations are taken back as a plan says, proven before COMMIT, or nothing at all happens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.asked import NeedsApproval
from rollbackd.core.database import CriticalTable, Invariant
from rollbackd.core.errors import PlanRefused, TemporaryError
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import Journal, Plan, RollbackState
from rollbackd.postgres.local_server import PostgresServer
from tests.postgres.shop import (
    BACK,
    CHEAPER,
    LOUD,
    QUIET,
    Shop,
    execute,
    house,
    order,
    reading,
    versions,
)
from tests.support_runner import House

pytestmark = pytest.mark.process


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path / "reverse")


async def planned(made: House) -> Plan:
    return await made.runner.dry_run(order())


async def journal(made: House) -> Journal:
    found = await made.store.journal(order().id)
    assert found is not None
    return found


async def test_what_came_with_the_release_is_taken_back_and_proven(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        assert shop.price() == 2
        plan = await planned(made)

        outcome = await made.run(order())
        done = await journal(made)

    assert outcome is RollbackOutcome.RECOVERED
    assert (shop.price(), versions(shop.url)) == (1, ["1"])
    assert (plan.asks, plan.settings["database"]) == (
        "",
        {**_object(plan.settings["database"]), "migrations": ["2_cheaper"], "harm": "safe"},
    )
    row = next(r for r in done.rows if r.step.kind == "database_reverse")
    assert str(row.result["xid"]).isdigit()
    assert all(r.result.get("passed") is not False for r in done.rows)
    assert BACK not in str(plan)  # the texts are in blobs


async def test_what_loses_rows_asks_and_is_done_behind_a_verified_snapshot(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "loud", LOUD, QUIET)
        with pytest.raises(NeedsApproval) as asked:
            await made.runner.begin(order())
        plan = asked.value.plan

        approved = replace(order(), plan_hash=plan.hash)
        outcome = await made.run(approved)
        done = await journal(made)

    assert "lossy" in plan.asks
    assert outcome is RollbackOutcome.RECOVERED
    kept = next(r.result for r in done.rows if r.step.kind == "database_snapshot")
    path = Path(str(kept["path"]))
    assert path.stat().st_size > 0
    assert path.stat().st_mode & 0o077 == 0
    assert versions(shop.url) == ["1"]


async def test_without_a_snapshot_nothing_that_loses_rows_is_done(
    shop: Shop, tmp_path: Path
) -> None:
    """As a finding and not an obstacle the column would go."""
    blocked = tmp_path / "no-directory"
    blocked.write_text("")
    shop.policy = replace(
        shop.policy, snapshots=replace(shop.policy.snapshots, directory=str(blocked / "x"))
    )
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "loud", LOUD, QUIET)
        plan = await planned(made)
        outcome = await made.run(replace(order(), plan_hash=plan.hash))

    assert outcome is not RollbackOutcome.RECOVERED
    assert versions(shop.url) == ["1", "2"]


async def test_a_reader_in_the_way_is_waited_for_within_the_budget_and_locks(
    shop: Shop, tmp_path: Path
) -> None:
    shop.policy = replace(
        shop.policy, lock_timeout_seconds=0.3, lock_budget_seconds=1.0, auto=frozenset()
    )
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "loud", LOUD, QUIET)
        plan = await planned(made)
        begun = await made.runner.begin(replace(order(), plan_hash=plan.hash))
        with reading(shop.url, "products"):
            began = made.clock.monotonic()
            outcome = await made.runner.carry_out(begun)
            took = made.clock.monotonic() - began
        done = await journal(made)

    assert (outcome, done.state) == (RollbackOutcome.FAILED, RollbackState.FAILED)
    assert "report" in done.reason
    assert took < 15
    assert versions(shop.url) == ["1", "2"]


async def test_what_is_not_proven_is_not_committed(shop: Shop, tmp_path: Path) -> None:
    shop.policy = replace(
        shop.policy, invariants=(Invariant(name="price is 2", sql="SELECT price_of(1) = 2"),)
    )
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        outcome = await made.run(order())
        done = await journal(made)

    assert outcome is RollbackOutcome.FAILED
    assert "price is 2" in done.reason
    assert shop.price() == 2


async def test_a_critical_table_that_would_lose_rows_stops_it(shop: Shop, tmp_path: Path) -> None:
    table = CriticalTable(table="public.products", never_fewer=True)
    shop.policy = replace(shop.policy, critical_tables=(table,))
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK + "DELETE FROM products WHERE id = 1;")
        plan = await planned(made)
        outcome = await made.run(replace(order(), plan_hash=plan.hash))

    assert outcome is RollbackOutcome.FAILED
    assert len(execute(shop.url, "SELECT 1 FROM products")) == 10


async def test_somebody_who_migrates_meanwhile_makes_it_stand_back(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        begun = await made.runner.begin(order())
        shop.release("3", "loud", LOUD, QUIET)
        outcome = await made.runner.carry_out(begun)

    assert outcome in {RollbackOutcome.FAILED_BEFORE_EFFECT, RollbackOutcome.SUPERSEDED}
    assert versions(shop.url) == ["1", "2", "3"]


async def test_texts_that_were_changed_on_disk_after_the_approval_are_refused(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        begun = await made.runner.begin(order())
        key = f"fly/plan/{order().id}/database"
        kept: Any = await made.store.get_blob(key)
        kept["steps"][0]["text"] = "DELETE FROM products"
        await made.store.put_blob(key, kept)
        outcome = await made.runner.carry_out(begun)

    assert outcome is RollbackOutcome.FAILED_BEFORE_EFFECT
    assert len(execute(shop.url, "SELECT 1 FROM products")) == 10


async def test_what_is_left_over_is_shown_and_never_begun_unless_it_may_stay(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release(
            "2",
            "cheaper",
            CHEAPER + "CREATE FUNCTION x() RETURNS int AS 'SELECT 1' "
            "LANGUAGE sql; REVOKE ALL ON products FROM PUBLIC;",
            BACK,
        )
        plan = await planned(made)
        for order_ in (order(), replace(order(by_hand=True), plan_hash=plan.hash)):
            with pytest.raises(PlanRefused, match=r"x\(\) is left over"):
                await made.runner.begin(order_)
        assert await made.store.journal(order().id) is None

    assert "function public.x() is left over" in plan.refuses
    assert shop.price() == 2


async def test_an_owner_may_let_a_leftover_stay(shop: Shop, tmp_path: Path) -> None:
    shop.policy = replace(shop.policy, leftovers=("function public.x()",))
    async with house(shop, tmp_path / "state") as made:
        more = "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        shop.release("2", "cheaper", CHEAPER + more, BACK)
        plan = await planned(made)
        outcome = await made.run(order())

    assert plan.refuses == ""
    assert outcome is RollbackOutcome.RECOVERED
    assert (shop.price(), execute(shop.url, "SELECT x()")) == (1, [(1,)])


async def test_without_a_reverse_there_is_no_plan_and_it_says_which_is_missing(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, None)
        with pytest.raises(PlanRefused, match="2_cheaper"):
            await planned(made)


async def test_a_database_that_nobody_saw_is_only_rolled_back_to_a_named_migration(
    shop: Shop, tmp_path: Path
) -> None:
    async with house(shop, tmp_path / "state", observed=False) as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        shop.release("3", "loud", LOUD, QUIET)
        with pytest.raises(PlanRefused, match="nobody saw"):
            await planned(made)
        named = replace(order(by_hand=True), to_migration="2")
        plan = await made.runner.dry_run(named)
        with pytest.raises(PlanRefused, match="no migration 9"):
            await made.runner.dry_run(replace(named, to_migration="9"))

    assert _object(plan.settings["database"])["migrations"] == ["3_loud"]


async def test_an_outage_accuses_no_release_and_may_be_tried_again(
    shop: Shop, tmp_path: Path
) -> None:
    server = PostgresServer()
    gone = Shop.__new__(Shop)
    gone.url, gone.files, gone.policy = server.url(), shop.files, shop.policy
    server.stop(remove=True)
    async with house(gone, tmp_path / "state", observed=False) as made:
        with pytest.raises(TemporaryError):
            await planned(made)


async def test_failed_prisma_rows_are_marked_so_that_images_boot_again(
    shop: Shop, tmp_path: Path
) -> None:
    execute(
        shop.url,
        "CREATE TABLE _prisma_migrations (id text PRIMARY KEY, checksum text NOT NULL,"
        " finished_at timestamptz, migration_name text NOT NULL, logs text,"
        " rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(),"
        " applied_steps_count int NOT NULL DEFAULT 0)",
    )
    async with house(shop, tmp_path / "state") as made:
        execute(
            shop.url,
            "INSERT INTO _prisma_migrations (id, checksum, migration_name, logs)"
            " VALUES ('x', 'abc', '20260101000000_broken', 'ERROR')",
        )
        plan = await planned(made)
        outcome = await made.run(replace(order(), plan_hash=plan.hash))

    assert outcome is RollbackOutcome.RECOVERED
    assert execute(shop.url, "SELECT rolled_back_at IS NOT NULL FROM _prisma_migrations") == [
        (True,)
    ]


def _object(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value
