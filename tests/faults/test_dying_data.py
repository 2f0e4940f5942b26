"""Killed at every step of a restore, before its effect and after it: see tests/postgres."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rollbackd.postgres.local_server import PostgresServer
from rollbackd.sandbox.server import Sandbox
from tests.postgres.restoring import FIRST, QUICK, Where
from tests.postgres.shop import execute
from tests.postgres.test_data import failed_and_given_back
from tests.postgres.test_dying_data import SHORT, killed_and_finished

pytestmark = [pytest.mark.process, pytest.mark.slow]
KINDS = (
    *("data_check", "cordon", "stop_machine", "data_keep", "data_restore", "data_verify"),
    *("uncordon", "prove", "report"),
)
POINTS = [*(f"{when} {kind}" for kind in KINDS for when in ("started", "done")), "id", "COMMIT"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    name = f"test_{abs(hash(request.node.name))}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    execute(
        server.url(name),
        "CREATE SCHEMA supabase_migrations; CREATE TABLE supabase_migrations.schema_migrations"
        " (version text PRIMARY KEY, statements text[], name text)",
    )
    return server.url(name)


@pytest.mark.parametrize("point", [point for point in POINTS if point not in SHORT])
async def test_a_successor_finishes_what_was_killed(
    database: str, tmp_path: Path, point: str
) -> None:
    await killed_and_finished(database, tmp_path / "state", point)


@pytest.mark.parametrize("point", ["id", "COMMIT", "sent", "done data_restore"])
async def test_a_database_that_was_being_replaced_is_one_or_the_other(
    database: str, tmp_path: Path, point: str
) -> None:
    change = "ALTER TABLE products ADD COLUMN loud boolean"
    await killed_and_finished(database, tmp_path / "state", point, change=change)
    assert execute(database, "SELECT 1 FROM pg_attribute WHERE attname = 'loud'") == []


async def test_whoever_ends_it_instead_has_the_app_back(database: str, tmp_path: Path) -> None:
    await killed_and_finished(database, tmp_path / "state", "started data_keep", abort=True)


@pytest.mark.parametrize("fault", ["limit", "changed"])
async def test_whatever_fails_the_app_is_back(
    database: str, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(machines=2, rate_limits=False, **QUICK) as box:
        await box.ready()
        execute(database, FIRST)
        where = Where.of(box, database, tmp_path / "state")
        await failed_and_given_back(box, where, fault, monkeypatch)
