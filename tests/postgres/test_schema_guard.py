"""Whether an older image is put on today's schema: what holds it, what is only said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.runbook import Plan
from rollbackd.executors.app_guard import with_guard
from rollbackd.plugins import DatabaseAccess
from rollbackd.postgres.observations import Observations
from rollbackd.postgres.observing import Observer
from rollbackd.postgres.schema_guard import Guarded, guarded, in_short, reasons
from rollbackd.stores.sqlite import SqliteStore
from tests.integration_fly.walking import target_policy
from tests.support_rollback import SHOP, decision, plan, release

CONTENT = release(41).content
PRISMA = """
CREATE TABLE _prisma_migrations (
  id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz,
  migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0)
"""


@dataclass
class Shop:
    """A database in which v41 was seen well, with one table of facts."""

    url: str
    store: SqliteStore

    @property
    def access(self) -> DatabaseAccess:
        return DatabaseAccess(url=SecretStr(self.url))

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as owner:
            for each in statements:
                owner.execute(each.encode())

    async def look(self, content: str = CONTENT) -> Guarded:
        return await guarded(self.access, DatabasePolicy(), Observations(self.store, SHOP), content)


@pytest.fixture
async def shop(database: str, tmp_path: Path) -> AsyncIterator[Shop]:
    clock = FakeClock()
    store = SqliteStore(tmp_path, clock)
    await store.open()
    made = Shop(database, store)
    made.execute("CREATE TABLE facts (id int, note text)")
    observer = Observer(store, SHOP, made.access, DatabasePolicy(), clock)
    await observer.look(release(41), still=lambda: True)
    yield made
    await store.close()


async def test_the_same_schema_and_one_that_only_grew_hold_nothing(shop: Shop) -> None:
    assert await shop.look() == Guarded()
    shop.execute("ALTER TABLE facts ADD mood text", "CREATE TABLE more (id int)")
    assert await shop.look() == Guarded()
    assert in_short(Guarded()) == ""


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("ALTER TABLE facts DROP note", "column public.facts.note is gone"),
        ("ALTER TABLE facts RENAME TO truths", "table public.facts is gone"),
        ("ALTER TABLE facts ALTER note SET NOT NULL", "note takes no null any more"),
        ("ALTER TABLE facts ADD mood text NOT NULL", "mood is new and has to be given"),
        ("ALTER TABLE facts ENABLE ROW LEVEL SECURITY", "row security of public.facts went"),
    ],
)
async def test_what_the_old_image_stumbles_over_holds_it(
    shop: Shop, statement: str, word: str
) -> None:
    shop.execute(statement)
    found = await shop.look()
    assert any(word in reason for reason in found.reasons), found
    assert in_short(found).startswith("schema_guard: ")
    assert (
        await reasons(shop.access, DatabasePolicy(), Observations(shop.store, SHOP), CONTENT)
        == found.reasons
    )


async def test_a_failed_row_of_prisma_holds_every_image(shop: Shop) -> None:
    shop.execute(
        PRISMA,
        "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('1', 'x', 'm_1')",
    )
    wanted = "prisma did not finish m_1: an image that migrates when it boots exits with P3009"
    assert wanted in (await shop.look()).reasons
    assert wanted in (await shop.look("never seen")).reasons
    shop.execute("UPDATE _prisma_migrations SET rolled_back_at = now()")
    assert wanted not in (await shop.look()).reasons


async def test_one_that_failed_while_the_good_release_was_well_holds_nothing(shop: Shop) -> None:
    shop.execute(
        PRISMA,
        "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('1', 'x', 'm_1')",
    )
    observer = Observer(shop.store, SHOP, shop.access, DatabasePolicy(), FakeClock())
    await observer.look(release(40), still=lambda: True)
    assert await shop.look(release(40).content) == Guarded()


async def test_a_release_that_was_never_seen_is_a_note_and_no_reason(shop: Shop) -> None:
    found = await shop.look("never seen")
    assert (found.reasons, len(found.notes)) == ((), 1)


async def test_a_database_that_is_down_holds_and_one_that_refuses_us_does_not(shop: Shop) -> None:
    down = replace(shop, url=shop.url.replace("127.0.0.1", "127.0.0.9"))
    found = await down.look()
    assert (len(found.reasons), found.notes) == (1, ())
    assert "is not known" in found.reasons[0]
    parts = psycopg.conninfo.conninfo_to_dict(shop.url)
    stranger = f"postgresql://nobody:s3cret@{parts['host']}:{parts['port']}/x"
    found = await replace(shop, url=stranger).look()
    assert (found.reasons, len(found.notes)) == ((), 1)
    assert "s3cret" not in found.notes[0]


# In a plan of the app -----------------------------------------------------------------------------


def target(*steps: str) -> TargetPolicy:
    made: Any = target_policy()
    usual = made.plans["app"]
    return replace(
        made, database=DatabasePolicy(), plans={"app": replace(usual, steps=steps or ("app",))}
    )


def of_app() -> Plan:
    return plan(decision())


async def test_a_plan_that_would_meet_another_schema_asks_and_says_why(shop: Shop) -> None:
    kept = await with_guard(of_app(), target(), shop.access, shop.store, CONTENT)
    assert (kept.asks, kept.notes) == ("", of_app().notes)
    shop.execute("ALTER TABLE facts DROP note")
    asking = await with_guard(of_app(), target(), shop.access, shop.store, CONTENT)
    assert asking.asks == "schema_guard: column public.facts.note is gone"
    assert "schema guard: column public.facts.note is gone" in asking.notes
    assert asking.hash != kept.hash


@pytest.mark.parametrize(
    ("steps", "asks"),
    [(("database", "app"), False), (("app", "database"), True), (("data", "app"), True)],
)
async def test_what_gives_the_schema_back_first_needs_no_guard(
    shop: Shop, steps: tuple[str, ...], asks: bool
) -> None:
    shop.execute("ALTER TABLE facts DROP note")
    made = await with_guard(of_app(), target(*steps), shop.access, shop.store, CONTENT)
    assert bool(made.asks) is asks


async def test_without_a_database_nothing_is_guarded(shop: Shop) -> None:
    plain = replace(target(), database=None)
    assert await with_guard(of_app(), plain, None, shop.store, CONTENT) == of_app()
