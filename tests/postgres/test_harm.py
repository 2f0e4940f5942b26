"""Reverse files that are not inverses: every leftover is found, and what it costs is said."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.postgres.fingerprint import compare, fingerprint
from rollbackd.postgres.harm import judge, runs_on, split
from rollbackd.postgres.local_server import PostgresServer
from rollbackd.postgres.words import Difference, Fingerprint, ObjectKey

POLICY = DatabasePolicy()

# A shop's support desk, as it was while the good release ran.
GOOD = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN NEW.changed_at := now(); RETURN NEW; END$$;
CREATE TYPE urgency AS ENUM ('low', 'high');
CREATE TABLE tickets (
  id bigserial PRIMARY KEY, shop text NOT NULL, state text NOT NULL DEFAULT 'open',
  how urgency DEFAULT 'low', note text, changed_at timestamptz DEFAULT now()
);
COMMENT ON COLUMN tickets.note IS 'what the customer said';
CREATE INDEX tickets_by_shop ON tickets (shop);
CREATE TRIGGER tickets_touch BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tickets ON tickets FOR SELECT TO authenticated USING (shop = current_user);
CREATE POLICY no_writes ON tickets AS RESTRICTIVE FOR DELETE TO PUBLIC USING (false);
GRANT SELECT ON tickets TO authenticated;
GRANT SELECT, INSERT, UPDATE ON tickets TO service_role;
CREATE TABLE audit (id bigint PRIMARY KEY, line text NOT NULL);
GRANT SELECT, INSERT ON audit TO service_role;
CREATE VIEW open_tickets WITH (security_invoker = true) AS
  SELECT id, shop FROM tickets WHERE state = 'open';
GRANT SELECT ON open_tickets TO authenticated;
CREATE FUNCTION close(ticket bigint) RETURNS void LANGUAGE sql AS
  $$UPDATE tickets SET state = 'closed' WHERE id = ticket$$;
"""


@dataclass(frozen=True)
class Case:
    """A migration, the file that is to reverse it, what it leaves, and how harmful it is."""

    name: str
    up: str
    down: str
    residue: frozenset[ObjectKey]
    harm: Harm
    says: str = ""


def case(name: str, up: str, down: str, *residue: ObjectKey, harm: Harm, says: str = "") -> Case:
    return Case(name, up, down, frozenset(residue), harm, says)


