"""The `postgres` probe on a real server: what is a sample, what a miss, and that nothing is changed
and no secret gets out.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import psycopg
import pytest

from rollbackd.core.database import Invariant
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason, Value
from rollbackd.core.ports import Missed, Reading
from rollbackd.postgres.local_server import PostgresServer
from rollbackd.probes.postgres import PostgresConfig, PostgresProbe
from tests.support import until
from tests.unit.probes.loopback import build, context, take


async def look(url: str, config: dict[str, Any] | None = None, **more: Any) -> Reading:
    return await take("postgres", config or {}, context(postgres=url, **more))


def outcome(reading: Reading) -> CheckOutcome:
    assert isinstance(reading, Check), reading
    return reading.outcome


async def test_a_database_that_answers_is_well(database: str) -> None:
    reading = await look(database)
    assert outcome(reading) is CheckOutcome.OK
    assert isinstance(reading, Check)
    assert reading.seconds is not None
    assert reading.seconds < 2


async def test_nobody_there_fails_where_only_that_is_asked(database: str) -> None:
    nowhere = database.replace("127.0.0.1", "127.0.0.9")
    assert await look(nowhere) == Check(outcome=CheckOutcome.FAILED, why="no answer")


@pytest.mark.parametrize(
    "config", [{"value": "SELECT 1"}, {"invariants": True}], ids=["value", "invariants"]
)
async def test_an_outage_is_a_miss_for_what_would_accuse_a_release(
    database: str, config: dict[str, Any]
) -> None:
    nowhere = database.replace("127.0.0.1", "127.0.0.9")
    holds = (Invariant(name="holds", sql="SELECT true"),)
    assert await look(nowhere, config, invariants=holds) == Missed(
        reason=MissReason.SOURCE_UNREACHABLE, detail="no answer"
    )


@pytest.mark.parametrize(
    ("sql", "reading"),
    [
        ("SELECT 17", Value(value=17.0)),
        ("SELECT count(*) FROM generate_series(1, 5)", Value(value=5.0)),
        ("SELECT 2.5::numeric", Value(value=2.5)),
        (
            "SELECT '%'::text = '%', 1",
            Missed(reason="several_series", detail="more than one column"),
        ),
        ("SELECT 1 WHERE false", Missed(reason="empty", detail="no row")),
        ("VALUES (1), (2)", Missed(reason="several_series", detail="more than one row")),
        ("SELECT NULL::int", Missed(reason="empty", detail="null")),
        ("SELECT true", Missed(reason="not_a_number", detail="bool")),
        ("SELECT 'NaN'::float8", Missed(reason="not_a_number", detail="not finite")),
        ("SELECT 'Infinity'::numeric", Missed(reason="not_a_number", detail="not finite")),
        ("SELECT 'three'", Missed(reason="not_a_number", detail="str")),
        ("SELECT * FROM nowhere", Missed(reason="source_error", detail="postgres 42P01")),
        ("SELECT 's3cret'::int", Missed(reason="source_error", detail="postgres 22P02")),
        ("SELECT 1; SELECT 2", Missed(reason="source_error", detail="postgres 42601")),
    ],
)
async def test_a_value_is_one_number_or_a_miss(database: str, sql: str, reading: Reading) -> None:
    assert await look(database, {"value": sql}) == reading


@pytest.mark.parametrize(
    "sql",
    [
        "WITH gone AS (DELETE FROM facts RETURNING 1) SELECT count(*) FROM gone",
        "SELECT 1; DROP TABLE facts",
        "SELECT 1; COMMIT; DROP TABLE facts",
        "SELECT nextval('numbers')",
        "SELECT lo_create(0)",
    ],
)
async def test_it_cannot_change_anything(database: str, sql: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE TABLE facts AS SELECT 1 AS id")
        owner.execute("CREATE SEQUENCE numbers")

        assert isinstance(await look(database, {"value": sql}), Missed)

        assert owner.execute("SELECT count(*) FROM facts").fetchone() == (1,)
        assert owner.execute("SELECT is_called FROM numbers").fetchone() == (False,)


async def test_a_query_that_takes_too_long_ends_on_both_sides_within_the_timeout(
    database: str,
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    reading = await look(database, {"value": "SELECT 1 FROM pg_sleep(60)"}, seconds=0.5)
    assert loop.time() - began < 1.5
    assert reading == Missed(reason=MissReason.SOURCE_ERROR, detail="postgres 57014")
    with psycopg.connect(database) as other:
        assert other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rollbackd/%'"
            " AND state = 'active'"
        ).fetchone() == (0,)


async def test_one_session_is_kept_and_idle_between_looks(database: str) -> None:
    probe = build("postgres", {}, context(postgres=database))
    try:
        with psycopg.connect(database, autocommit=True) as other:

            def sessions() -> list[tuple[Any, ...]]:
                return other.execute(
                    "SELECT pid, state FROM pg_stat_activity"
                    " WHERE application_name = 'rollbackd/probe probe'"
                ).fetchall()

            await probe.take()
            (first,) = sessions()
            await probe.take()
            assert sessions() == [first]
            assert first[1] == "idle"
    finally:
        await probe.close()


async def test_a_session_the_server_ended_is_no_outage(database: str) -> None:
    probe = build("postgres", {}, context(postgres=database))
    try:
        assert outcome(await probe.take()) is CheckOutcome.OK
        with psycopg.connect(database, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'rollbackd/%'"
            )
        assert outcome(await probe.take()) is CheckOutcome.OK
    finally:
        await probe.close()


async def test_a_refused_query_leaves_the_session_in_order(database: str) -> None:
    probe = build("postgres", {"value": "SELECT count(*) FROM later"}, context(postgres=database))
    try:
        assert isinstance(await probe.take(), Missed)
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("CREATE TABLE later (id int)")
        assert await probe.take() == Value(value=0.0)
    finally:
        await probe.close()


async def test_a_server_that_falls_silent_costs_no_more_than_the_timeout(
    server: PostgresServer, database: str
) -> None:
    """As behind a network that swallows: the look ends although nobody answers, nor hears."""

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.close()
            writer.close()

    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await open_road.wait()
            writer.write(chunk)

    port = int(psycopg.conninfo.conninfo_to_dict(database)["port"])
    open_road = asyncio.Event()
    open_road.set()
    road = await asyncio.start_server(through, "127.0.0.1", 0)
    url = database.replace(f":{port}", f":{road.sockets[0].getsockname()[1]}")
    probe = build("postgres", {}, context(postgres=url, seconds=0.5))
    try:
        assert outcome(await probe.take()) is CheckOutcome.OK
        open_road.clear()
        began = asyncio.get_running_loop().time()
        reading = await probe.take()
        assert asyncio.get_running_loop().time() - began < 1.0
        assert reading == Check(outcome=CheckOutcome.FAILED, why="time-out")
    finally:
        open_road.set()
        await probe.close()
        road.close()
    await until(lambda: not road.is_serving())


INVARIANTS = (
    Invariant(name="no orphan", sql="SELECT id FROM facts WHERE owner IS NULL"),
    Invariant(name="some facts", sql="SELECT count(*) > 0 FROM facts"),
)


async def test_a_broken_invariant_fails_by_its_name(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE TABLE facts AS SELECT 1 AS id, 'ann' AS owner")
        probe = build(
            "postgres", {"invariants": True}, context(postgres=database, invariants=INVARIANTS)
        )
        try:
            assert outcome(await probe.take()) is CheckOutcome.OK

            owner.execute("INSERT INTO facts VALUES (2, NULL), (3, NULL)")
            reading = await probe.take()
            assert outcome(reading) is CheckOutcome.FAILED
            assert isinstance(reading, Check)
            assert "no orphan" in reading.why
            assert "some facts" not in reading.why

            owner.execute("DELETE FROM facts")
            assert "some facts" in str(await probe.take())
        finally:
            await probe.close()


async def test_no_password_gets_out(database: str) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(database)
    host = f"{parts['host']}:{parts['port']}"
    for url in (
        f"postgresql://nobody:s3cret@{host}/shop",
        f"postgresql://{parts['user']}:s3cret@{host}/nowhere",
        "postgresql://u:s3cret@db.test:6543/x",
    ):
        reading = await look(url)
        assert isinstance(reading, Missed), reading
        assert "s3cret" not in repr(reading)


def test_each_form_says_what_it_measures_and_whether_it_tells_of_the_app() -> None:
    forms = {
        PostgresConfig(): (MeasureKind.CHECK, True),
        PostgresConfig(value="SELECT 1"): (MeasureKind.VALUE, False),
        PostgresConfig(invariants=True): (MeasureKind.CHECK, False),
    }
    for config, (measure, dependency) in forms.items():
        assert PostgresProbe.measure(config) is measure
        assert PostgresProbe.dependency(config) is dependency


def test_without_a_database_it_is_not_built() -> None:
    with pytest.raises(ConfigError, match="has no database"):
        build("postgres", {}, dataclasses.replace(context(), database=None))
