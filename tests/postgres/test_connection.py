"""Which addresses are used, what the server's errors mean, and that none of them tells a secret."""

import psycopg
import pytest
from psycopg import errors
from pydantic import SecretStr

from rollbackd.core.errors import (
    Ambiguous,
    ConfigError,
    NotFound,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
)
from rollbackd.postgres.connection import connect, is_outage, problem
from rollbackd.postgres.local_server import PostgresServer

SECRET = "hunter2-é"


async def refused(url: str) -> RollbackdError:
    with pytest.raises(RollbackdError) as error:
        await connect(SecretStr(url), name="x", connect_timeout_seconds=3)
    told = error.value
    assert SECRET not in f"{told} {told.hint} {told.__cause__}"
    assert told.__context__ is None or told.__suppress_context__
    return told


async def test_a_session_says_who_it_is_and_keeps_no_statements(server: PostgresServer) -> None:
    async with await connect(SecretStr(server.url()), name="run-7") as connection:
        row = await (await connection.execute("SHOW application_name")).fetchone()

        assert row == ("rollbackd/run-7",)
        assert connection.autocommit
        assert connection.prepare_threshold is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://u:{SECRET}@db.example.com:6543/x?sslmode=require", "6543"),
        (f"postgresql://u:{SECRET}@a.example.com:5432,b.example.com:6543/x", "6543"),
        (f"postgresql://u:{SECRET}@db.example.com/x?sslmode=disable", "in the clear"),
        (f"postgresql://u:{SECRET}@10.0.0.7/x?sslmode=prefer", "in the clear"),
        (f"host=localhost,db.example.com sslmode=allow password={SECRET}", "in the clear"),
        (f"postgresql://u:p%zz{SECRET}@h/x", "cannot be read"),
        (f"postgresql://u:{SECRET}@h/x?colour=red", "cannot be read"),
    ],
)
async def test_an_address_we_do_not_use_is_refused_before_anything_is_sent(
    url: str, says: str
) -> None:
    told = await refused(url)

    assert isinstance(told, ConfigError)
    assert says in told.message
    assert told.hint


async def test_who_may_not_come_in_is_told_from_who_does_not_answer(
    server: PostgresServer,
) -> None:
    wrong = await refused(server.url(password=SECRET))
    assert isinstance(wrong, Unauthorized)
    nobody = await refused(server.url(user="nobody-there", password=SECRET))
    assert isinstance(nobody, (NotFound, Unauthorized))
    assert isinstance(await refused(server.url("no_such_database")), NotFound)
    gone = await refused(f"postgresql://u:{SECRET}@127.0.0.1:1/x?sslmode=disable")
    assert isinstance(gone, Unreachable)
    unnamed = await refused(f"postgresql://u:{SECRET}@nowhere.invalid/x")
    assert isinstance(unnamed, Unreachable)


@pytest.mark.parametrize(
    ("error", "kind", "outage"),
    [
        (errors.ConnectionFailure(), TemporaryError, True),
        (errors.AdminShutdown(), TemporaryError, True),
        (errors.CannotConnectNow(), TemporaryError, True),
        (errors.TooManyConnections(), TemporaryError, True),
        (errors.DiskFull(), TemporaryError, True),
        (errors.ReadOnlySqlTransaction(), TemporaryError, True),
        (psycopg.OperationalError("server closed the connection"), Unreachable, True),
        (OSError("no route"), Unreachable, True),
        (TimeoutError(), TemporaryError, True),
        (errors.LockNotAvailable(), TemporaryError, False),
        (errors.DeadlockDetected(), TemporaryError, False),
        (errors.QueryCanceled(), TemporaryError, False),
        (errors.StatementCompletionUnknown(), Ambiguous, False),
        (errors.InvalidPassword(), Unauthorized, False),
        (errors.InsufficientPrivilege(), Unauthorized, False),
        (errors.InvalidCatalogName(), NotFound, False),
        (errors.UndefinedTable(), Rejected, False),
        (errors.UniqueViolation(), Rejected, False),
        (ValueError("x"), Rejected, False),
    ],
)
def test_each_class_of_error_has_its_meaning(
    error: Exception, kind: type[RollbackdError], outage: bool
) -> None:
    assert type(problem(error)) is kind
    assert is_outage(error) is outage


async def test_a_message_has_its_state_and_no_value_of_a_row(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("CREATE TABLE a (mail text UNIQUE)")
        await connection.execute("INSERT INTO a VALUES ('me@example.com')")
        with pytest.raises(psycopg.Error) as error:
            await connection.execute("INSERT INTO a VALUES ('me@example.com')")

    told = problem(error.value)
    assert told.message.startswith("postgres 23505: duplicate key")
    assert "me@example.com" not in f"{told.message} {told.hint}"
    assert problem(told) is told
