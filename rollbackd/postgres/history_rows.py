"""How each tool's history rows read. Pure: rows in, what is applied out, oldest first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rollbackd.core.database import MigrationTool
from rollbackd.postgres.words import Applied

Row = dict[str, Any]

_NUMBERED: Final = re.compile(r"^(\d+)_(.+)$", re.DOTALL)
_PART: Final = re.compile(r'"(?:[^"]|"")+"|[^".]+')
_UNDONE: Final = ("UNDO", "DELETE")
_NOT_A_STEP: Final = frozenset({"BASELINE", "SCHEMA", "SCHEMA_BASELINE"})


def supabase(rows: Sequence[Row], table: str) -> list[Applied]:
    """In the order of the version's text, as its tool sorts them."""
    ordered = sorted(rows, key=lambda row: (str(row["version"]), str(row.get("name") or "")))
    return [
        Applied(
            tool=MigrationTool.SUPABASE,
            version=str(row["version"]),
            name=str(row.get("name") or ""),
            order=order,
            checksum=_sum("\0".join(row.get("statements") or ())),
            table=table,
        )
        for order, row in enumerate(ordered)
    ]


def prisma(rows: Sequence[Row], table: str) -> list[Applied]:
    """Rows that were rolled back are history and not state: the same name may follow again."""
    standing = [row for row in rows if row["rolled_back_at"] is None]
    ordered = sorted(standing, key=lambda r: (_at(r.get("started_at")) or 0.0, r["migration_name"]))
    return [
        Applied(
            tool=MigrationTool.PRISMA,
            version=_split(row["migration_name"])[0],
            name=_split(row["migration_name"])[1],
            order=order,
            checksum=str(row.get("checksum") or ""),
            failed=row["finished_at"] is None,
            applied_at=_at(row["finished_at"]),
            table=table,
        )
        for order, row in enumerate(ordered)
    ]


def alembic(rows: Sequence[Row], table: str) -> list[Applied]:
    """One row a head of the tree, without a name."""
    versions = sorted(str(row["version_num"]) for row in rows)
    return [
        Applied(tool=MigrationTool.ALEMBIC, version=version, name="", order=order, table=table)
        for order, version in enumerate(versions)
    ]


def golang_migrate(rows: Sequence[Row], table: str) -> list[Applied]:
    """One row; `dirty`: that version was begun and did not end."""
    return [
        Applied(
            tool=MigrationTool.GOLANG_MIGRATE,
            version=str(row["version"]),
            name="",
            order=order,
            failed=bool(row["dirty"]),
            table=table,
        )
        for order, row in enumerate(sorted(rows, key=lambda row: int(row["version"])))
    ]


def dbmate(rows: Sequence[Row], table: str) -> list[Applied]:
    versions = sorted(str(row["version"]) for row in rows)
    return [
        Applied(tool=MigrationTool.DBMATE, version=version, name="", order=order, table=table)
        for order, version in enumerate(versions)
    ]


def flyway(rows: Sequence[Row], table: str) -> list[Applied]:
    """In the order of `installed_rank`. An undo takes its version's row away.

    Repeatable ones have no version; of each the last run counts.
    """
    standing: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: int(row["installed_rank"])):
        kind = str(row["type"])
        version = str(row["version"] or "")
        key = (version, "" if version else str(row.get("description") or ""))
        standing.pop(key, None)  # again: at the place of its last run
        if kind not in _NOT_A_STEP and not kind.startswith(_UNDONE):
            standing[key] = row
    return [
        Applied(
            tool=MigrationTool.FLYWAY,
            version=version,
            name=str(row.get("description") or "").replace(" ", "_"),
            order=order,
            checksum=_sum("" if row.get("checksum") is None else str(row["checksum"])),
            failed=not row["success"],
            applied_at=_at(row.get("installed_on")),
            table=table,
        )
        for order, ((version, _), row) in enumerate(standing.items())
    ]


READERS: Final[Mapping[MigrationTool, Callable[[Sequence[Row], str], list[Applied]]]] = {
    MigrationTool.SUPABASE: supabase,
    MigrationTool.PRISMA: prisma,
    MigrationTool.ALEMBIC: alembic,
    MigrationTool.FLYWAY: flyway,
    MigrationTool.GOLANG_MIGRATE: golang_migrate,
    MigrationTool.DBMATE: dbmate,
}


def parts(table: str) -> tuple[str, ...]:
    """`public."Odd"` as its parts; without a schema it is in public."""
    found = [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in _PART.findall(table)
    ]
    return ("public", *found) if len(found) == 1 else tuple(found)


def _split(name: str) -> tuple[str, str]:
    match = _NUMBERED.match(name)
    return (match[1], match[2]) if match else (name, "")


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _at(moment: datetime | None) -> float | None:
    """Epoch seconds. Flyway keeps no time zone: taken as UTC, which its servers mostly are in."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
