"""What a schema is made of, so that "as it was" can be proven and not hoped.

Two databases with the same fingerprint behave the same for an app: owners, privileges, row
security, policies, comments are in it, and so are the roles, settings and policies around it. Not
in it: rows, versions of extensions, and the inner life of the platform's own schemas.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from rollbackd.postgres import privileges
from rollbackd.postgres.catalogue import COMMENTS, OBJECTS, ROLES
from rollbackd.postgres.words import Difference, Fingerprint, ObjectKey

# The same check, as first written and as a restored dump has it: the cast has moved inside.
_TEXT: Final = r"'(?:[^']|'')*'"
_CAST_ELEMENT: Final = re.compile(rf"\(({_TEXT})::character varying\)::text")
_CAST_ARRAY: Final = re.compile(
    rf"\(ARRAY\[({_TEXT}::character varying(?:, {_TEXT}::character varying)*)\]\)::text\[\]"
)
# Of these only who may do what is of interest, or they are there in any case.
_RIGHTS_ONLY: Final = frozenset(
    {"default privileges", "platform schema", "platform table", "database"}
)
_NOT_DUMPED: Final = frozenset({"unpopulated", "settings", "role", "column order"})
_OWNERS_ALL: Final = {
    "table": {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"},
    "sequence": {"SELECT", "UPDATE", "USAGE"},
    "schema": {"USAGE", "CREATE"},
    "function": {"EXECUTE"},
    "type": {"USAGE"},
}
_LIKE_A: Final = {
    "view": "table",
    "materialized view": "table",
    "foreign table": "table",
    "procedure": "function",
    "aggregate": "function",
    "enum": "type",
    "domain": "type",
}


async def fingerprint(
    connection: psycopg.AsyncConnection[Any], schemas: Collection[str]
) -> Fingerprint:
    """Of what the connection sees now, uncommitted changes of its own transaction too.

    Raises psycopg.Error. Leaves the session as it was.
    """
    async with connection.transaction(force_rollback=True):
        # Names are printed in full where nothing is on the path, so in the same way everywhere.
        # Compiling the statement would take longer than running it.
        await connection.execute(
            "SELECT set_config('search_path', '', true), set_config('jit', 'off', true)"
        )
        # Through a cursor of our own: the connection's may give rows of another shape.
        async with psycopg.AsyncCursor[tuple[Any, ...]](connection) as cursor:
            roles = dict(await (await cursor.execute(ROLES)).fetchall())
            rows = await (
                await cursor.execute(sql.SQL(OBJECTS), {"schemas": sorted(schemas)})
            ).fetchall()
            comments = await (await cursor.execute(COMMENTS)).fetchall()
    return made_of(_objects(rows, roles, comments))


def made_of(objects: Mapping[ObjectKey, str]) -> Fingerprint:
    """With its sum over every object, in order."""
    ordered = sorted(objects.items())
    # A text in Postgres holds no NUL: so what is between two of them is one field.
    text = "\0".join(f"{kind}\0{name}\0{definition}" for (kind, name), definition in ordered)
    return Fingerprint(objects=dict(ordered), sha256=hashlib.sha256(text.encode()).hexdigest())


def compare(before: Fingerprint, after: Fingerprint) -> Difference:
    """What it takes to get from one to the other."""
    if before.sha256 == after.sha256:
        return Difference()
    old, new = before.objects, after.objects
    return Difference(
        lost={key: old[key] for key in old if key not in new},
        extra={key: new[key] for key in new if key not in old},
        changed={key: (old[key], new[key]) for key in old if key in new and old[key] != new[key]},
    )


def unlike(source: Fingerprint, copy: Fingerprint) -> Difference:
    """As `compare`, without what no dump carries: a clone is as good without it."""
    found = compare(source, copy)

    def carried(key: ObjectKey) -> bool:
        around = key[1].endswith(" on database itself") or " on platform schema " in key[1]
        return key[0] not in _NOT_DUMPED and not around  # whoever makes a clone owns its schemas

    return Difference(
        lost={key: value for key, value in found.lost.items() if carried(key)},
        extra={key: value for key, value in found.extra.items() if carried(key)},
        changed={key: value for key, value in found.changed.items() if carried(key)},
    )


def after(now: Fingerprint, step: Difference) -> Fingerprint:
    """What `now` becomes by the same step, measured elsewhere.

    A clone lacks what `pg_dump -n` leaves out (publications, privileges by default for all
    schemas): so its own result is not compared with the good release's, this is.
    """
    objects = {key: value for key, value in now.objects.items() if key not in step.lost}
    objects |= step.extra
    objects |= {key: new for key, (_, new) in step.changed.items()}
    return made_of(objects)


def _objects(
    rows: Iterable[tuple[Any, ...]],
    roles: Mapping[int, str],
    comments: Iterable[tuple[int, int, int, str]],
) -> dict[ObjectKey, str]:
    found: dict[ObjectKey, str] = {}
    numbered: dict[tuple[int, int, int], str] = {}
    columns: dict[int, list[tuple[int, str]]] = {}
    tables: dict[int, str] = {}
    for classid, oid, column, kind, name, definition, owner, acl in rows:
        label = f"{kind} {name}"
        if kind != "extension":  # its comment comes with it
            numbered[classid, oid, column] = label
        if kind not in _RIGHTS_ONLY:
            found[kind, name] = _plain(definition)
        if kind == "column":
            columns.setdefault(oid, []).append((column, name))
        elif kind in {"table", "foreign table"} and not _inherits(definition):
            tables[oid] = name
        if owner is not None:
            found["owner", label] = roles.get(owner, str(owner))
        for grantee, rights in privileges.by_grantee(tuple(acl or ())).items():
            if owner is None or not _all_the_owners(kind, grantee, roles.get(owner), rights):
                found["acl", privileges.key(grantee, kind, name)] = rights
    for classid, oid, column, text in comments:
        about = numbered.get((classid, oid, column))
        if about is not None:
            found["comment", about] = text
    for oid, table in tables.items():
        ordered = (name[len(table) + 1 :] for _, name in sorted(columns.get(oid, ())))
        found["column order", table] = ", ".join(ordered)
    return found


def _inherits(definition: str) -> bool:
    """From a table that it is no partition of: a restored dump has its columns in another order."""
    parts = definition.split("; ")
    bound = any(part == "DEFAULT" or part.startswith("FOR VALUES") for part in parts)
    return not bound and any(part.startswith("inherits ") for part in parts)


def _all_the_owners(kind: str, grantee: str, owner: str | None, rights: str) -> bool:
    """An owner with every right is the rule; which rights those are differs by version."""
    every = _OWNERS_ALL.get(_LIKE_A.get(kind, kind), set())
    return grantee == owner and {right.rstrip("*") for right in rights.split(", ")} >= every


def _plain(definition: str | None) -> str:
    text = definition or ""
    if "::character varying" not in text:
        return text
    text = _CAST_ELEMENT.sub(r"\1::text", text)
    return _CAST_ARRAY.sub(
        lambda match: f"ARRAY[{match[1].replace('::character varying', '::text')}]", text
    )
