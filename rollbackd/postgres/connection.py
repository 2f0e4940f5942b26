"""One session with the database, and what its errors mean. Holds no pool and retries nothing.

A transaction pooler is refused: it keeps neither settings nor advisory locks between statements.
No text of ours quotes the address or a password.
Source of the classes: PostgreSQL's appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
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
from rollbackd.postgres.address import local, refused

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_DEFAULT_PORT: Final = "5432"
_OUTAGE_CLASSES: Final = ("08", "53", "57P", "58")  # connections, resources, operator, I/O
_READ_ONLY: Final = "25006"  # a full disk at Supabase, or a standby
_MAY_PASS: Final = frozenset({"40001", "40P01", "55006", "55P03", "57014"})
_UNKNOWN_COMMIT: Final = "40003"
# A failed start of a session has no SQLSTATE, only the server's sentence.
_SAID_AT_START: Final[tuple[tuple[str, type[RollbackdError], str], ...]] = (
    ("too many", TemporaryError, "the database itself is in trouble"),
    ("connection slots", TemporaryError, "the database itself is in trouble"),
    ("password authentication failed", Unauthorized, "is the password right?"),
    ("no password supplied", Unauthorized, "the address has no password in it"),
    ("pg_hba.conf", Unauthorized, "the server lets nobody in from here, or wants TLS"),
    ("certificate", Unauthorized, "the server's certificate is not the one asked for"),
    ("does not support SSL", Unauthorized, "the server speaks no TLS, and it is not on this host"),
    ("role ", NotFound, "is the user's name right?"),
    ("database ", NotFound, "is the database's name right?"),
    ("Tenant or user not found", NotFound, "the pooler's user is postgres.<project>"),
)


async def connect(
    url: SecretStr, *, name: str, connect_timeout_seconds: float = 10
) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """A fresh session in autocommit, seen by others as `rollbackd/<name>`.

    Raises ConfigError for an address we do not use, else `core.errors`.
    """
    settings = _settings(url) | {
        "application_name": f"rollbackd/{name}",
        "connect_timeout": str(max(2, round(connect_timeout_seconds))),  # libpq takes no less
    }
    try:
        async with asyncio.timeout(connect_timeout_seconds):
            return await psycopg.AsyncConnection.connect(
                "", autocommit=True, prepare_threshold=None, **settings
            )
    except TimeoutError:
        raise Unreachable("postgres did not answer in time") from None
    except psycopg.Error as error:
        raise _not_connected(error, str(settings.get("password") or "")) from None


def _settings(url: SecretStr) -> dict[str, Any]:
    try:
        settings = {k: v for k, v in conninfo_to_dict(url.get_secret_value()).items() if v}
    except psycopg.Error:
        # libpq's own text quotes the part it could not read: that may be the password.
        raise ConfigError(
            "the database's address cannot be read",
            hint="postgresql://user:password@host:5432/database; encode %, @ and / in a password",
        ) from None
    ports = str(settings.get("port", _DEFAULT_PORT)).split(",")
    hosts = str(settings.get("hostaddr") or settings.get("host") or "").split(",")
    if against := refused(hosts, ports, str(settings.get("sslmode", ""))):
        raise ConfigError(against[0], hint=against[1])
    if not all(local(host) for host in hosts):
        settings.setdefault("sslmode", "require")
    return settings


def _not_connected(error: psycopg.Error, password: str) -> RollbackdError:
    lines = str(error).strip().splitlines()
    said = lines[0].rpartition("FATAL:")[2].strip() if lines else type(error).__name__
    if password and password in said:
        said = type(error).__name__
    for words, kind, hint in _SAID_AT_START:
        if words in said:
            return kind(f"postgres: {said}", hint=hint)
    return Unreachable(f"postgres: {said}")


def problem(error: BaseException) -> RollbackdError:
    """The same in our words, with the SQLSTATE; values of rows are not in it.

    An error of ours comes back as it is.
    """
    if isinstance(error, RollbackdError):
        return error
    if isinstance(error, TimeoutError):
        return TemporaryError("postgres did not answer in time")
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    if state is None or not isinstance(error, psycopg.Error):
        if is_outage(error):
            return Unreachable("postgres: the connection was lost")
        return Rejected(f"postgres: {type(error).__name__}")
    message = f"postgres {state}: {error.diag.message_primary or type(error).__name__}"
    if state == _UNKNOWN_COMMIT:
        return Ambiguous(message)
    if is_outage(error):
        return TemporaryError(message, hint="the database itself is in trouble")
    if state in _MAY_PASS:
        return TemporaryError(message)
    if state.startswith("28"):
        return Unauthorized(message)
    if state == "42501":
        return Unauthorized(message, hint="the role has to own what the reverse SQL changes")
    if state == "3D000":
        return NotFound(message)
    return Rejected(message, hint=error.diag.message_hint or "")


def is_outage(error: BaseException) -> bool:
    """Whether the database or the way to it is in trouble: this never speaks against a release."""
    if isinstance(error, (Unreachable, TimeoutError, OSError)):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:  # the connection broke: nobody was left to give a state
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return state.startswith(_OUTAGE_CLASSES) or state == _READ_ONLY
