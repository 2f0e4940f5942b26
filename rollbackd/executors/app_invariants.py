"""Asks the invariants of the target's database after an app rollback. It changes nothing.

An older image does not mend data: a broken invariant is told as such, and a person looks.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Final

from rollbackd.core.database import Invariant
from rollbackd.core.errors import Rejected, RollbackdError
from rollbackd.core.model import Json, JsonObject
from rollbackd.plugins import DatabaseAccess

SECONDS: Final = 30.0


class Invariants:
    """Of one target, asked in one read-only transaction."""

    def __init__(self, access: DatabaseAccess | None, invariants: tuple[Invariant, ...]) -> None:
        self._access = access
        self._invariants = invariants

    async def ask(self) -> JsonObject:
        """Which held. Rejected where one is broken; what could not be asked is told as that: a
        database that is down says nothing against the rollback.
        """
        if self._access is None or importlib.util.find_spec("psycopg") is None:
            return _unasked("there is no access to the database")
        import psycopg  # noqa: PLC0415 -- an extra

        from rollbackd.postgres.connection import problem  # noqa: PLC0415 -- psycopg is an extra
        from rollbackd.postgres.invariants import broken  # noqa: PLC0415 -- as above
        from rollbackd.postgres.reader import Reader  # noqa: PLC0415 -- as above

        reader = Reader(self._access.url, name="invariants")
        try:
            found = await reader.ask(
                partial(broken, invariants=self._invariants), within_seconds=SECONDS
            )
        except (psycopg.Error, RollbackdError, OSError) as error:
            return _unasked(problem(error).message)
        finally:
            await reader.close()
        if found:
            raise Rejected(
                f"broken: {'; '.join(found)}",
                hint="the app is back, the data is not as it must be: docs/database.md#data",
            )
        held: list[Json] = [one.name for one in self._invariants]
        return {"held": held}


def _unasked(why: str) -> JsonObject:
    return {"held": [], "not_asked": why}
