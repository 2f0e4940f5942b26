"""Which part of a schema a reversal can reach: of a large one only that is cloned.

Asks the dump for what depends on what. Where a text could reach anything, a loop over the
catalogue or a whole schema, it says so, and all is cloned. What it leaves out wrongly is found
before COMMIT, for then the real result is not the foreseen one.
Source: PostgreSQL's page of pg_restore, `--list` with `--verbose`, and its catalogues' names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from rollbackd.postgres.connection import Connection
from rollbackd.postgres.sql_text import statements

SMALL: Final = 200  # relations: so many are cloned as quickly as chosen from

_PG_CLASS: Final = 1259  # its own oid, in every version
_LINE: Final = re.compile(r"(\d+); (\d+) (\d+) (.*)")
_DEPENDS: Final = re.compile(r";\tdepends on:((?: \d+)+)")
_WORD: Final = re.compile(r"[^\W\d][\w$]*")
_QUOTED: Final = re.compile(r'"((?:[^"]|"")+)"')
_CATALOGUE: Final = re.compile(r'\bpg_|\binformation_schema\b|\bU&"', re.IGNORECASE)
_OF_ROWS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE", "LOCK", "SET"})
_PRIVILEGES: Final = frozenset({"GRANT", "REVOKE"})
_VERBS: Final = frozenset({"CREATE", "DROP", "ALTER", "COMMENT"})
_BETWEEN: Final = frozenset({"OR", "REPLACE", "ON", "UNIQUE", "MATERIALIZED", "CONSTRAINT"})
_OBJECTS: Final = frozenset(
    {"TABLE", "VIEW", "INDEX", "FUNCTION", "PROCEDURE", "POLICY", "TRIGGER", "TYPE", "DOMAIN"}
    | {"SEQUENCE", "COLUMN", "RULE", "STATISTICS", "AGGREGATE"}
)
_NAMED: Final = """
SELECT 'pg_class'::regclass::oid, oid FROM pg_class WHERE lower(relname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_constraint'::regclass::oid, oid FROM pg_constraint
WHERE lower(conname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_trigger'::regclass::oid, oid FROM pg_trigger WHERE lower(tgname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_policy'::regclass::oid, oid FROM pg_policy WHERE lower(polname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_rewrite'::regclass::oid, oid FROM pg_rewrite WHERE lower(rulename) = ANY (%(names)s)
UNION ALL
SELECT 'pg_proc'::regclass::oid, oid FROM pg_proc WHERE lower(proname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_type'::regclass::oid, oid FROM pg_type WHERE lower(typname) = ANY (%(names)s)
UNION ALL
SELECT 'pg_statistic_ext'::regclass::oid, oid FROM pg_statistic_ext
WHERE lower(stxname) = ANY (%(names)s)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of a dump: its number there, catalogue and oid of the object, what it depends on."""

    number: int
    catalogue: int
    oid: int
    relation: bool
    sequence: bool
    on: frozenset[int] = frozenset()


def names(texts: Iterable[str]) -> frozenset[str] | None:
    """Every word that may be a name in them, in lower case; None where more may be meant."""
    found: set[str] = set()
    for text in texts:
        if _CATALOGUE.search(text) or not all(map(_bounded, statements(text))):
            return None
        found.update(word.lower() for word in _WORD.findall(text))
        found.update(name.replace('""', '"').lower() for name in _QUOTED.findall(text))
    return frozenset(found)


def entries(listing: str) -> tuple[Entry, ...]:
    """Of what `pg_restore --list --verbose` prints."""
    found: list[Entry] = []
    for line in listing.splitlines():
        if match := _LINE.fullmatch(line):
            number, catalogue, oid = map(int, match.groups()[:3])
            relation = catalogue == _PG_CLASS and not match[4].startswith("INDEX ")
            sequence = relation and match[4].startswith("SEQUENCE ")
            found.append(Entry(number, catalogue, oid, relation, sequence))
        elif (match := _DEPENDS.fullmatch(line)) and found:
            found[-1] = replace(found[-1], on=frozenset(map(int, match[1].split())))
    return tuple(found)


async def named(source: Connection, words: Collection[str]) -> frozenset[tuple[int, int]]:
    """Catalogue and oid of what has one of these names, whatever its schema."""
    rows: Any = await (await source.execute(_NAMED, {"names": sorted(words)})).fetchall()
    return frozenset((catalogue, oid) for catalogue, oid in rows)


def reachable(found: Collection[Entry], roots: Collection[tuple[int, int]]) -> frozenset[int]:
    """Numbers of the entries to keep: all but the relations that nothing of `roots` touches.

    Touched is what depends on a root, and what that needs to be there; with a relation that is left
    out goes what depends on it.
    """
    on = {one.number: one.on for one in found}
    above: dict[int, set[int]] = {}
    for one in found:
        for number in one.on:
            above.setdefault(number, set()).add(one.number)
    first = {one.number for one in found if (one.catalogue, one.oid) in roots}
    needed = _closure(_closure(first, above), on)
    # A column's default is its sequence's next value.
    needed |= {one.number for one in found if one.sequence and not needed.isdisjoint(one.on)}
    out = {one.number for one in found if one.relation and one.number not in needed}
    return frozenset(on) - _closure(out, above)


def _closure(of: Collection[int], edges: Mapping[int, Collection[int]]) -> set[int]:
    found, left = set(of), list(of)
    while left:
        fresh = set(edges.get(left.pop(), ())) - found
        found |= fresh
        left.extend(fresh)
    return found


def _bounded(statement: Any) -> bool:
    """Whether it reaches no more than it names, and what depends on that."""
    first, *rest = statement.words or ("",)
    if "SCHEMA" in statement.bare.upper():
        return False
    if first in _VERBS:
        return next((word for word in rest if word not in _BETWEEN), "") in _OBJECTS
    return first in _OF_ROWS | _PRIVILEGES
