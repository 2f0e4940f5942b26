"""One real server a worker, and a fresh database a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from rollbackd.postgres.local_server import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="session")
def template(server: PostgresServer) -> str:
    """A database with the roles and the schema that Supabase has, to be copied."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_app")
    with psycopg.connect(server.url("template_app"), autocommit=True) as connection:
        for role in ("anon", "authenticated", "service_role"):
            connection.execute(f"CREATE ROLE {role} NOLOGIN")
        connection.execute("CREATE SCHEMA supabase_migrations")
        connection.execute(
            "CREATE TABLE supabase_migrations.schema_migrations"
            " (version text PRIMARY KEY, statements text[], name text)"
        )
    return "template_app"


@pytest.fixture
def database(server: PostgresServer, template: str) -> str:
    """The URL of a database that is this test's alone."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.url(name)  # it goes with the server: dropping it would cost a checkpoint
