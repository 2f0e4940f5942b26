"""Of a large schema a reversal is tried on what it can reach, with the same result as on all."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy, MigrationTool
from rollbackd.core.errors import RollbackdError
from rollbackd.postgres import clone, excerpt, tools
from rollbackd.postgres.connection import connect
from rollbackd.postgres.fingerprint import fingerprint, unlike
from rollbackd.postgres.rehearsal import Rehearsed, rehearse
from rollbackd.postgres.words import Applied, Reverse

pytestmark = pytest.mark.process

SCHEMA = """
CREATE SCHEMA "odd ; name";
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood DEFAULT 'a');
CREATE TABLE child (id serial PRIMARY KEY, parent bigint REFERENCES parent, "we ird" text UNIQUE);
CREATE TABLE "odd ; name"."t x" (a int);
CREATE TABLE inherits () INHERITS (parent);
CREATE TABLE part (a int, b date) PARTITION BY RANGE (a);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (10);
CREATE INDEX ON part (a);
CREATE VIEW v AS SELECT id + 1 AS x, m FROM parent;
CREATE VIEW v3 AS SELECT * FROM v;
CREATE FUNCTION of(parent) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
--
-- Name: child; Type: TABLE; Schema: public
--
RETURN NEW; END$$;
CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION fires();
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON child USING (EXISTS (SELECT FROM parent));
GRANT SELECT (id) ON parent TO anon;
COMMENT ON COLUMN child.id IS 'its number';
CREATE STATISTICS both_of ON a, b FROM part;
CREATE SEQUENCE numbers;
CREATE TABLE numbered (a int DEFAULT nextval('numbers'));
CREATE TABLE alone1 (a int); CREATE TABLE alone2 (a int);
"""
STEP = Reverse(
    applied=Applied(
        tool=MigrationTool.SUPABASE,
        version="2",
        name="x",
        order=1,
        table="supabase_migrations.schema_migrations",
    ),
    text="",
    where="2_x.rollback.sql",
)
BOUNDED = [
    "ALTER TABLE parent DROP COLUMN m CASCADE; DROP SEQUENCE numbers CASCADE",
    "DROP TABLE child; DROP STATISTICS both_of",
    "DROP TABLE parent CASCADE",
    "DROP TABLE IF EXISTS not_there, alone1; CREATE TABLE alone3 (LIKE child INCLUDING ALL)",
    "DROP TYPE mood CASCADE; DROP FUNCTION fires() CASCADE; REVOKE ALL ON parent FROM anon",
    'ALTER TABLE child RENAME COLUMN "we ird" TO tame; ALTER TABLE "odd ; name"."t x" ADD b int',
    "DROP INDEX part_a_idx; ALTER TABLE part DETACH PARTITION part1; DROP POLICY own ON child",
    "CREATE OR REPLACE VIEW v3 AS SELECT x, m, 1 AS one FROM v; UPDATE child SET parent = NULL",
]
ANYTHING = [
    "DO $$DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables LOOP END LOOP; END$$",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO anon",
    "SELECT purge()",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO anon",
    "DROP OWNED BY anon",
    "DROP EXTENSION pgcrypto CASCADE",
    "DELETE FROM pg_depend",
    'DROP TABLE U&"\\0070arent"',
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION fires()",
]


@pytest.fixture
def made(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute(
            "INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'w'),"
            " ('2', '{}', 'x')"
        )
    return database


async def tried(url: str, text: str) -> Rehearsed:
    step = replace(STEP, text=text)
    schemas = ("public", "odd ; name")
    policy = DatabasePolicy(schemas=schemas, statement_timeout_seconds=20.0)
    return await rehearse(SecretStr(url), [step], policy=policy, good=None, clock=SystemClock())


class Seen:
    """How much of the dump was loaded, each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[bool] = []
        plain = clone.load

        async def load(*given: Any, **named: Any) -> None:
            self.parts.append(named["only"] is not None)
            await plain(*given, **named)

        monkeypatch.setattr(clone, "load", load)
        monkeypatch.setattr(excerpt, "SMALL", 0)


@pytest.mark.parametrize("text", BOUNDED)
async def test_what_it_does_to_an_excerpt_it_does_to_the_whole(
    made: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Without what depends on a root the first, third, fifth and sixth would differ."""
    whole = await tried(made, text)
    seen = Seen(monkeypatch)
    part = await tried(made, text)

    assert seen.parts == [True]
    assert part.total.step == whole.total.step
    assert part.reversal.after == whole.reversal.after
    assert (part.reversal.locks, part.reversal.rows_lost) == (
        whole.reversal.locks,
        whole.reversal.rows_lost,
    )
    assert (part.total.harm, part.total.reasons) == (whole.total.harm, whole.total.reasons)


@pytest.mark.parametrize("text", ANYTHING)
def test_what_may_reach_anything_is_tried_on_the_whole(text: str) -> None:
    assert excerpt.names([BOUNDED[0], text]) is None


async def test_what_fails_on_an_excerpt_is_tried_on_the_whole(
    made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body hides what it needs: the trigger's table is named nowhere else."""
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION writes() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO alone2 VALUES (1); RETURN NULL; END';"
            "CREATE TRIGGER w AFTER UPDATE ON alone1 EXECUTE FUNCTION writes()"
        )
    seen = Seen(monkeypatch)

    done = await tried(made, "UPDATE alone1 SET a = 1")

    assert seen.parts == [True, False]
    assert not done.total.step


async def test_a_step_that_is_wrong_is_told_as_it_is(
    made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Seen(monkeypatch)
    with pytest.raises(RollbackdError, match="not_there"):
        await tried(made, "DROP TABLE not_there")


async def test_a_large_schema_is_loaded_in_pieces_and_a_body_stays_as_it_is(
    made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one piece 2,000 tables are more than a server has room to lock: one by one takes four
    times as long. With the mark left out of a piece the trigger's function would differ.
    """
    pieces: list[bytes] = []
    commands: list[str] = []
    plain, run = clone._pieces, tools.run_async

    def counted(script: bytes) -> Iterator[bytes]:
        pieces.extend(plain(script))
        return plain(script)

    async def noted(command: list[str], **named: Any) -> None:
        commands.extend(command)
        await run(command, **named)

    monkeypatch.setattr(clone, "_AT_ONCE", 10)
    monkeypatch.setattr(clone, "_pieces", counted)
    monkeypatch.setattr(tools, "run_async", noted)
    async with (
        await connect(SecretStr(made), name="test") as source,
        clone.dumping(source, ["public"], 30) as dump,
        clone.cloned(
            SecretStr(made), source, await dump, with_rows=[], limit_seconds=30, clock=SystemClock()
        ) as copy,
    ):
        other = unlike(await fingerprint(source, ["public"]), await fingerprint(copy, ["public"]))

    assert len(pieces) > 3
    assert not [word for word in commands if word.startswith("--dbname")]
    assert not other
