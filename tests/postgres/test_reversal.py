"""Reverse migrations on a real server: rehearsed, proven, committed whole or not at all."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.clock import SystemClock
from rollbackd.core.database import DatabasePolicy, Harm, Invariant, Rehearsal
from rollbackd.core.errors import RollbackdError
from rollbackd.postgres import holding, outcome, rehearsal, reversal
from rollbackd.postgres.agreed import NotProven, Reversed, Stale
from rollbackd.postgres.connection import connect
from rollbackd.postgres.histories import applied
from rollbackd.postgres.outcome import Outcome
from rollbackd.postgres.rehearsal import Rehearsed
from rollbackd.postgres.words import Reverse

POLICY = DatabasePolicy(lock_timeout_seconds=0.3, lock_budget_seconds=1.5)
UP = """
CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);
INSERT INTO orders SELECT n, n FROM generate_series(1, 50) n;
INSERT INTO supabase_migrations.schema_migrations VALUES ('1', '{}', 'orders');
ALTER TABLE orders ADD COLUMN note text;
INSERT INTO supabase_migrations.schema_migrations VALUES ('2', '{}', 'note');
CREATE TABLE queries (id int PRIMARY KEY, q text);
INSERT INTO queries SELECT n, 'x' FROM generate_series(1, 1234) n;
INSERT INTO supabase_migrations.schema_migrations VALUES ('3', '{}', 'queries');
CREATE FUNCTION tile() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE INDEX orders_total ON orders (total);
INSERT INTO supabase_migrations.schema_migrations VALUES ('4', '{}', 'tile');
"""
DOWN = {
    "4": "DROP INDEX orders_total; DROP FUNCTION tile();",
    "3": "DROP TABLE queries;",
    "2": "ALTER TABLE orders DROP COLUMN note;",
}


@pytest.fixture
def app(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(UP)
    return database


async def steps_of(url: str, texts: dict[str, str]) -> list[Reverse]:
    async with await connect(SecretStr(url), name="test") as connection:
        rows = {row.version: row for row in await applied(connection, ())}
    return [
        Reverse(applied=rows[version], text=text, where=f"{version}.rollback.sql")
        for version, text in texts.items()
    ]


async def rehearsed(
    url: str, texts: dict[str, str] = DOWN, policy: DatabasePolicy = POLICY
) -> Rehearsed:
    return await rehearsal.rehearse(
        SecretStr(url),
        await steps_of(url, texts),
        policy=policy,
        good=None,
        clock=SystemClock(),
    )


async def reverse(
    url: str, plan: Rehearsed, policy: DatabasePolicy = POLICY, ids: list[str] | None = None
) -> Reversed:
    async def journal(xid: str) -> None:
        if ids is not None:
            ids.append(xid)

    return await reversal.reverse(
        SecretStr(url),
        plan.reversal,
        policy=policy,
        run="test",
        clock=SystemClock(),
        rng=random.Random(1),
        journal=journal,
    )


async def state(url: str) -> outcome.State:
    async with await connect(SecretStr(url), name="test") as connection:
        return await outcome.state_of(connection, histories=(), schemas=POLICY.schemas)


def versions(found: outcome.State) -> Sequence[str]:
    return [row.version for row in found.applied]


@pytest.mark.parametrize("where", list(Rehearsal))
async def test_a_rehearsal_changes_nothing_and_counts_what_would_go(
    app: str, where: Rehearsal
) -> None:
    before = await state(app)

    plan = await rehearsed(app, policy=replace(POLICY, rehearsal=where))

    assert plan.where is where
    assert [cost.harm for cost in plan.costs] == [Harm.SAFE, Harm.LOSSY, Harm.LOSSY]
    assert plan.total.rows_lost == {"public.queries": 1234}
    assert plan.total.columns_lost["public.orders"] == ("note",)
    assert plan.reversal.locks["public.orders"] == "AccessExclusiveLock"
    assert await state(app) == before


async def test_steps_are_reversed_together_and_the_locks_are_short(app: str) -> None:
    plan = await rehearsed(app)
    ids: list[str] = []

    done = await reverse(app, plan, ids=ids)

    found = await state(app)
    assert found == plan.reversal.after
    assert versions(found) == ["1"]
    assert ids == [done.xid]
    assert done.locked_seconds < 1


async def test_rows_that_a_step_writes_to_are_told_though_a_clone_has_none(app: str) -> None:
    plan = await rehearsed(app, {"4": DOWN["4"] + "DELETE FROM orders;"})

    assert plan.total.harm is Harm.LOSSY
    assert any("public.orders" in reason for reason in plan.total.reasons)


async def test_a_result_that_was_not_rehearsed_is_not_committed(app: str) -> None:
    plan = await rehearsed(app)
    other = replace(plan.reversal.steps[0], text="DROP FUNCTION tile();")
    changed = replace(
        plan, reversal=replace(plan.reversal, steps=(other, *plan.reversal.steps[1:]))
    )
    before = await state(app)

    with pytest.raises(NotProven, match="rehearsal foresaw") as refused:
        await reverse(app, changed)

    assert "orders_total" in refused.value.hint
    assert await state(app) == before


async def test_an_invariant_that_would_not_hold_is_seen_before_commit(app: str) -> None:
    plan = await rehearsed(app)
    before = await state(app)
    needs = replace(
        POLICY, invariants=(Invariant(name="asked", sql="SELECT count(*) > 0 FROM queries"),)
    )

    with pytest.raises(NotProven, match="asked"):
        await reverse(app, plan, needs)

    assert await state(app) == before


async def test_a_changed_schema_or_history_makes_a_plan_stale(app: str) -> None:
    plan = await rehearsed(app)
    with psycopg.connect(app, autocommit=True) as connection:
        connection.execute("INSERT INTO supabase_migrations.schema_migrations VALUES ('5')")
    with pytest.raises(Stale, match="migrations were applied"):
        await reverse(app, plan)
    with psycopg.connect(app, autocommit=True) as connection:
        connection.execute("CREATE TABLE new ()")
    with pytest.raises(Stale, match="schema changed"):
        await reverse(app, plan)


async def test_a_reader_in_the_way_is_named_and_given_up_on_in_the_budget(app: str) -> None:
    plan = await rehearsed(app)
    before = await state(app)
    with psycopg.connect(app, application_name="hotdash-app") as reader:
        reader.execute("SELECT note FROM orders WHERE note = 'secret'")
        async with asyncio.timeout(15):
            with pytest.raises(holding.InTheWay, match=r"hotdash-app.*idle in transaction") as told:
                await reverse(app, plan)
        assert "secret" not in told.value.message
    assert await state(app) == before


async def test_an_idle_reader_is_ended_where_the_owner_allows_it(app: str) -> None:
    plan = await rehearsed(app)
    with psycopg.connect(app, application_name="idle-app") as reader:
        reader.execute("SELECT * FROM orders")
        done = await reverse(app, plan, replace(POLICY, end_idle_after_seconds=0.0))
        assert "idle-app" in done.ended[0]
        with pytest.raises(psycopg.OperationalError):
            reader.execute("SELECT 1")


async def test_of_two_runs_one_wins_and_the_other_says_who(app: str) -> None:
    plan = await rehearsed(app)
    async with await connect(SecretStr(app), name="first") as first, first.transaction():
        await holding.ours(first)
        with pytest.raises(holding.OtherRun, match="rollbackd/first"):
            await reverse(app, plan)


@pytest.mark.parametrize(
    "text",
    [
        "DROP FUNCTION tile(); COMMIT;",
        "BEGIN; DROP FUNCTION tile(); ROLLBACK;",
        "\\d+ orders",
        "COPY orders FROM STDIN;",
        "DROP INDEX CONCURRENTLY orders_total;",
        "DO $$ BEGIN COMMIT; END $$;",
    ],
)
async def test_a_file_that_would_end_the_transaction_is_refused_and_changes_nothing(
    app: str, text: str
) -> None:
    before = await state(app)

    with pytest.raises(RollbackdError, match=r"4\.rollback\.sql:1"):
        await rehearsed(app, {"4": text}, replace(POLICY, rehearsal=Rehearsal.IN_PLACE))

    assert await state(app) == before


async def test_quotes_roles_and_time_limits_in_a_file_do_no_harm(app: str) -> None:
    text = (
        "SET ROLE anon; RESET ROLE; SET lock_timeout = 0; SET search_path = pg_catalog;"
        " DO $$ BEGIN PERFORM 'it''s; $rbd$'; END $$; DROP FUNCTION public.tile();"
        " DROP INDEX public.orders_total;"
    )
    plan = await rehearsed(app, {"4": text})

    await reverse(app, plan)

    assert versions(await state(app)) == ["1", "2", "3"]


async def test_a_step_that_takes_too_long_is_cancelled_though_its_file_says_otherwise(
    app: str,
) -> None:
    plan = await rehearsed(app, {"4": DOWN["4"]})
    slow = replace(
        plan.reversal.steps[0],
        text="SET statement_timeout = 0; SELECT pg_sleep(60);" + DOWN["4"],
    )
    plan = replace(plan, reversal=replace(plan.reversal, steps=(slow,)))
    before = await state(app)

    async with asyncio.timeout(15):
        with pytest.raises(RollbackdError, match="57014"):
            await reverse(app, plan, replace(POLICY, statement_timeout_seconds=0.5))

    assert await state(app) == before


async def ask(url: str, xid: str, plan: Rehearsed) -> Outcome:
    async with await connect(SecretStr(url), name="test") as connection:
        return await outcome.after_crash(
            connection,
            xid,
            before=plan.reversal.before,
            after=plan.reversal.after,
            histories=(),
            schemas=POLICY.schemas,
        )


async def test_the_server_says_what_became_of_it(app: str) -> None:
    plan = await rehearsed(app)
    async with await connect(SecretStr(app), name="test") as connection:
        await connection.execute("BEGIN")
        row = await (await connection.execute("SELECT pg_current_xact_id()::text")).fetchone()
        assert row is not None
        assert await ask(app, row[0], plan) is Outcome.IN_PROGRESS
        await connection.execute("ROLLBACK")
    assert await ask(app, row[0], plan) is Outcome.ABORTED

    done = await reverse(app, plan)

    assert await ask(app, done.xid, plan) is Outcome.COMMITTED
    future = str(int(done.xid) + 1_000_000)
    assert await ask(app, future, plan) is Outcome.COMMITTED  # by history and schema
    with psycopg.connect(app, autocommit=True) as connection_:
        connection_.execute("CREATE TABLE more ()")
    assert await ask(app, future, plan) is Outcome.UNKNOWN


async def test_a_session_that_dies_before_commit_leaves_nothing_and_it_is_known(app: str) -> None:
    plan = await rehearsed(app)
    ids: list[str] = []

    async def journal(xid: str) -> None:
        ids.append(xid)
        with psycopg.connect(app, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'rollbackd/test'"
            )

    with pytest.raises(RollbackdError):
        await reversal.reverse(
            SecretStr(app),
            plan.reversal,
            policy=POLICY,
            run="test",
            clock=SystemClock(),
            rng=random.Random(1),
            journal=journal,
        )

    assert await ask(app, ids[0], plan) is Outcome.ABORTED
    assert await state(app) == plan.reversal.before
