"""Which migrations a plan takes back, and in which order: with two tools, or as a person chose."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from rollbackd.core.database import MigrationTool
from rollbackd.core.model import RollbackOutcome
from rollbackd.executors.database_found import orders
from rollbackd.postgres.words import Applied, Reverse
from tests.postgres.shop import BACK, CHEAPER, LOUD, QUIET, Shop, execute, house, order, versions

PRISMA = """
CREATE TABLE _prisma_migrations (id text PRIMARY KEY, checksum text NOT NULL,
  finished_at timestamptz, migration_name text NOT NULL, logs text, rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0)
"""
ROW = "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES "


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path / "reverse")


def step(tool: MigrationTool, version: str, at: float | None = None) -> Reverse:
    applied = Applied(tool=tool, version=version, name="x", order=int(version), applied_at=at)
    return Reverse(applied=applied, text="SELECT 1", where=version)


def test_of_two_tools_the_times_tell_or_each_is_first_once() -> None:
    supabase, prisma, flyway = MigrationTool.SUPABASE, MigrationTool.PRISMA, MigrationTool.FLYWAY
    known = (step(prisma, "3", 5.0), step(prisma, "1", 1.0), step(flyway, "2", 3.0))
    unknown = (step(prisma, "3", 5.0), step(supabase, "2"), step(supabase, "1"))

    def versions_of(found: tuple[Reverse, ...]) -> str:
        return "".join(one.where for one in found)

    assert [versions_of(each) for each in orders(known)] == ["321", "312", "231"]
    assert [versions_of(each) for each in orders(unknown)] == ["321", "213"]
    assert list(orders(unknown[:1])) == [unknown[:1]]


@pytest.mark.process
async def test_two_tools_are_taken_back_in_the_order_that_works(shop: Shop, tmp_path: Path) -> None:
    """Supabase's view stands on Prisma's column: read as they are, Prisma would go first."""
    execute(shop.url, PRISMA)
    async with house(shop, tmp_path / "state") as made:
        execute(shop.url, "ALTER TABLE products ADD COLUMN nice int")
        execute(shop.url, ROW + "('1', 'c', now(), '20260101000000_nice')")
        (shop.files / "20260101000000_nice").mkdir()
        down = shop.files / "20260101000000_nice" / "down.sql"
        down.write_text("ALTER TABLE products DROP COLUMN nice", encoding="utf-8")
        view = "CREATE VIEW nicest AS SELECT nice FROM products"
        shop.release("2", "nicest", view, "DROP VIEW nicest")
        plan = await made.runner.dry_run(order())
        outcome = await made.run(replace(order(), plan_hash=plan.hash))

    assert outcome is RollbackOutcome.RECOVERED
    assert plan.refuses == ""
    assert versions(shop.url) == ["1"]
    assert execute(shop.url, "SELECT rolled_back_at IS NOT NULL FROM _prisma_migrations") == [
        (True,)
    ]


@pytest.mark.process
async def test_a_chosen_migration_is_proven_by_the_last_time_it_was_the_newest(
    shop: Shop, tmp_path: Path
) -> None:
    named = replace(order(by_hand=True), to_migration="2")
    async with house(shop, tmp_path / "state", observed=False) as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        await shop.observe(made.store, order())
        shop.release("3", "loud", LOUD + "CREATE INDEX loudest ON products (id);", QUIET)
        plan = await made.runner.dry_run(named)

    assert "index public.loudest is left over" in plan.refuses


@pytest.mark.process
async def test_one_that_nobody_saw_is_of_unknown_harm(shop: Shop, tmp_path: Path) -> None:
    named = replace(order(by_hand=True), to_migration="1")
    async with house(shop, tmp_path / "state", observed=False) as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        plan = await made.runner.dry_run(named)

    assert plan.asks.startswith("the database rollback is unknown: the schema to come back to")


@pytest.mark.process
async def test_that_the_schema_went_back_the_journal_tells_and_then_the_history(
    shop: Shop, tmp_path: Path
) -> None:
    """An outage before COMMIT must not keep the app's machines from starting."""
    async with house(shop, tmp_path / "state") as made:
        shop.release("2", "cheaper", CHEAPER, BACK)
        (part,) = cast(Any, made.executor)._parts.values()
        begun = await made.runner.begin(order())
        before = await part.gone_back(begun.plan)
        outcome = await made.runner.carry_out(begun)
        after = await part.gone_back(begun.plan)
        asked = await part._work.gone_back(begun.plan)
        execute(
            shop.url,
            "INSERT INTO supabase_migrations.schema_migrations VALUES ('2', '{}', 'cheaper')",
        )
        again = await part._work.gone_back(begun.plan)

    assert outcome is RollbackOutcome.RECOVERED
    assert (before, after, asked, again) == (False, True, True, False)