CASES = [
    case(
        "a function and an index, taken back to the letter",
        "CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM tickets';"
        "CREATE INDEX by_state ON tickets (state)",
        "DROP INDEX by_state; DROP FUNCTION counted()",
        harm=Harm.SAFE,
    ),
    case(
        "a new table",
        "CREATE TABLE replies (id serial PRIMARY KEY, body text); GRANT SELECT ON replies TO anon",
        "DROP TABLE replies",
        harm=Harm.LOSSY,
        says="table public.replies is dropped",
    ),
    case(
        "a new column",
        "ALTER TABLE tickets ADD COLUMN mood text",
        "ALTER TABLE tickets DROP COLUMN mood",
        harm=Harm.LOSSY,
        says="column public.tickets.mood is dropped",
    ),
    case(
        "a view with another column, whose readers are forgotten",
        "DROP VIEW open_tickets; CREATE VIEW open_tickets WITH (security_invoker = true) AS"
        " SELECT id, shop, note FROM tickets WHERE state = 'open';"
        " GRANT SELECT ON open_tickets TO authenticated",
        "DROP VIEW open_tickets; CREATE VIEW open_tickets AS"
        " SELECT id, shop FROM tickets WHERE state = 'open'",
        ("acl", "authenticated on view public.open_tickets"),
        ("view", "public.open_tickets"),
        harm=Harm.SECURITY,
        says="asked with its reader's rights",
    ),
    case(
        "append-only rights, whose file takes all",
        "REVOKE INSERT ON audit FROM service_role; GRANT INSERT, DELETE ON audit TO service_role",
        "REVOKE ALL ON audit FROM service_role; GRANT SELECT ON audit TO service_role",
        ("acl", "service_role on table public.audit"),
        harm=Harm.SECURITY,
        says="service_role loses DELETE, INSERT on table public.audit",
    ),
    case(
        "new policies, whose file turns row security off",
        "CREATE POLICY staff ON tickets FOR UPDATE TO authenticated USING (true);"
        "GRANT UPDATE ON tickets TO authenticated",
        "DROP POLICY staff ON tickets; REVOKE UPDATE ON tickets FROM authenticated;"
        "ALTER TABLE tickets DISABLE ROW LEVEL SECURITY",
        ("rls", "public.tickets"),
        harm=Harm.SECURITY,
        says="row security of public.tickets goes off",
    ),
    case(
        "a policy made again, wider",
        "DROP POLICY own_tickets ON tickets; CREATE POLICY own_tickets ON tickets FOR SELECT TO"
        " authenticated USING (shop = current_user AND state = 'open')",
        "DROP POLICY own_tickets ON tickets;"
        "CREATE POLICY own_tickets ON tickets FOR SELECT USING (true)",
        ("policy", "public.tickets.own_tickets"),
        harm=Harm.SECURITY,
        says="to PUBLIC",
    ),
    case(
        "a restrictive policy that is not put back",
        "ALTER POLICY no_writes ON tickets USING (shop = 'x')",
        "DROP POLICY no_writes ON tickets",
        ("policy", "public.tickets.no_writes"),
        harm=Harm.SECURITY,
        says="policy public.tickets.no_writes goes",
    ),
    case(
        "a table whose trigger function stays",
        "CREATE FUNCTION log_reply() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NEW; END'; CREATE TABLE replies (id int);"
        "CREATE TRIGGER t AFTER INSERT ON replies EXECUTE FUNCTION log_reply()",
        "DROP TABLE replies",
        ("function", "public.log_reply()"),
        ("owner", "function public.log_reply()"),
        ("acl", "PUBLIC on function public.log_reply()"),
        harm=Harm.LOSSY,
    ),
    case(
        "a comment and a default that do not come back",
        "ALTER TABLE tickets RENAME COLUMN note TO body;"
        "ALTER TABLE tickets ALTER COLUMN state DROP DEFAULT;"
        "COMMENT ON COLUMN tickets.body IS 'said by whom'",
        "ALTER TABLE tickets RENAME COLUMN body TO note; COMMENT ON COLUMN tickets.note IS NULL",
        ("comment", "column public.tickets.note"),
        ("column", "public.tickets.state"),
        harm=Harm.LOSSY,
    ),
    case(
        "a serial column made new, its sequence nobody's",
        "ALTER TABLE tickets ALTER COLUMN id DROP DEFAULT; DROP SEQUENCE tickets_id_seq;"
        "ALTER TABLE tickets ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY"
        " (SEQUENCE NAME tickets_ids)",
        "ALTER TABLE tickets ALTER COLUMN id DROP IDENTITY; CREATE SEQUENCE tickets_id_seq;"
        "ALTER TABLE tickets ALTER COLUMN id SET DEFAULT nextval('tickets_id_seq')",
        ("sequence", "public.tickets_id_seq"),
        harm=Harm.LOSSY,
    ),
    case(
        "a dropped table that comes back bare",
        "DROP TABLE audit",
        "CREATE TABLE audit (id bigint PRIMARY KEY, line text NOT NULL);GRANT ALL ON audit TO anon",
        ("acl", "anon on table public.audit"),
        ("acl", "service_role on table public.audit"),
        harm=Harm.SECURITY,
        says="comes without row security",
    ),
    case(
        "a function that comes back with its owner's rights",
        "DROP FUNCTION close(bigint)",
        "CREATE FUNCTION close(ticket bigint) RETURNS void LANGUAGE sql SECURITY DEFINER AS"
        " $$UPDATE tickets SET state = 'closed' WHERE id = ticket$$",
        ("function", "public.close(ticket bigint)"),
        harm=Harm.SECURITY,
        says="security definer",
    ),
    case(
        "an enum made new without its order",
        "ALTER TYPE urgency ADD VALUE 'worst'",
        "ALTER TABLE tickets ALTER COLUMN how DROP DEFAULT; ALTER TYPE urgency RENAME TO old;"
        "CREATE TYPE urgency AS ENUM ('high', 'low');"
        "ALTER TABLE tickets ALTER COLUMN how TYPE urgency USING how::text::urgency;"
        "DROP TYPE old",
        ("enum", "public.urgency"),
        ("column", "public.tickets.how"),
        harm=Harm.LOSSY,
    ),
    case(
        "a constraint that is put back without looking",
        "ALTER TABLE tickets ADD CONSTRAINT short CHECK (length(note) < 9)",
        "ALTER TABLE tickets DROP CONSTRAINT short;"
        "ALTER TABLE tickets ADD CONSTRAINT named CHECK (shop <> '') NOT VALID",
        ("constraint", "public.tickets.named"),
        harm=Harm.SAFE,
    ),
    case(
        "an owner that changes",
        "ALTER TABLE audit ADD COLUMN at date",
        "ALTER TABLE audit DROP COLUMN at; ALTER TABLE audit OWNER TO service_role",
        ("owner", "table public.audit"),
        ("acl", "service_role on table public.audit"),
        harm=Harm.SECURITY,
        says="goes from postgres to service_role",
    ),
    case(
        "default privileges that stay",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO authenticated",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon",
        ("acl", "authenticated on default privileges tables of postgres in public"),
        ("acl", "anon on default privileges tables of postgres in public"),
        harm=Harm.SECURITY,
        says="anon gets",
    ),
]


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> str:
    """One for all of these: what they do is rolled back."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE judged TEMPLATE {template}")
    with psycopg.connect(server.url("judged"), autocommit=True) as connection:
        connection.execute(GOOD)
    return server.url("judged")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database) as opened:
        yield opened
        await opened.rollback()


async def seen(connection: psycopg.AsyncConnection[Any], statement: str = "") -> Fingerprint:
    if statement:
        await connection.execute(statement)
    return await fingerprint(connection, ("public",))


def keys(difference: Difference) -> set[ObjectKey]:
    return {*difference.lost, *difference.extra, *difference.changed}


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
async def test_what_a_reverse_file_leaves_is_found(
    connection: psycopg.AsyncConnection[Any], each: Case
) -> None:
    good = await seen(connection)
    now = await seen(connection, each.up)
    after = await seen(connection, each.down)

    harm, reasons = judge(compare(now, after), {}, {}, POLICY, True, good=good)
    counts, benign = split(compare(good, after), ())

    assert {*keys(counts), *keys(benign)} == each.residue
    assert {key for key in each.residue if key[0] == "comment"} == keys(benign)
    assert harm is each.harm, reasons
    assert any(each.says in reason for reason in reasons) or not each.says, reasons


def test_without_a_change_nothing_is_harmed() -> None:
    assert judge(Difference(), {}, {}, POLICY, True) == (Harm.SAFE, ())


def test_numbers_come_first_and_the_worst_first() -> None:
    step = Difference(lost={("policy", "public.a.p"): "permissive; all"})
    harm, reasons = judge(
        step, {"public.a": 1234, "public.b": 1, "c": 0}, {"public.a": ("x", "y")}, POLICY, False
    )

    assert harm is Harm.NON_TRANSACTIONAL
    assert reasons == (
        "runs outside of a transaction: no way back from it",
        "policy public.a.p goes: permissive; all",
        "1,234 rows of public.a would be lost",
        "1 row of public.b would be lost",
        "2 columns of public.a would be lost: x, y",
    )


@pytest.mark.parametrize("kind", ["extension", "operator family"])
def test_what_is_not_understood_is_unknown(kind: str) -> None:
    key = (kind, "odd")
    steps = [Difference(lost={key: ""}), Difference(extra={key: ""})]
    steps.append(Difference(changed={key: ("a", "b")}))

    assert {judge(step, {}, {}, POLICY, True)[0] for step in steps} == {Harm.UNKNOWN}


def test_rights_that_come_back_are_no_harm_but_for_roles_outside() -> None:
    inside, outside = ("acl", "worker on table a.b"), ("acl", "anon on table a.b")
    good = Fingerprint(objects={inside: "SELECT", outside: "SELECT"}, sha256="")

    def worst(key: ObjectKey, before: str, after: str, good: Fingerprint | None) -> Harm:
        return judge(Difference(changed={key: (before, after)}), {}, {}, POLICY, True, good=good)[0]

    assert worst(inside, "INSERT, SELECT", "SELECT", good) is Harm.SAFE
    assert worst(inside, "INSERT, SELECT", "SELECT", None) is Harm.SECURITY
    assert worst(inside, "SELECT", "INSERT, SELECT", None) is Harm.SAFE
    assert worst(outside, "INSERT, SELECT", "SELECT", good) is Harm.SAFE
    assert worst(outside, "", "SELECT", good) is Harm.SECURITY


def test_an_owner_may_let_something_stay_with_all_that_hangs_on_it() -> None:
    residue = Difference(
        extra={
            ("function", "public.touch()"): "…",
            ("owner", "function public.touch()"): "postgres",
            ("acl", "PUBLIC on function public.touch()"): "EXECUTE",
            ("index", "public.i"): "…",
        },
        lost={("function", "public.touch2()"): "…"},
    )

    counts, benign = split(residue, ("function public.touch*",))

    assert keys(counts) == {("index", "public.i"), ("function", "public.touch2()")}
    assert len(keys(benign)) == 3


OLD_IMAGE = {
    "ALTER TABLE tickets DROP COLUMN note": "column public.tickets.note is gone",
    "ALTER TABLE tickets RENAME COLUMN note TO body": "column public.tickets.note is gone",
    "ALTER TABLE tickets ALTER COLUMN note TYPE int USING 1": "from text to integer",
    "ALTER TABLE tickets ALTER COLUMN note SET NOT NULL": "takes no null any more",
    "ALTER TABLE tickets ALTER COLUMN state DROP DEFAULT": "has no default any more",
    "ALTER TABLE tickets ADD COLUMN need int NOT NULL": "is new and has to be given",
    "ALTER TABLE tickets ADD CHECK (shop <> '')": "is new on columns it writes",
    "ALTER TABLE tickets ADD UNIQUE (shop)": "is new on columns it writes",
    "CREATE UNIQUE INDEX u ON tickets (shop)": "unique index public.u is new",
    "DROP VIEW open_tickets": "view public.open_tickets is gone",
    "DROP FUNCTION close(bigint)": "function public.close(ticket bigint) is gone",
    "DROP FUNCTION close(bigint); CREATE FUNCTION close(ticket bigint) RETURNS int"
    " LANGUAGE sql AS 'SELECT 1'": "returns integer",
    "DROP FUNCTION close(bigint); CREATE FUNCTION close(ticket int) RETURNS void"
    " LANGUAGE sql AS 'SELECT'": "function public.close(ticket bigint) is gone",
    "ALTER TABLE audit ENABLE ROW LEVEL SECURITY": "row security of public.audit went from off",
    "ALTER TABLE tickets FORCE ROW LEVEL SECURITY": "went from on to on, forced",
    "DROP POLICY own_tickets ON tickets": "policy public.tickets.own_tickets is gone",
    "ALTER POLICY own_tickets ON tickets USING (false)": "own_tickets is another",
    "CREATE POLICY shut ON tickets AS RESTRICTIVE USING (false)": "is new and restricts",
    "REVOKE INSERT ON audit FROM service_role": "service_role lost INSERT on table public.audit",
    "REVOKE ALL ON audit FROM service_role": "service_role lost INSERT, SELECT on table",
    "REVOKE EXECUTE ON FUNCTION close(bigint) FROM PUBLIC": "PUBLIC lost EXECUTE",
    "ALTER TYPE urgency RENAME VALUE 'low' TO 'least'": "enum public.urgency went from",
    "ALTER TABLE tickets DROP CONSTRAINT tickets_pkey": "ON CONFLICT may name it",
    "DROP TABLE audit": "table public.audit is gone",
}


@pytest.mark.parametrize("statement", OLD_IMAGE)
async def test_what_an_old_image_cannot_live_with_is_told(
    connection: psycopg.AsyncConnection[Any], statement: str
) -> None:
    good = await seen(connection)

    reasons = runs_on(good, await seen(connection, statement))

    assert len(reasons) == 1
    assert OLD_IMAGE[statement] in reasons[0]


async def test_what_only_adds_does_not_trouble_an_old_image(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    good = await seen(connection)
    added = (
        "CREATE TABLE new (id serial PRIMARY KEY, t bigint REFERENCES tickets, UNIQUE (t));"
        "ALTER TABLE tickets ADD COLUMN a text, ADD COLUMN b int NOT NULL DEFAULT 1,"
        " ADD COLUMN c int GENERATED ALWAYS AS (1) STORED, ADD CHECK (b > 0);"
        "ALTER TABLE tickets ALTER COLUMN shop DROP NOT NULL;"
        "CREATE INDEX more ON tickets (a); CREATE POLICY all_see ON tickets FOR SELECT"
        " USING (true); GRANT DELETE ON tickets TO service_role;"
        "ALTER TYPE urgency ADD VALUE 'middling' BEFORE 'high';"
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE OR REPLACE FUNCTION close(ticket bigint) RETURNS void LANGUAGE sql AS 'SELECT';"
        "COMMENT ON TABLE tickets IS 'x'"
    )

    assert runs_on(good, await seen(connection, added)) == ()
    assert runs_on(good, good) == ()
