"""Killed at every step of a restore, before its effect and after it: see tests/postgres."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rollbackd.postgres.local_server import PostgresServer
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


@pytest.mark.parametrize("point", [point for point in POINTS if point not in SHORT])
async def test_a_successor_finishes_what_was_killed(
    server: PostgresServer, tmp_path: Path, point: str
) -> None:
    name = f"test_{POINTS.index(point)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(
            "CREATE SCHEMA supabase_migrations; CREATE TABLE supabase_migrations.schema_migrations"
            " (version text PRIMARY KEY, statements text[], name text)"
        )
    await killed_and_finished(server.url(name), tmp_path / "state", point)
