"""Runs one reverse SQL so that it can neither end our transaction nor keep its own settings.

The text goes to the server as `DO … EXECUTE '<text>'`: there the server itself refuses BEGIN,
COMMIT, ROLLBACK, COPY FROM STDIN, psql's commands and what cannot run in a transaction. So no
parser of ours has to be right. What takes a whole schema away is refused by what it did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from rollbackd.core.errors import PlanRefused, RollbackdError
from rollbackd.postgres.connection import problem
from rollbackd.postgres.sql_text import Statement, line_of, statements
from rollbackd.postgres.words import Reverse

_HINTS: Final = {
    "0A000": "it runs in a transaction of ours: no BEGIN, COMMIT, ROLLBACK or COPY FROM STDIN",
    "2D000": "it runs in a transaction of ours: no COMMIT or ROLLBACK, in a DO neither",
    "25001": "all of it runs in one transaction: do this by hand, or without CONCURRENTLY",
    "55P04": "a new value of an enum is not to be used before COMMIT",
}
_NAMED: Final = re.compile(r'"((?:[^"]|"")+)"')
_CALLED: Final = re.compile(r"(\w+)\(")
# What may run by itself: again after a crash it does no harm.
_ALONE: Final = (
    re.compile(r"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\b", re.IGNORECASE),
    re.compile(r"CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\b", re.IGNORECASE),
    re.compile(r"REINDEX\s+(\([^)]*\)\s*)?(INDEX|TABLE)\s+CONCURRENTLY\b", re.IGNORECASE),
    re.compile(r"VACUUM\b", re.IGNORECASE),
)
_CONTROL: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "START", "END", "ABORT"})
_OTHERS_SETTINGS: Final = frozenset({"transaction_isolation", "transaction_deferrable"})

# In one question: each of them is asked with everything locked.
_LOOK: Final = """
SELECT session_user::text, current_setting('role'), current_user::text,
  (SELECT jsonb_object_agg(name, setting) FROM pg_catalog.pg_settings
    WHERE context IN ('user', 'superuser')),
  (SELECT jsonb_object_agg(n.nspname, (SELECT count(*) FROM pg_catalog.pg_class c
      WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')))
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
"""


async def run(connection: psycopg.AsyncConnection[Any], reverse: Reverse) -> None:
    """In the transaction that is open, or, where its file says no-transaction, outside of one.

    The role and the settings are afterwards as before. Raises `core.errors` with file and line;
    the transaction is then good for nothing but ROLLBACK. An outage is psycopg.Error.
    """
    status = connection.info.transaction_status
    if not reverse.transactional:
        if status is not TransactionStatus.IDLE or not connection.autocommit:
            raise PlanRefused(f"{reverse.where}: says no-transaction, and one is open")
        await _alone(connection, reverse)
        return
    if status is not TransactionStatus.INTRANS:
        raise PlanRefused(f"{reverse.where}: there is no transaction to run it in")
    before = await _look(connection)
    try:
        await connection.execute(_wrapped(connection, reverse.text))
    except psycopg.Error as error:
        _tell(error, reverse)
        raise
    now = await _look(connection)
    await _put_back(connection, before, now, reverse)
    _refuse_ruin(before.schemas, now.schemas, reverse)


def _wrapped(connection: psycopg.AsyncConnection[Any], text: str) -> sql.Composed:
    inner = sql.Literal(text).as_string(connection)
    return sql.SQL("DO {}").format(sql.Literal(f"BEGIN EXECUTE {inner}; END"))


@dataclass(frozen=True, slots=True)
class _Session:
    session_user: str
    role: str
    user: str
    settings: Mapping[str, str]
    schemas: Mapping[str, int]


async def _look(connection: psycopg.AsyncConnection[Any]) -> _Session:
    async with psycopg.AsyncCursor[tuple[Any, ...]](connection) as cursor:
        await cursor.execute(_LOOK)
        ((session_user, role, user, settings, schemas),) = await cursor.fetchall()
    return _Session(session_user, role, user, settings, schemas or {})


async def _put_back(
    connection: psycopg.AsyncConnection[Any], before: _Session, now: _Session, reverse: Reverse
) -> None:
    """A file may say SET ROLE, SET search_path, SET lock_timeout = 0: not beyond its end.

    For the session and not for the transaction: what a file set for the session would be back
    after COMMIT.
    """
    if replace(now, schemas=before.schemas) == before:
        return
    try:
        if now.session_user != before.session_user:
            await connection.execute("RESET SESSION AUTHORIZATION")
        if (now.role, now.user) != (before.role, before.user):
            await connection.execute("SELECT set_config('role', %s, false)", (before.role,))
        other = [
            name
            for name, value in before.settings.items()
            if now.settings.get(name) != value and name not in _OTHERS_SETTINGS
        ]
        for name in sorted(other):
            await connection.execute(
                "SELECT set_config(%s, %s, false)", (name, before.settings[name])
            )
    except psycopg.Error as error:
        raise PlanRefused(
            f"{_place(reverse, 'SET')}: changes the session for good: {problem(error).message}"
        ) from error
    after = await _look(connection)
    if (after.session_user, after.user) != (before.session_user, before.user):
        raise PlanRefused(
            f"{_place(reverse, 'SET')}: it made the session {after.user}'s, not {before.user}'s"
        )


def _refuse_ruin(before: Mapping[str, int], now: Mapping[str, int], reverse: Reverse) -> None:
    """What `supabase migration down` and `db reset` do, by whatever statements."""
    if gone := sorted(set(before) - set(now)):
        tables = sum(before[name] for name in gone)
        taken = f"the schema {', '.join(gone)} with {tables} tables"
        raise PlanRefused(
            f"{_place(reverse, 'DROP')}: takes away {taken}",
            hint="a rollback never drops a schema: empty it, and name it in leftovers",
        )
    had = sum(before.values())
    if had > 1 and not sum(now.values()):
        raise PlanRefused(
            f"{_place(reverse, 'DROP')}: takes away every one of {had} tables",
            hint="this empties the database: do that by hand",
        )


def _place(reverse: Reverse, word: str) -> str:
    """File and line of the first statement that begins so; of the first one where none does."""
    parts = statements(reverse.text)
    line = next((part.line for part in parts if part.words[:1] == (word,)), 1)
    return f"{reverse.where}:{reverse.line + line - 1}"


async def _alone(connection: psycopg.AsyncConnection[Any], reverse: Reverse) -> None:
    """One statement that cannot run in a transaction, and that may be run twice."""
    parts = statements(reverse.text)
    if len(parts) != 1:
        raise PlanRefused(f"{reverse.where}: no-transaction: one statement a file, no more")
    (statement,) = parts
    if not any(form.match(statement.bare) for form in _ALONE):
        raise PlanRefused(
            f"{reverse.where}:{reverse.line + statement.line - 1}: may not run by itself",
            hint="CREATE INDEX CONCURRENTLY IF NOT EXISTS, DROP INDEX CONCURRENTLY IF EXISTS,"
            " REINDEX … CONCURRENTLY and VACUUM may",
        )
    invalid = await _invalid(connection)
    try:
        # With values, even none, the server takes one statement only.
        await connection.execute(_percent(statement.text), ())
    except psycopg.Error as error:
        _tell(error, reverse)
        raise
    now = await _invalid(connection)
    # IF NOT EXISTS takes what a crash left half-built for the index itself.
    if broken := {name for name in now if name not in invalid or name in statement.text}:
        raise PlanRefused(
            f"{reverse.where}: left a half-built index: {', '.join(sorted(broken))}",
            hint="drop it, and try again",
        )


def _percent(text: str) -> sql.SQL:
    return sql.SQL(text.replace("%", "%%"))


async def _invalid(connection: psycopg.AsyncConnection[Any]) -> set[str]:
    async with psycopg.AsyncCursor[tuple[str]](connection) as cursor:
        await cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_catalog.pg_index WHERE NOT indisvalid"
        )
        return {name for (name,) in await cursor.fetchall()}


def _tell(error: psycopg.Error, reverse: Reverse) -> None:
    """Raises ours, at a line of the file. Returns where it is no fault of the file."""
    state = error.sqlstate or ""
    if not state or state.startswith(("08", "53", "57", "58", "55P03", "40")) or state == "25006":
        return
    ours = problem(error)
    where = f"{reverse.where}:{line_of_error(error, reverse)}"
    raise _at(ours, where, _HINTS.get(state, ours.hint)) from error


def _at(ours: RollbackdError, where: str, hint: str) -> RollbackdError:
    return type(ours)(f"{where}: {ours.message}", hint=hint)


def line_of_error(error: psycopg.Error, reverse: Reverse) -> int:
    """The server gives a place for what it cannot parse or resolve; else the names it gives tell.

    The first line where nothing tells.
    """
    place = error.diag.internal_position or error.diag.statement_position
    query = error.diag.internal_query
    if place and query in {None, reverse.text}:
        return reverse.line + line_of(reverse.text, int(place) - 1) - 1
    parts = statements(reverse.text)
    found = [part for part in parts if _speaks_of(error, part)]
    return reverse.line + (found or parts)[0].line - 1 if parts else reverse.line


def _speaks_of(error: psycopg.Error, part: Statement) -> bool:
    state = error.sqlstate
    first = part.words[:1]
    if state == "0A000" and "transaction commands" in (error.diag.message_primary or ""):
        return bool(_CONTROL.intersection(first)) or "EXECUTE" in part.text.upper()
    if state == "0A000" and "COPY" in (error.diag.message_primary or ""):
        return first == ("COPY",)
    if state == "2D000":
        return first in {("DO",), ("CALL",)}
    if state == "25001":
        said = (error.diag.message_primary or "").split(" cannot ")[0].split()
        return all(word in part.bare.upper() for word in said)
    message = error.diag.message_primary or ""
    names = _NAMED.findall(message) or _CALLED.findall(message)
    return bool(names) and all(name.replace('""', '"') in part.text for name in names)
