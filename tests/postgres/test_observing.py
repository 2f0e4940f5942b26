"""Observing a real database while its release is well: what is kept, when anew, and what is told
once where nobody answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import structlog
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.core.database import CriticalTable, DatabasePolicy
from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Release, TargetName
from rollbackd.daemon.observing import EVERY_SECONDS, Observing
from rollbackd.plugins import DatabaseAccess
from rollbackd.postgres.observations import SETTLED_SECONDS, Observations
from rollbackd.postgres.observing import ANEW_SECONDS, Observer
from rollbackd.stores.sqlite import SqliteStore
from tests.unit.core.world import SHOP, World, down, release, target, trigger

POLICY = DatabasePolicy(critical_tables=(CriticalTable(table="facts"), CriticalTable(table="gone")))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path, clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def migrated(database: str) -> str:
    migrate(database, "1", "CREATE TABLE facts AS SELECT i AS id FROM generate_series(1, 7) i")
    return database


def migrate(url: str, version: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(statement)
        owner.execute(
            "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s, %s)",
            (version, [statement], "facts"),
        )


def observer(url: str, store: SqliteStore, clock: FakeClock, **more: Any) -> Observer:
    access = DatabaseAccess(url=SecretStr(url))
    return Observer(store, TargetName("shop"), access, more.get("policy", POLICY), clock)


def yes() -> bool:
    return True


async def versions(store: SqliteStore, one: Release) -> list[str] | None:
    found = await Observations(store, SHOP).of(one.content)
    return None if found is None else [each.version for each in found.applied]


async def test_history_schema_and_rows_are_kept(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    news = await observer(migrated, store, clock).look(release(41), still=yes)
    assert news.startswith("1 migrations, ")
    seen = await Observations(store, SHOP).of("image-41")
    assert seen is not None
    assert (seen.version, seen.at) == (41, 1000.0)
    assert [each.version for each in seen.applied] == ["1"]
    assert ("table", "public.facts") in seen.fingerprint.objects
    assert seen.row_counts == {"facts": 7}


async def test_nothing_is_kept_of_one_that_broke_while_we_looked(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    assert await observer(migrated, store, clock).look(release(41), still=lambda: False) == ""
    assert await versions(store, release(41)) is None


async def test_a_migration_counts_for_the_release_that_ran_well_with_it_for_long(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    looks = observer(migrated, store, clock)
    await looks.look(release(41), still=yes)
    migrate(migrated, "2", "ALTER TABLE facts ADD COLUMN note text")
    clock.advance(30)
    assert await looks.look(release(41), still=yes) != ""
    assert await versions(store, release(41)) == ["1"]
    for _ in range(int(SETTLED_SECONDS / 60) + 1):
        clock.advance(60)
        assert await looks.look(release(41), still=yes) == ""
    assert await versions(store, release(41)) == ["1", "2"]


async def test_a_successor_has_its_own_and_leaves_its_predecessors(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    looks = observer(migrated, store, clock)
    await looks.look(release(41), still=yes)
    migrate(migrated, "2", "ALTER TABLE facts ADD COLUMN note text")
    await looks.look(release(42), still=yes)
    assert await versions(store, release(41)) == ["1"]
    assert await versions(store, release(42)) == ["1", "2"]


async def test_what_no_history_tells_of_is_seen_a_while_later(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    looks = observer(migrated, store, clock)
    await looks.look(release(41), still=yes)
    with psycopg.connect(migrated, autocommit=True) as owner:
        owner.execute("ALTER TABLE facts ADD COLUMN drifted text")
    clock.advance(ANEW_SECONDS - 1)
    await looks.look(release(41), still=yes)
    assert len(await Observations(store, SHOP).entries()) == 1
    clock.advance(1)
    await looks.look(release(41), still=yes)
    assert len(await Observations(store, SHOP).entries()) == 2


async def test_no_session_is_kept_and_nothing_is_changed(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    await observer(migrated, store, clock).look(release(41), still=yes)
    with psycopg.connect(migrated) as other:
        assert other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rollbackd/%'"
        ).fetchone() == (0,)


async def test_a_database_that_is_down_is_an_error_of_ours_without_a_secret(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    nowhere = migrated.replace("127.0.0.1", "127.0.0.9").replace("@", ":s3cret@")
    with pytest.raises(RollbackdError) as refused:
        await observer(nowhere, store, clock).look(release(41), still=yes)
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


# Beside the loop ----------------------------------------------------------------------------------


def watched(url: str, store: SqliteStore, clock: FakeClock) -> tuple[Observing, World]:
    """A target of which v41 is well."""
    world = World(target(trigger(down())))
    world.good_start()
    clock.advance(96 - clock.now())
    judged = SimpleNamespace(
        states={SHOP: world.state}, decisions={SHOP: world.decide(clock.now())}
    )
    policy = SimpleNamespace(targets={SHOP: SimpleNamespace(database=POLICY)})
    settings = SimpleNamespace(database=SimpleNamespace(access=DatabaseAccess(url=SecretStr(url))))
    loaded: Any = SimpleNamespace(policy=policy, targets={SHOP: settings})
    return Observing(clock, store, judged, lambda: loaded), world


async def test_the_release_that_is_well_is_observed(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    observing, world = watched(migrated, store, clock)
    await observing.look()
    assert await versions(store, release(41)) == ["1"]
    world.bad_deploy(answers=False)
    migrate(migrated, "2", "ALTER TABLE facts ADD COLUMN note text")
    await observing.look()
    assert len(await Observations(store, SHOP).entries()) == 1


async def test_nobody_is_asked_more_often_than_needed_and_a_new_release_at_once(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    observing, world = watched(migrated, store, clock)
    await observing.look()
    (first,) = await Observations(store, SHOP).entries()
    with psycopg.connect(migrated, autocommit=True) as owner:
        owner.execute("INSERT INTO supabase_migrations.schema_migrations VALUES ('2', '{}', 'x')")
    await observing.look()
    assert await Observations(store, SHOP).entries() == (first,)
    world.bad_deploy()
    world.ok(*range(115, 200, 10))
    clock.advance(1)
    judged: Any = observing._judged
    judged.decisions[SHOP] = world.decide(200)
    clock.advance(200 - clock.now() - EVERY_SECONDS)
    await observing.look()
    assert [e.content for e in await Observations(store, SHOP).entries()] == [
        "image-41",
        "image-42",
    ]


async def test_an_outage_is_told_once_and_so_is_its_end(
    migrated: str, store: SqliteStore, clock: FakeClock
) -> None:
    url = migrated
    observing, _ = watched(url.replace("127.0.0.1", "127.0.0.9"), store, clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await observing.look()
            clock.advance(EVERY_SECONDS)
    assert [line["event"] for line in logs] == ["database.lost"]
    again, _ = watched(url, store, clock)
    observing._loaded = again._loaded
    clock.advance(1000)  # making the other one set it back
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await observing.look()
            clock.advance(EVERY_SECONDS)
    assert [line["event"] for line in logs] == ["database.regained", "database.observed"]
