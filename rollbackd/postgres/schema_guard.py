"""Whether an older image can be put on the schema as it is today. Looks, and changes nothing.

For a rollback of the app alone: an image that meets a schema it does not know fails in its own way,
and the rollback made it worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psycopg

from rollbackd.core.database import DatabasePolicy, MigrationTool
from rollbackd.core.errors import RollbackdError
from rollbackd.plugins import DatabaseAccess
from rollbackd.postgres.connection import Connection, is_outage, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.fit import runs_on
from rollbackd.postgres.histories import applied
from rollbackd.postgres.observations import Observations
from rollbackd.postgres.reader import Reader
from rollbackd.postgres.words import Applied, Fingerprint, Observed

_LOOK_SECONDS: Final = 15.0  # users are hurt meanwhile
MOST_REASONS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """`reasons`: why it may not fit; with one of them it is not done unasked. `notes`: what could
    not be looked at, for people.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def guarded(
    access: DatabaseAccess, policy: DatabasePolicy, ledger: Observations, content: str
) -> Guarded:
    """About the image of this content. Never raises for the database.

    One that is down holds: its outage is not the release's fault, and then nobody can tell. One
    that refuses us, or whose good schema was never seen, is a note: a wrong password must not keep
    a bad release in place.
    """
    good = await ledger.of(content)
    reader = Reader(access.url, name="schema guard")

    async def look(connection: Connection) -> tuple[tuple[Applied, ...], Fingerprint | None]:
        rows = tuple(await applied(connection, policy.histories))
        return rows, None if good is None else await fingerprint(connection, policy.schemas)

    try:
        rows, now = await reader.ask(look, within_seconds=_LOOK_SECONDS)
    except (psycopg.Error, RollbackdError, OSError) as error:
        why = f"whether it fits the database is not known: {problem(error).message}"
        return Guarded(reasons=(why,)) if is_outage(error) else Guarded(notes=(why,))
    finally:
        await reader.close()
    reasons = tuple(_half_done(rows, good))
    if good is None or now is None:
        why = "the database was never seen while that release was well: its schema is not compared"
        return Guarded(reasons=reasons, notes=(why,))
    return Guarded(reasons=(*reasons, *runs_on(good.fingerprint, now)))


async def reasons(
    access: DatabaseAccess, policy: DatabasePolicy, ledger: Observations, content: str
) -> tuple[str, ...]:
    """Only why not, one line each."""
    return (await guarded(access, policy, ledger, content)).reasons


def in_short(found: Guarded) -> str:
    """One line to ask a person with; empty where nothing stands against it."""
    if not found.reasons:
        return ""
    more = len(found.reasons) - MOST_REASONS
    listed = "; ".join(found.reasons[:MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
    return f"schema_guard: {listed}"


def _half_done(rows: Iterable[Applied], good: Observed | None) -> Iterable[str]:
    """Prisma refuses to migrate over a failed row (P3009), so an image that migrates at boot exits,
    the older one too.
    """
    known = {one.key for one in good.applied if one.failed} if good else frozenset()
    for one in rows:
        if one.tool is MigrationTool.PRISMA and one.failed and one.key not in known:
            yield (
                f"prisma did not finish {one.name or one.version}:"
                " an image that migrates when it boots exits with P3009"
            )
