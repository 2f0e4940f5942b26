"""How harmful a reversal is, from what it changed. Pure.

The classes of a step: `security` where somebody outside reaches more than before, or a role lost
what it had and nothing shows that the good release lacked it too; `lossy` where rows, columns or
what can hold them go; `unknown` where we do not know what a change means. Where the good release's
schema is known, what comes back to just that is no harm, but for row security that goes off,
policies that go and rights that roles outside get: those a person looks at in any case.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.postgres.definitions import Column
from rollbackd.postgres.fit import runs_on
from rollbackd.postgres.privileges import PUBLIC, grantee_and_object, rights
from rollbackd.postgres.words import Difference, Fingerprint, ObjectKey

__all__ = ["judge", "runs_on", "split"]  # whoever asks what a way back costs asks if it is needed

Finding = tuple[Harm, str]

# Nothing an app stores, and nothing that opens a door.
_HARMLESS: Final = frozenset(
    {
        *("comment", "index", "trigger", "rule", "statistics", "publication", "constraint"),
        *("schema", "column order", "role"),
    }
)
_TOLD_ONLY: Final = frozenset({"comment", "column order"})  # of a residue: nothing hangs on them
# They hold rows, values or a position.
_HOLD_DATA: Final = frozenset({"table", "foreign table", "sequence"})
_TYPES: Final = frozenset({"enum", "domain", "type"})
_ROUTINES: Final = frozenset({"function", "procedure", "aggregate"})
_VIEWS: Final = frozenset({"view", "materialized view"})
_ACCESS: Final = _ROUTINES | _VIEWS | {"policy", "owner"}
_PARTS: Final = frozenset({"column", "rls", "owner"})  # they come and go with what they are of
_WORST_FIRST: Final = tuple(reversed(Harm))


def judge(
    step: Difference,
    rows_lost: Mapping[str, int],
    columns_lost: Mapping[str, tuple[str, ...]],
    policy: DatabasePolicy,
    transactional: bool,
    *,
    good: Fingerprint | None = None,
) -> tuple[Harm, tuple[str, ...]]:
    """The worst class, and every reason, worst first. `good`: the schema it should come back to."""
    found: list[Finding] = [*_measured(rows_lost, columns_lost)]
    context = _Context(step, policy, good)
    for key, definition in step.lost.items():
        found.extend(_lost(key, definition, context))
    for key, definition in step.extra.items():
        found.extend(_extra(key, definition, context))
    for key, (before, after) in step.changed.items():
        found.extend(_changed(key, before, after, context))
    if not transactional:
        found.append((Harm.NON_TRANSACTIONAL, "runs outside of a transaction: no way back from it"))
    found.sort(key=lambda finding: _WORST_FIRST.index(finding[0]))
    worst = found[0][0] if found else Harm.SAFE
    return worst, tuple(dict.fromkeys(reason for _, reason in found))


class _Context:
    def __init__(self, step: Difference, policy: DatabasePolicy, good: Fingerprint | None) -> None:
        self.step = step
        self.good = good
        self.outside = frozenset(policy.exposed_roles) | {PUBLIC}

    def back(self, key: ObjectKey, definition: str | None) -> bool:
        """Whether that is what it was while the good release ran."""
        return self.good is not None and self.good.objects.get(key) == definition

    def gone(self, kind_and_name: str) -> bool:
        """Whether the object itself went, and so all that hangs on it."""
        kind, _, name = kind_and_name.partition(" ")
        for known in (*_HOLD_DATA, *_VIEWS, *_ROUTINES, *_TYPES):
            if kind_and_name.startswith(f"{known} "):
                return (known, kind_and_name.removeprefix(f"{known} ")) in self.step.lost
        if kind == "column":
            return (kind, name) in self.step.lost or self.table_gone(name.rpartition(".")[0])
        return (kind, name) in self.step.lost

    def table_gone(self, table: str) -> bool:
        return any((kind, table) in self.step.lost for kind in (*_HOLD_DATA, *_VIEWS))


def _measured(
    rows_lost: Mapping[str, int], columns_lost: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    for table, rows in sorted(rows_lost.items()):
        if rows > 0:
            yield Harm.LOSSY, f"{rows:,} {'row' if rows == 1 else 'rows'} of {table} would be lost"
    for table, columns in sorted(columns_lost.items()):
        if columns:
            word = "column" if len(columns) == 1 else "columns"
            yield (
                Harm.LOSSY,
                f"{len(columns)} {word} of {table} would be lost: {', '.join(columns)}",
            )


def _lost(key: ObjectKey, definition: str, context: _Context) -> Iterator[Finding]:
    kind, name = key
    if kind == "acl":
        yield from _rights_lost(key, definition, "", context)
    elif kind == "policy":
        if not context.table_gone(name.rpartition(".")[0]):
            yield Harm.SECURITY, f"policy {name} goes: {definition}"
    elif kind in _HOLD_DATA:
        yield Harm.LOSSY, f"{kind} {name} is dropped"
    elif kind == "column":
        table = name.rpartition(".")[0]
        if not context.table_gone(table):
            yield Harm.LOSSY, f"column {name} is dropped"
    elif kind in _TYPES:
        yield Harm.LOSSY, f"{kind} {name} is dropped"
    elif kind == "schema":
        yield Harm.UNKNOWN, f"schema {name} is dropped"
    elif kind not in _HARMLESS | _ROUTINES | _VIEWS | _PARTS | {"unpopulated"}:
        yield Harm.UNKNOWN, f"{kind} {name} goes: what goes with it is not known"


def _extra(key: ObjectKey, definition: str, context: _Context) -> Iterator[Finding]:
    kind, name = key
    if kind == "acl":
        yield from _rights_got(key, "", definition, context)
    elif kind == "policy":
        opens = definition.startswith("permissive") and _for_outsiders(definition, context)
        if opens and not context.back(key, definition):
            yield Harm.SECURITY, f"policy {name} comes: {definition}"
    elif kind in _ROUTINES:
        if definition.startswith("security definer") and not context.back(key, definition):
            yield Harm.SECURITY, f"{kind} {name} comes, with its owner's rights (security definer)"
    elif kind == "role":
        if not context.back(key, definition):
            yield Harm.SECURITY, f"role {name} comes: {definition}"
    elif kind == "unpopulated":
        yield Harm.LOSSY, f"materialized view {name} is left without its rows"
    elif kind not in _HARMLESS | _HOLD_DATA | _TYPES | _VIEWS | _PARTS:
        yield Harm.UNKNOWN, f"{kind} {name} comes: what comes with it is not known"


def _changed(key: ObjectKey, before: str, after: str, context: _Context) -> Iterator[Finding]:
    kind, name = key
    if kind == "acl":
        yield from _rights_got(key, before, after, context)
        yield from _rights_lost(key, before, after, context)
    elif kind == "rls":
        yield from _row_security(name, before, after)
    elif kind == "role":
        if not context.back(key, after):
            yield Harm.SECURITY, f"role {name} goes from {before!r} to {after!r}"
    elif kind in _ACCESS:
        if not context.back(key, after):
            yield from _access_changed(kind, name, before, after)
    elif kind == "column":
        yield from _column_changed(name, Column.read(before), Column.read(after))
    elif kind in _TYPES:
        yield Harm.LOSSY, f"{kind} {name} changes from {before!r} to {after!r}"
    elif kind in {"table", "foreign table"}:
        if "unlogged" in after.split("; ") and "unlogged" not in before.split("; "):
            yield Harm.LOSSY, f"table {name} would not outlive a crash (unlogged)"
    elif kind not in _HARMLESS | {"sequence"}:
        yield Harm.UNKNOWN, f"{kind} {name} changes from {before!r} to {after!r}"


def _row_security(name: str, before: str, after: str) -> Iterator[Finding]:
    if before.startswith("on") and not after.startswith("on"):
        yield Harm.SECURITY, f"row security of {name} goes off"
    elif before.endswith("forced") and not after.endswith("forced"):
        yield Harm.SECURITY, f"row security of {name} no longer binds its owner"


def _access_changed(kind: str, name: str, before: str, after: str) -> Iterator[Finding]:
    """Of what is not as it was while the good release ran, or that is not known."""
    if kind == "policy":
        yield Harm.SECURITY, f"policy {name} changes from {before!r} to {after!r}"
    elif kind == "owner":
        yield Harm.SECURITY, f"{name} goes from {before} to {after}"
    elif kind in _VIEWS:
        if "security_invoker" in before.partition(";")[0]:
            yield Harm.SECURITY, f"{kind} {name} changes; it asked with its reader's rights"
    elif after.startswith("security definer"):
        yield Harm.SECURITY, f"{kind} {name} changes, with its owner's rights (security definer)"


def _column_changed(name: str, before: Column, after: Column) -> Iterator[Finding]:
    if before.type != after.type:
        yield Harm.LOSSY, f"column {name} goes from {before.type} to {after.type}"
    if after.not_null and not before.not_null:
        yield Harm.LOSSY, f"column {name} takes no null any more"
    if after.generated and not before.generated:
        yield Harm.LOSSY, f"column {name} is computed from now on"


def _rights_got(key: ObjectKey, before: str, after: str, context: _Context) -> Iterator[Finding]:
    grantee, where = grantee_and_object(key[1])
    got = rights(after) - rights(before)
    if not got or grantee.strip('"') not in context.outside:
        return
    kind, _, name = where.partition(" ")
    if (kind, name) in context.step.extra:
        if kind in {*_ROUTINES, *_TYPES}:
            return  # anybody may, by default; one with its owner's rights is told of by itself
        if kind == "table" and context.step.extra.get(("rls", name), "").startswith("on"):
            return  # its policies say who sees what
        if kind == "sequence" and context.back(key, after):
            return
        where += ", which comes without row security" if kind == "table" else ""
    yield Harm.SECURITY, f"{grantee} gets {', '.join(sorted(got))} on {where}"


def _rights_lost(key: ObjectKey, before: str, after: str, context: _Context) -> Iterator[Finding]:
    grantee, where = grantee_and_object(key[1])
    taken = rights(before) - rights(after)
    if not taken or context.gone(where) or context.back(key, after or None):
        return
    yield Harm.SECURITY, f"{grantee} loses {', '.join(sorted(taken))} on {where}"


def _for_outsiders(definition: str, context: _Context) -> bool:
    roles = definition.partition("; to ")[2].partition("; ")[0].split(", ")
    return any(role.strip('"') in context.outside for role in roles)


def split(residue: Difference, leftovers: Collection[str]) -> tuple[Difference, Difference]:
    """What of a residue counts, and what does not: comments, the order of columns (a column that
    comes back is the last one), and what the owner lets stay.

    Only what is left over may be let stay, never what is lost or changed: with its own owner and
    rights. A pattern is "kind name", as in "function public.touch()"; `*` stands for anything.
    """

    def stays(key: ObjectKey) -> bool:
        kind, name = key
        about = f"{kind} {name}"
        if kind == "acl":
            about = grantee_and_object(name)[1]
        elif kind == "owner":
            about = name
        return any(fnmatch.fnmatchcase(about, pattern) for pattern in leftovers)

    def benign(key: ObjectKey) -> bool:
        return key[0] in _TOLD_ONLY

    extra = {key for key in residue.extra if benign(key) or stays(key)}
    return (
        _only(residue, lambda key: key not in extra and not benign(key)),
        _only(residue, lambda key: key in extra or benign(key)),
    )


def _only(difference: Difference, wanted: Callable[[ObjectKey], bool]) -> Difference:
    return Difference(
        lost={key: value for key, value in difference.lost.items() if wanted(key)},
        extra={key: value for key, value in difference.extra.items() if wanted(key)},
        changed={key: value for key, value in difference.changed.items() if wanted(key)},
    )
