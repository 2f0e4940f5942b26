"""A database rollback for people: what is reversed, what that costs, how to look at it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rollbackd.core.database import CriticalTable, DatabasePolicy, MigrationTool
from rollbackd.core.model import Json, JsonObject
from rollbackd.postgres.words import Applied, Cost, Difference, ObjectKey, Reverse

MOST_LINES: Final = 200  # of one kind of change
_PART: Final = re.compile(r'"(?:[^"]|"")*"|[^.]+')
_NAMES: Final = {
    MigrationTool.SUPABASE: "version",
    MigrationTool.PRISMA: "migration_name",
    MigrationTool.ALEMBIC: "version_num",
    MigrationTool.FLYWAY: "version",
    MigrationTool.GOLANG_MIGRATE: "version",
    MigrationTool.DBMATE: "version",
}


def told(
    steps: Sequence[Reverse], cost: Cost, policy: DatabasePolicy, *, snapshot: bool
) -> JsonObject:
    """Steps in the order in which they run. Said only: no approval is bound to what is in here,
    because rows move while the app writes.
    """
    reversed_: list[Json] = [
        {
            "tool": step.applied.tool.value,
            "version": step.applied.version,
            "name": step.applied.name,
            "where": f"{step.where}:{step.line}",
            "transactional": step.transactional,
        }
        for step in steps
    ]
    queries: list[Json] = [
        *verification([step.applied for step in steps], cost.step, policy.critical_tables)
    ]
    return {
        "steps": reversed_,
        "harm": cost.harm.value,
        "reasons": list(cost.reasons),
        "asks": cost.harm not in policy.auto,
        "seconds": round(cost.seconds, 3),
        "rows_lost": dict(cost.rows_lost),
        "columns_lost": {table: list(names) for table, names in cost.columns_lost.items()},
        "changes": _difference(_without_order(cost.step)),
        "residue": None if cost.residue is None else _difference(cost.residue),
        "snapshot": snapshot,
        "verify": queries,
    }


def verification(
    applied: Iterable[Applied], changes: Difference, critical: Iterable[CriticalTable]
) -> tuple[str, ...]:
    """What a person can run in psql afterwards, each with what it must show."""
    lines = [_history(one) for one in applied]
    lines += [f"SELECT count(*) FROM {one.table};{_wanted(one)}" for one in critical]  # noqa: S608 -- printed
    lines += [f"\\d+ {table}" for table in _tables(changes)]
    return tuple(lines)


def _history(one: Applied) -> str:
    column, value = _NAMES[one.tool], one.version
    if one.tool is MigrationTool.PRISMA:
        value = one.name or one.version
        wanted, what = "a time, or no row", "rolled_back_at"
    else:
        wanted, what = "no row", "*"
    where = f"{column}::text = {_text(value)}"
    return f"SELECT {what} FROM {one.table} WHERE {where};  -- {wanted}"  # noqa: S608 -- printed


def _wanted(one: CriticalTable) -> str:
    return f"  -- {one.least_rows} at least" if one.least_rows else ""


def _tables(changes: Difference) -> list[str]:
    """Tables that were changed and are there afterwards."""
    gone = {name for kind, name in changes.lost if kind == "table"}
    keys = (*changes.lost, *changes.extra, *changes.changed)
    return sorted({_table_of(kind, name) for kind, name in keys} - gone - {""})


def _table_of(kind: str, name: str) -> str:
    """Names as the fingerprint has them: public.facts.note, or `anon on table public.facts`."""
    if kind in {"table", "rls"}:
        return name
    if kind in {"column", "constraint", "policy", "trigger"}:
        return ".".join(_PART.findall(name)[:2])
    if kind in {"acl", "owner", "comment"} and "table " in name:
        return name.rpartition("table ")[2]
    return ""


def _without_order(step: Difference) -> Difference:
    """It changes with every column that comes or goes, which is told."""
    kept = {key: value for key, value in step.changed.items() if key[0] != "column order"}
    return replace(step, changed=kept)


def _difference(found: Difference) -> JsonObject:
    return {
        "lost": _lines(found.lost),
        "extra": _lines(found.extra),
        "changed": [
            f"{kind} {name}: {_short(before)} -> {_short(after)}"
            for (kind, name), (before, after) in sorted(found.changed.items())[:MOST_LINES]
        ],
    }


def _lines(objects: Mapping[ObjectKey, str]) -> list[Json]:
    return [f"{kind} {name}" for kind, name in sorted(objects)[:MOST_LINES]]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 -- one line


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
