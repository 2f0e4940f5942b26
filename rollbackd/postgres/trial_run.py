"""Runs the reverse steps where it does not count, and writes down what each of them did.

In the transaction of the caller, who rolls it back, or throws the whole clone away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rollbackd.core.ports import Clock
from rollbackd.postgres import checks, guard, histories, holding
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.history_rows import parts
from rollbackd.postgres.words import Fingerprint, Reverse

_TABLES: Final = """
SELECT n.nspname::text, c.relname::text, c.oid,
  quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relfilenode
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_LOCKS: Final = """
SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted
"""
_WRITES: Final = "RowExclusiveLock"  # of INSERT, UPDATE, DELETE, also on a table without rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one step did. `written`: tables whose rows its statements change, by their locks.

    `anew`: tables that got another file: emptied, or written anew. `rows_lost`: where there were
    rows to count.
    """

    before: Fingerprint
    after: Fingerprint
    written: frozenset[str]
    anew: frozenset[str]
    rows_lost: Mapping[str, int]
    seconds: float


class Trial:
    """Over one session in a transaction. `with_rows`: the tables are the real ones, with rows.

    `locks`: the strongest mode by table so far, of tables that were there before the step.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        schemas: Sequence[str],
        history_tables: frozenset[str],
        with_rows: bool,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._schemas = schemas
        self._histories = {parts(table) for table in history_tables}
        self._with_rows = with_rows
        self._clock = clock
        self.locks: dict[str, str] = {}

    async def step(self, step: Reverse, before: Fingerprint) -> Seen:
        """Raises what `guard.run` and `histories.forget` do."""
        tables = await self._tables()
        names = {oid: name for oid, (name, _) in tables.items()}
        counts = await self._counts(names.values())
        writing = await self._locked(names, {_WRITES})
        began_at = self._clock.monotonic()
        await guard.run(self._connection, step)
        seconds = self._clock.monotonic() - began_at
        for table, mode in (await self._locked(names, holding.MODES)).items():
            self.locks[table] = holding.stronger(mode, self.locks.get(table, mode))
        written = set(await self._locked(names, {_WRITES})) - set(writing)
        later = await self._tables()
        anew = {name for oid, (name, file) in tables.items() if _other(later.get(oid), file)}
        now = await self._counts(counts)
        await histories.forget(self._connection, step.applied)
        return Seen(
            before=before,
            after=await fingerprint(self._connection, self._schemas),
            written=frozenset(written),
            anew=frozenset(anew),
            rows_lost={t: n - now.get(t, 0) for t, n in counts.items() if now.get(t, 0) < n},
            seconds=seconds,
        )

    async def _tables(self) -> dict[int, tuple[str, int]]:
        """Name and file by oid: a table that is written anew, or emptied, gets another file."""
        rows: Any = await (await self._connection.execute(_TABLES)).fetchall()
        return {
            oid: (name, file)
            for schema, table, oid, name, file in rows
            if (schema, table) not in self._histories
        }

    async def _counts(self, tables: Iterable[str]) -> dict[str, int]:
        return await checks.count(self._connection, tables) if self._with_rows else {}

    async def _locked(self, names: Mapping[int, str], modes: Collection[str]) -> dict[str, str]:
        rows: Any = await (await self._connection.execute(_LOCKS)).fetchall()
        found: dict[str, str] = {}
        for oid, mode in rows:
            if oid in names and mode in modes:
                found[names[oid]] = holding.stronger(mode, found.get(names[oid], mode))
        return found


def _other(now: tuple[str, int] | None, file: int) -> bool:
    return now is not None and now[1] != file
