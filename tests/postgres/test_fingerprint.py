"""What a schema is: nothing that an app can feel is missed, and a restored dump is the same."""

import subprocess
import time

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rollbackd.postgres.binaries import find_binaries
from rollbackd.postgres.fingerprint import after, compare, fingerprint
from rollbackd.postgres.local_server import PostgresServer
from rollbackd.postgres.words import Difference, Fingerprint

SHOP = """
CREATE TYPE mood AS ENUM ('sad', 'fine', 'glad');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE money AS (cents bigint, currency char(3));
CREATE TYPE span AS RANGE (subtype = int);
CREATE SEQUENCE ticket START 7;
CREATE TABLE "Session" (
  id text PRIMARY KEY, gone int, mail email NOT NULL, feels mood DEFAULT 'fine',
  state varchar(20) CHECK (state IN ('open', 'paid')), price public.money,
  n bigint GENERATED ALWAYS AS IDENTITY, up text COLLATE "C",
  twice bigint GENERATED ALWAYS AS (2) STORED
);
ALTER TABLE "Session" DROP COLUMN gone;
CREATE TABLE facts (
  id serial PRIMARY KEY, shop text REFERENCES "Session", said text, at timestamptz DEFAULT now()
);
CREATE INDEX facts_at ON facts (at DESC) WHERE said IS NOT NULL;
COMMENT ON TABLE facts IS 'what was said';
COMMENT ON COLUMN facts.said IS 'by whom, ever';
CREATE TABLE logs (at date NOT NULL, line text) PARTITION BY RANGE (at);
CREATE TABLE logs_2025 PARTITION OF logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE VIEW said WITH (security_invoker = true) AS SELECT shop, said FROM facts;
CREATE MATERIALIZED VIEW per_shop AS SELECT shop, count(*) AS n FROM facts GROUP BY shop;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = '' AS $$BEGIN NEW.at := now(); RETURN NEW; END$$;
CREATE PROCEDURE tidy(keep int DEFAULT 5) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE together(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE TRIGGER touched BEFORE UPDATE ON facts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE no_delete AS ON DELETE TO "Session" DO INSTEAD NOTHING;
CREATE STATISTICS facts_stats ON shop, at FROM facts;
ALTER TABLE facts ENABLE ROW LEVEL SECURITY;
ALTER TABLE "Session" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "Session" FORCE ROW LEVEL SECURITY;
CREATE POLICY readers ON facts FOR SELECT TO anon, authenticated USING (said IS NOT NULL);
CREATE POLICY nobody ON facts AS RESTRICTIVE TO PUBLIC WITH CHECK (false);
GRANT SELECT ON facts TO anon, authenticated;
GRANT INSERT (said), UPDATE (said) ON facts TO authenticated;
GRANT ALL ON facts TO service_role;
GRANT USAGE ON SEQUENCE ticket TO service_role;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
REVOKE EXECUTE ON FUNCTION touch() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO anon;
CREATE PUBLICATION live FOR TABLE facts (id, said) WHERE (id > 0);
CREATE EXTENSION pgcrypto;
"""


async def seen(url: str, *schemas: str) -> Fingerprint:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await fingerprint(connection, schemas or ("public",))


