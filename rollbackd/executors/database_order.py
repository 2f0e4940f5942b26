"""Whether the good release runs on the schema as it is now: then the database can wait. Pure.

A release ignores what was only added; what it writes into, reads from and is refused by, it does
not ignore. In doubt the answer is that it cannot wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rollbackd.postgres.words import Difference

_HARMLESS: Final = frozenset(
    {
        "acl", "aggregate", "comment", "domain", "enum", "extension", "foreign table", "function",
        "materialized view", "owner", "procedure", "rls", "schema", "sequence", "statistics",
        "table", "type", "view",
    }
)  # fmt: skip
_WHOLE: Final = frozenset({"table", "foreign table", "view", "materialized view"})


def in_its_way(reversal: Difference) -> tuple[str, ...]:
    """What of a migration an older release may stumble over, by what its reversal changes."""
    return tuple(_lines(reversal))


def _lines(reversal: Difference) -> Iterator[str]:
    for kind, name in reversal.extra:
        yield f"{kind} {name} is not there any more"
    for kind, name in reversal.changed:
        yield f"{kind} {name} is another"
    whole = tuple(f"{name}." for kind, name in reversal.lost if kind in _WHOLE)
    for (kind, name), definition in reversal.lost.items():
        if kind in _HARMLESS or _part_of(name, whole) or _may_be_left_out(kind, definition):
            continue
        yield f"{kind} {name} is new"


def _part_of(name: str, whole: tuple[str, ...]) -> bool:
    """Of a table that is itself new: nobody older writes into it."""
    return name.startswith(whole) if whole else False


def _may_be_left_out(kind: str, definition: str) -> bool:
    """A column that an INSERT without it fills, and an index that refuses nothing."""
    if kind == "column":
        filled = ("default ", "generated ", "identity ")
        return "not null" not in definition or any(word in definition for word in filled)
    return kind == "index" and not definition.startswith("CREATE UNIQUE")
