"""The invariants after an app rollback: held, broken, or not asked."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.core.database import Invariant
from rollbackd.core.errors import Rejected
from rollbackd.executors.app_invariants import Invariants
from rollbackd.plugins import DatabaseAccess

HOLDS = Invariant(name="no orphan", sql="SELECT id FROM facts WHERE owner IS NULL")


@pytest.fixture
def facts(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE TABLE facts AS SELECT 1 AS id, 'ann' AS owner")
    return database


def of(url: str) -> Invariants:
    return Invariants(DatabaseAccess(url=SecretStr(url)), (HOLDS,))


async def test_what_holds_is_named(facts: str) -> None:
    assert await of(facts).ask() == {"held": ["no orphan"]}


async def test_what_is_broken_is_a_finding_and_no_older_image_mends_it(facts: str) -> None:
    with psycopg.connect(facts, autocommit=True) as owner:
        owner.execute("INSERT INTO facts VALUES (2, NULL)")
    with pytest.raises(Rejected, match="broken: no orphan: 1 row"):
        await of(facts).ask()


async def test_a_database_that_is_down_says_nothing_against_the_rollback(facts: str) -> None:
    told = await of(facts.replace("127.0.0.1", "127.0.0.9")).ask()
    assert told["held"] == []
    assert "postgres" in str(told["not_asked"])


async def test_without_an_access_it_is_said() -> None:
    told = await Invariants(None, (HOLDS,)).ask()
    assert told == {"held": [], "not_asked": "there is no access to the database"}
