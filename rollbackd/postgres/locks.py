"""The advisory locks that migration tools hold: who takes them too keeps a booting app from
migrating while a rollback runs.

From the tools' sources: Prisma's schema engine (postgres flavour), flyway's
PostgreSQLAdvisoryLockTemplate and PostgreSQLConnection.lock, golang-migrate's database/util.go and
database/postgres. Tried against the tools (2026-11-22): golang-migrate 4.18.3 holds this key;
dbmate 2.36.0 and Alembic 1.20.1 hold none, and wait for the lock on their table.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from rollbackd.core.database import MigrationTool
from rollbackd.postgres.history_rows import parts
from rollbackd.postgres.words import Applied

_FLYWAY: Final = int.from_bytes(b"Flyway", "big")
_GOLANG_SALT: Final = 1486364155
_32_BITS: Final = 0xFFFFFFFF

# None: its key depends on the table (`lock_keys`), or it holds no advisory lock at all. Supabase's
# CLI, Alembic and dbmate are of the latter kind: the lock on their table keeps them out.
LOCK_KEYS: Final[dict[MigrationTool, int | None]] = {
    MigrationTool.SUPABASE: None,
    MigrationTool.PRISMA: 72707369,
    MigrationTool.ALEMBIC: None,
    MigrationTool.FLYWAY: None,
    MigrationTool.GOLANG_MIGRATE: None,
    MigrationTool.DBMATE: None,
}


def lock_keys(steps: Iterable[Applied], *, database: str) -> tuple[int, ...]:
    """What the tools of `steps` give to pg_advisory_lock, sorted; none for tools without."""
    found: set[int] = set()
    for tool, table in {(step.tool, step.table) for step in steps}:
        schema, name = parts(table)[-2:]
        fixed = LOCK_KEYS[tool]
        if fixed is not None:
            found.add(fixed)
        elif tool is MigrationTool.FLYWAY:
            found.add(_FLYWAY + _java_hash(f'"{schema}"."{name}"'))
        elif tool is MigrationTool.GOLANG_MIGRATE:
            # Its command takes the path of the address, with the slash; as a library it asks.
            for of in (f"/{database}", database):
                summed = zlib.crc32(f"{schema}\0{name}\0{of}".encode())
                found.add(summed * _GOLANG_SALT & _32_BITS)
    return tuple(sorted(found))


def _java_hash(text: str) -> int:
    """String.hashCode: over UTF-16 units, in 32 bits with a sign."""
    value = 0
    units = text.encode("utf-16-be")
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + (high << 8 | low)) & _32_BITS
    return value - (1 << 32) if value >> 31 else value
