"""Whether an image of the good release can be expected to run on today's schema. Pure.

Additive changes do not trouble it: new tables, columns it may leave out, functions, indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rollbackd.postgres.definitions import Column
from rollbackd.postgres.fingerprint import compare
from rollbackd.postgres.privileges import grantee_and_object, rights
from rollbackd.postgres.words import Difference, Fingerprint, ObjectKey

_RELATIONS: Final = ("table", "foreign table", "view", "materialized view")
_ROUTINES: Final = frozenset({"function", "procedure", "aggregate"})
_NEEDED: Final = frozenset(
    {*_RELATIONS, *_ROUTINES, "sequence", "enum", "domain", "type", "schema", "extension"}
)


def runs_on(good: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    """Why not, one line each; none: what changed since only adds."""
    difference = compare(good, now)
    found = [
        *(line for key in difference.lost for line in _lost(key, difference)),
        *(
            line
            for key, (before, after) in difference.changed.items()
            for line in _changed(key, before, after)
        ),
        *(line for key in difference.extra for line in _extra(key, difference, good)),
    ]
    return tuple(dict.fromkeys(found))


def _lost(key: ObjectKey, difference: Difference) -> Iterator[str]:
    kind, name = key
    if kind in _NEEDED:
        yield f"{kind} {name} is gone"
    elif kind == "column":
        if not _relation(name.rpartition(".")[0], difference.lost):
            yield f"column {name} is gone"
    elif kind == "policy":
        permissive = difference.lost[key].startswith("permissive")
        if permissive and not _relation(name.rpartition(".")[0], difference.lost):
            yield f"policy {name} is gone: who it let in is kept out"
    elif kind == "acl":
        grantee, where = grantee_and_object(name)
        if not _gone(where, difference) and not where.startswith("default privileges"):
            yield f"{grantee} lost {difference.lost[key]} on {where}"
    elif kind == "constraint" and _gives_conflict_target(difference.lost[key]):
        table = name.rpartition(".")[0]
        if not _relation(table, difference.lost):
            yield f"constraint {name} is gone: ON CONFLICT may name it"


def _changed(key: ObjectKey, before: str, after: str) -> Iterator[str]:
    kind, name = key
    if kind == "column":
        yield from _column(name, Column.read(before), Column.read(after))
    elif kind == "rls":
        if after > before:  # off, "off, forced", on, "on, forced"
            yield f"row security of {name} went from {before} to {after}"
    elif kind in {"policy", "constraint"}:
        yield f"{kind} {name} is another: {after}"
    elif kind == "acl":
        grantee, where = grantee_and_object(name)
        taken = rights(before) - rights(after)
        if taken and not where.startswith("default privileges"):
            yield f"{grantee} lost {', '.join(sorted(taken))} on {where}"
    elif kind in _ROUTINES:
        if _head(before) != _head(after):
            yield f"{kind} {name} is another: {_head(after)}"
    elif kind in {"domain", "type"} or (kind == "enum" and not _only_adds(before, after)):
        yield f"{kind} {name} went from {before!r} to {after!r}"


def _column(name: str, before: Column, after: Column) -> Iterator[str]:
    if before.type != after.type:
        yield f"column {name} went from {before.type} to {after.type}"
    if after.not_null and not before.not_null:
        yield f"column {name} takes no null any more"
    elif before.filled and not after.filled:
        yield f"column {name} has no default any more"
    if (after.generated and not before.generated) or (
        after.identity == "always" and before.identity != "always"
    ):
        yield f"column {name} takes no value from outside any more"


def _extra(key: ObjectKey, difference: Difference, good: Fingerprint) -> Iterator[str]:
    kind, name = key
    definition = difference.extra[key]
    table = name.rpartition(".")[0]
    if kind == "column":
        if _relation(table, good.objects) and not Column.read(definition).filled:
            yield f"column {name} is new and has to be given: not null, without a default"
    elif kind == "constraint":
        if any(("column", f"{table}.{column}") in good.objects for column in _columns(definition)):
            yield f"constraint {name} is new on columns it writes: {definition}"
    elif kind == "unpopulated":
        yield f"materialized view {name} has no rows until it is refreshed"
    elif kind == "index":
        on = definition.partition(" ON ")[2].removeprefix("ONLY ").partition(" USING ")[0]
        if definition.startswith("CREATE UNIQUE") and _relation(on, good.objects):
            yield f"unique index {name} is new on {on}, which it writes"
    elif (
        kind == "policy"
        and definition.startswith("restrictive")
        and (_relation(table, good.objects))
    ):
        yield f"policy {name} is new and restricts: {definition}"


def _columns(definition: str) -> list[str]:
    if not definition.startswith("on ("):
        return []
    return definition.removeprefix("on (").partition("): ")[0].split(", ")


def _relation(name: str, objects: object) -> bool:
    return isinstance(objects, dict) and any((kind, name) in objects for kind in _RELATIONS)


def _gone(where: str, difference: Difference) -> bool:
    """`where`: "table public.users", "column public.users.mail"."""
    for kind in (*_NEEDED, "column"):
        if where.startswith(f"{kind} ") and (
            (kind, where.removeprefix(f"{kind} ")) in difference.lost
        ):
            return True
    return False


def _head(definition: str) -> str:
    """Whose rights it runs with, and what it returns."""
    return "; ".join(definition.split("; ", 2)[:2])


def _only_adds(before: str, after: str) -> bool:
    """Labels are added somewhere, the old ones are in their old order."""
    labels = iter(after.split(", "))
    return all(label in labels for label in before.split(", "))


def _gives_conflict_target(definition: str) -> bool:
    return "): UNIQUE" in definition or "): PRIMARY KEY" in definition
