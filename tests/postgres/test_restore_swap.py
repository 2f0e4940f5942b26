"""A whole database comes back in place of the one that is there, which stays beside it."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.postgres.agreed import Stale
from rollbackd.postgres.restore_swap import restore_swap
from tests.postgres.shop import execute, reading
from tests.postgres.whole import (
    ANY,
    HARM,
    SHOP,
    WHOLE,
    beside,
    noted,
    one,
    schema_of,
    swapped,
    taken,
)

pytestmark = pytest.mark.process
UNCARRIED = """
CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 1 AS n;
CREATE COLLATION public.odd (provider = libc, locale = 'C');
"""


@pytest.fixture
def shop(database: str) -> str:
    execute(database, SHOP)
    return database


async def test_a_schema_that_changed_comes_back_under_the_same_name(
    shop: str, tmp_path: Path
) -> None:
    name = str(conninfo_to_dict(shop)["dbname"])
    execute(shop, f"ALTER DATABASE {name} SET search_path = '$user', public, extensions")
    execute(shop, f"GRANT CONNECT ON DATABASE {name} TO authenticated")
    execute(shop, f"COMMENT ON DATABASE {name} IS 'the shop'")
    chosen = await taken(shop, tmp_path)
    before = await schema_of(shop, chosen)
    settings = execute(shop, "SHOW search_path")
    execute(shop, HARM)
    execute(shop, "ALTER TABLE orders DROP COLUMN total CASCADE; DROP POLICY calm ON shops")

    with psycopg.connect(shop, autocommit=True):  # a pool's idle session of the same role
        done = await swapped(shop, chosen)

    assert one(shop, "SELECT sum(total) FROM orders") == WHOLE
    assert one(shop, "SELECT total FROM sum_of_sums") == WHOLE
    assert await schema_of(shop, chosen) == before
    assert execute(shop, "SHOW search_path") == settings
    assert one(shop, "SELECT nextval('orders_id_seq')") == 502
    assert done.kept == f"{name}_before_100"
    assert one(beside(shop, done.kept), "SELECT count(*) FROM orders") == 401
    rights = "SELECT datacl::text LIKE '%%authenticated=c/%%' FROM pg_database WHERE datname = %s"
    assert execute(shop, rights, name) == [(True,)]
    left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'rollbackd_scratch%'"
    assert one(shop, left) == 0


async def test_what_a_dump_does_not_carry_keeps_the_database_in_its_place(
    shop: str, tmp_path: Path
) -> None:
    chosen = await taken(shop, tmp_path)
    execute(shop, HARM)
    said = []
    for change, back in (
        ("CREATE PUBLICATION all_of_it FOR ALL TABLES", "DROP PUBLICATION all_of_it"),
        ("SELECT lo_create(77)", "SELECT lo_unlink(77)"),
        (UNCARRIED, ""),
    ):
        execute(shop, change)
        with pytest.raises(PermanentError) as refused:
            await swapped(shop, chosen)
        said.append(f"{refused.value.message} {refused.value.hint}")
        execute(shop, back)

    assert "published: all_of_it" in said[0]
    assert "large objects: 77" in said[1]
    assert "odd is missing" in said[2]
    assert "other.t has 1 rows" in said[2]
    assert one(shop, "SELECT count(*) FROM orders") == 401


async def test_whoever_is_busy_in_the_database_is_not_thrown_out(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    hasty = DatabasePolicy(lock_timeout_seconds=0.2, lock_budget_seconds=0.6)

    with reading(shop, "orders"), pytest.raises(TemporaryError, match=r"in use by pid .*report"):
        await swapped(shop, chosen, hasty)


async def test_a_plan_that_is_stale_changes_nothing(shop: str, tmp_path: Path) -> None:
    chosen = await taken(shop, tmp_path)
    with pytest.raises(Stale):
        await restore_swap(
            SecretStr(shop),
            chosen,
            "0" * 64,
            policy=ANY,
            run="shop-v2-100",
            clock=SystemClock(),
            journal=noted,
        )