async def by(url: str, statement: str) -> Difference:
    """What a statement changes, seen in its own transaction."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        before = await fingerprint(connection, ("public",))
        await connection.execute(statement)
        changed = compare(before, await fingerprint(connection, ("public",)))
        await connection.rollback()
        return changed


def create(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)


def copied(server: PostgresServer, url: str, name: str) -> str:
    binaries = find_binaries()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    dump = subprocess.run([binaries.tool("pg_dump"), url], capture_output=True, check=True)
    subprocess.run(
        [binaries.tool("psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", server.url(name)],
        input=dump.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return server.url(name)


async def test_a_restored_dump_is_the_same(server: PostgresServer, database: str) -> None:
    create(database, SHOP)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE facts ADD COLUMN gone int, ADD COLUMN late text")
        connection.execute("ALTER TABLE facts DROP COLUMN gone")
    before = await seen(database)

    restored = await seen(copied(server, database, "restored"))

    assert compare(before, restored) == Difference()
    assert before.sha256 == restored.sha256
    assert len(before.objects) > 80


CHANGES = {
    "ALTER TABLE facts DISABLE ROW LEVEL SECURITY": ("rls", "public.facts"),
    'ALTER TABLE "Session" NO FORCE ROW LEVEL SECURITY': ("rls", 'public."Session"'),
    "DROP POLICY readers ON facts": ("policy", "public.facts.readers"),
    "ALTER POLICY readers ON facts USING (true)": ("policy", "public.facts.readers"),
    "ALTER POLICY readers ON facts TO anon": ("policy", "public.facts.readers"),
    "REVOKE INSERT ON facts FROM service_role": ("acl", "service_role on table public.facts"),
    "GRANT DELETE ON facts TO anon": ("acl", "anon on table public.facts"),
    "GRANT SELECT ON facts TO anon WITH GRANT OPTION": ("acl", "anon on table public.facts"),
    "GRANT TRUNCATE ON facts TO PUBLIC": ("acl", "PUBLIC on table public.facts"),
    "REVOKE UPDATE (said) ON facts FROM authenticated": (
        "acl",
        "authenticated on column public.facts.said",
    ),
    "REVOKE DELETE ON facts FROM postgres": ("acl", "postgres on table public.facts"),
    "REVOKE USAGE ON SCHEMA public FROM anon": ("acl", "anon on schema public"),
    "GRANT EXECUTE ON FUNCTION touch() TO PUBLIC": (
        "acl",
        "PUBLIC on function public.touch()",
    ),
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT DELETE ON TABLES TO anon": (
        "acl",
        "anon on default privileges tables of postgres in public",
    ),
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC": (
        "acl",
        "postgres on default privileges functions of postgres",
    ),
    "ALTER TABLE facts OWNER TO service_role": ("owner", "table public.facts"),
    "ALTER FUNCTION touch() OWNER TO service_role": ("owner", "function public.touch()"),
    "COMMENT ON TABLE facts IS NULL": ("comment", "table public.facts"),
    "COMMENT ON COLUMN facts.said IS 'by anybody'": ("comment", "column public.facts.said"),
    "ALTER TABLE facts ALTER COLUMN at DROP DEFAULT": ("column", "public.facts.at"),
    "ALTER TABLE facts ALTER COLUMN said SET NOT NULL": ("column", "public.facts.said"),
    "ALTER TABLE logs ALTER COLUMN line TYPE varchar(9)": ("column", "public.logs.line"),
    'ALTER TABLE "Session" ALTER COLUMN up TYPE text COLLATE "POSIX"': (
        "column",
        'public."Session".up',
    ),
    'ALTER TABLE "Session" ALTER COLUMN n SET GENERATED BY DEFAULT': (
        "column",
        'public."Session".n',
    ),
    "ALTER SEQUENCE facts_id_seq OWNED BY NONE": ("sequence", "public.facts_id_seq"),
    "ALTER SEQUENCE ticket CYCLE": ("sequence", "public.ticket"),
    "ALTER TABLE facts DROP CONSTRAINT facts_shop_fkey": (
        "constraint",
        "public.facts.facts_shop_fkey",
    ),
    "ALTER TABLE facts ADD CHECK (id > 0) NOT VALID": ("constraint", "public.facts.facts_id_check"),
    "ALTER DOMAIN email DROP CONSTRAINT email_check": ("constraint", "public.email.email_check"),
    "DROP INDEX facts_at": ("index", "public.facts_at"),
    "ALTER TYPE mood RENAME VALUE 'fine' TO 'so so'": ("enum", "public.mood"),
    "ALTER TYPE mood ADD VALUE 'meh' BEFORE 'fine'": ("enum", "public.mood"),
    "ALTER TYPE money ADD ATTRIBUTE at date": ("type", "public.money"),
    "ALTER DOMAIN email SET NOT NULL": ("domain", "public.email"),
    "ALTER VIEW said SET (security_invoker = false)": ("view", "public.said"),
    "CREATE OR REPLACE VIEW said AS SELECT shop, 'x' AS said FROM facts": ("view", "public.said"),
    "ALTER FUNCTION touch() SECURITY INVOKER": ("function", "public.touch()"),
    "ALTER FUNCTION touch() RESET search_path": ("function", "public.touch()"),
    "ALTER FUNCTION touch() STABLE": ("function", "public.touch()"),
    "DROP TRIGGER touched ON facts": ("trigger", "public.facts.touched"),
    "ALTER TABLE facts DISABLE TRIGGER touched": ("trigger", "public.facts.touched"),
    'DROP RULE no_delete ON "Session"': ("rule", 'public."Session".no_delete'),
    "ALTER TABLE logs DETACH PARTITION logs_2025": ("table", "public.logs_2025"),
    "ALTER TABLE logs_2025 SET UNLOGGED": ("table", "public.logs_2025"),
    "ALTER TABLE facts REPLICA IDENTITY FULL": ("table", "public.facts"),
    "ALTER TABLE facts SET (fillfactor = 50)": ("table", "public.facts"),
    "ALTER PUBLICATION live DROP TABLE facts": ("publication", "live of public.facts"),
    "DROP STATISTICS facts_stats": ("statistics", "public.facts_stats"),
    "DROP EXTENSION pgcrypto": ("extension", "pgcrypto"),
    "DROP AGGREGATE together(text)": ("aggregate", "public.together(text)"),
    "CREATE TABLE more (n int)": ("column", "public.more.n"),
}


async def test_every_change_that_can_be_felt_is_seen(database: str) -> None:
    create(database, SHOP)
    unseen: list[str] = []
    async with await psycopg.AsyncConnection.connect(database) as connection:
        before = await fingerprint(connection, ("public",))
        for statement, key in CHANGES.items():
            async with connection.transaction(force_rollback=True):
                await connection.execute(statement)
                difference = compare(before, await fingerprint(connection, ("public",)))
            if not (key in difference.lost or key in difference.extra or key in difference.changed):
                unseen.append(f"{statement}: {key} not in {difference}")

    assert unseen == []


async def test_what_an_extension_brings_is_not_ours(database: str) -> None:
    difference = await by(database, "CREATE EXTENSION pgcrypto")

    assert set(difference.extra) == {("extension", "pgcrypto")}


async def test_a_trigger_elsewhere_that_calls_into_the_schema_is_seen(database: str) -> None:
    create(
        database,
        "CREATE SCHEMA auth; CREATE TABLE auth.users (id int);"
        "CREATE FUNCTION welcome() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )

    difference = await by(
        database,
        "CREATE TRIGGER come AFTER INSERT ON auth.users EXECUTE FUNCTION welcome()",
    )

    assert set(difference.extra) == {("trigger", "auth.users.come")}


async def test_the_session_is_left_as_it_was(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("SET search_path = pg_temp, public")
        await fingerprint(connection, ("public",))
        assert await (await connection.execute("SHOW search_path")).fetchone() == (
            "pg_temp, public",
        )
        async with connection.transaction():
            await connection.execute("SET LOCAL search_path = public")
            await fingerprint(connection, ("public",))
            assert await (await connection.execute("SHOW search_path")).fetchone() == ("public",)


async def test_a_step_measured_elsewhere_applies_here(database: str) -> None:
    create(database, SHOP)
    now = await seen(database)
    statement = "ALTER TABLE facts DROP COLUMN said CASCADE, ADD COLUMN x int DEFAULT 1"

    step = await by(database, statement)
    create(database, statement)

    assert step.lost
    assert step.extra
    assert after(now, step).sha256 == (await seen(database)).sha256
    assert after(now, Difference()).sha256 == now.sha256


@pytest.mark.timeout(60)
async def test_a_thousand_tables_take_half_a_second(database: str) -> None:
    create(
        database,
        """DO $do$ BEGIN FOR i IN 1..1000 LOOP
        EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text NOT NULL DEFAULT %L,
          b int, c timestamptz DEFAULT now(), d jsonb, e uuid, f numeric(10,2))', i, 'x');
        IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END $do$""",
    )
    began = time.process_time()
    server_began = _server_seconds(database)
    found = await seen(database)
    ours = time.process_time() - began

    assert len(found.objects) > 10_000
    # Processor time and not the clock's: others may be working on this machine.
    assert ours < 0.5
    assert _server_seconds(database) - server_began < 1.5


def _server_seconds(url: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT coalesce(active_time, 0) / 1000 FROM pg_stat_database"
            " WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return float(row[0])


COLUMN = st.sampled_from(
    [
        "text",
        "int NOT NULL DEFAULT 3",
        "varchar(9) CHECK ({name} IN ('a', 'it''s'))",
        "mood DEFAULT 'sad'",
        "bigint GENERATED BY DEFAULT AS IDENTITY",
        "jsonb DEFAULT '{{}}'",
        "timestamptz DEFAULT now()",
        "text[] DEFAULT ARRAY['x'::text]",
    ]
)
EXTRA = st.sampled_from(
    [
        "ALTER TABLE {t} DROP COLUMN c0 CASCADE",
        "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON {t} FOR INSERT TO anon WITH CHECK (1 = 1)",
        "GRANT SELECT, DELETE ON {t} TO anon WITH GRANT OPTION",
        "GRANT UPDATE (c1) ON {t} TO authenticated",
        "CREATE UNIQUE INDEX ON {t} (c1)",
        "COMMENT ON COLUMN {t}.c1 IS 'one'",
        "CREATE VIEW v{n} AS SELECT * FROM {t} WHERE c1 IS NOT NULL",
        "REVOKE ALL ON {t} FROM postgres",
    ]
)


@settings(
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],  # shrinking would take minutes, an example a second
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tables=st.lists(st.tuples(st.lists(COLUMN, min_size=2), st.lists(EXTRA)), min_size=3))
async def test_whatever_is_made_a_restored_dump_is_the_same(
    server: PostgresServer, database: str, tables: list[tuple[list[str], list[str]]]
) -> None:
    statements = ["DROP SCHEMA public CASCADE; CREATE SCHEMA public"]
    statements.append("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    for n, (columns, extras) in enumerate(tables):
        spelled = ", ".join(
            f"c{i} " + column.format(name=f"c{i}") for i, column in enumerate(columns)
        )
        statements.append(f'CREATE TABLE "T{n}" ({spelled})')
        statements.extend(e.format(t=f'"T{n}"', n=n) for e in dict.fromkeys(extras))
    create(database, ";\n".join(statements))

    restored = await seen(copied(server, database, "property"))

    assert compare(await seen(database), restored) == Difference()
