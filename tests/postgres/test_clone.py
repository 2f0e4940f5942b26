"""A clone has the schema, the roles and the history, and none of the app's rows."""

import contextlib

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from rollbackd.clock import FakeClock, SystemClock
from rollbackd.postgres import scratch
from rollbackd.postgres.clone import cloned, dumping
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.fingerprint import fingerprint, unlike
from rollbackd.postgres.local_server import PostgresServer

HISTORY = sql.Identifier("supabase_migrations", "schema_migrations")


@pytest.fixture
def app(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            """
            CREATE SCHEMA auth;
            CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql AS $$SELECT 'me'$$;
            CREATE TABLE notes (id int PRIMARY KEY, owner text DEFAULT auth.uid());
            INSERT INTO notes SELECT n FROM generate_series(1, 100) n;
            ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
            CREATE POLICY mine ON notes USING (owner = auth.uid());
            GRANT SELECT ON notes TO authenticated;
            INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'notes');
            """
        )
    return database


def own_role(server: PostgresServer, url: str, name: str, flags: str) -> SecretStr:
    """One that is no superuser, and owns everything in the database."""
    database = url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"""
            CREATE ROLE {name} LOGIN PASSWORD 'secret-word' {flags};
            GRANT pg_read_all_data TO {name};
            ALTER DATABASE {database} OWNER TO {name};
            ALTER SCHEMA public OWNER TO {name};
            ALTER TABLE notes OWNER TO {name};
            """
        )
    return SecretStr(server.url(database, user=name, password="secret-word"))


async def look(url: SecretStr, clone_of: Connection) -> tuple[str, bool]:
    """The user in the clone; whether it is like its source, with the history and no rows."""
    before = await fingerprint(clone_of, ["public"])
    async with (
        dumping(clone_of, ["public", "supabase_migrations"], 30) as dump,
        cloned(
            url,
            clone_of,
            await dump,
            with_rows=[HISTORY],
            limit_seconds=30,
            clock=SystemClock(),
        ) as clone,
    ):
        after = await fingerprint(clone, ["public"])
        rows = await (await clone.execute("SELECT count(*) FROM public.notes")).fetchone()
        history = await (
            await clone.execute("SELECT version FROM supabase_migrations.schema_migrations")
        ).fetchall()
        user = await (await clone.execute("SELECT current_user::text")).fetchone()
        difference = unlike(before, after)
        assert not difference.lost, difference.lost
        assert user is not None
        return user[0], (rows, history) == ((0,), [("1",)])


async def scratches(connection: Connection) -> list[str]:
    found = await connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE 'rollbackd_scratch%'"
    )
    return [name for (name,) in await found.fetchall()]


async def test_it_is_made_on_the_same_server_and_gone_afterwards(app: str) -> None:
    url = SecretStr(app)
    async with await connect(url, name="test") as source:
        assert await look(url, source) == ("postgres", True)
        assert await scratches(source) == []


async def test_a_role_without_superuser_gets_one_too(app: str, server: PostgresServer) -> None:
    url = own_role(server, app, "maker", "CREATEDB")
    async with await connect(url, name="test") as source:
        assert await look(url, source) == ("maker", True)


async def test_where_no_database_may_be_made_it_is_made_on_a_server_of_our_own(
    app: str, server: PostgresServer
) -> None:
    url = own_role(server, app, "bound", "NOCREATEDB")
    async with await connect(url, name="test") as source:
        assert await look(url, source) == ("bound", True)


async def test_what_was_left_by_a_killed_process_is_removed_after_an_hour(database: str) -> None:
    url, clock = SecretStr(database), FakeClock()
    async with await connect(url, name="test") as connection:
        await connection.execute(f"CREATE DATABASE rollbackd_scratch_{clock.now():.0f}_dead")
        clock.advance(1800)
        async with scratch.scratch(url, clock):
            assert len(await scratches(connection)) == 2
        clock.advance(1900)
        async with scratch.scratch(url, clock):
            assert len(await scratches(connection)) == 1
        assert await scratches(connection) == []


async def test_nobody_else_comes_into_a_scratch_database(
    database: str, server: PostgresServer
) -> None:
    url = SecretStr(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'word'")
    async with scratch.scratch(url, SystemClock()) as address:
        name = psycopg.conninfo.conninfo_to_dict(address.get_secret_value())["dbname"]
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(server.url(str(name), user="stranger", password="word"))


async def test_it_is_gone_after_an_error_of_ours_too(database: str) -> None:
    url = SecretStr(database)
    async with contextlib.AsyncExitStack() as stack, await connect(url, name="test") as connection:
        with contextlib.suppress(KeyError):
            async with scratch.scratch(url, SystemClock()) as address:
                await stack.enter_async_context(await connect(address, name="left-open"))
                raise KeyError

        assert await scratches(connection) == []
