"""Privileges as the server prints them, `anon=arw/postgres`, and as people read them.

Pure. Who granted is left out: a restored dump has other grantors, and the right is the same.
Source: PostgreSQL's chapter 5.8, "Privileges".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

PUBLIC: Final = "PUBLIC"
_LETTERS: Final = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "X": "EXECUTE",
    "U": "USAGE",
    "C": "CREATE",
    "c": "CONNECT",
    "T": "TEMPORARY",
    "m": "MAINTAIN",
    "s": "SET",
    "A": "ALTER SYSTEM",
}
_ITEM: Final = re.compile(r'^("(?:[^"]|"")*"|[^"=]*)=([a-zA-Z*]*)/')
_WHERE: Final = re.compile(r'^("(?:[^"]|"")+"|\S+) on (.+)$', re.DOTALL)


@functools.lru_cache(maxsize=512)  # most objects of a schema have the same
def by_grantee(items: tuple[str, ...]) -> Mapping[str, str]:
    """Grantee, quoted as SQL does, to "INSERT, SELECT"; `*` behind what it may pass on."""
    found: dict[str, set[str]] = {}
    for item in items:
        match = _ITEM.match(item)
        if match is None:
            found.setdefault(PUBLIC, set()).add(item)  # a form we do not know is not dropped
            continue
        grantee, letters = match.groups()
        rights = found.setdefault(grantee or PUBLIC, set())
        for letter, star in re.findall(r"([a-zA-Z])(\*?)", letters):
            rights.add(_LETTERS.get(letter, letter) + star)
    return {grantee: ", ".join(sorted(rights)) for grantee, rights in found.items()}


def rights(definition: str) -> frozenset[str]:
    """Back from "INSERT, SELECT*"."""
    return frozenset(definition.split(", ")) if definition else frozenset()


def key(grantee: str, kind: str, name: str) -> str:
    return f"{grantee} on {kind} {name}"


def grantee_and_object(name: str) -> tuple[str, str]:
    """The role, and "table public.users"."""
    match = _WHERE.match(name)
    if match is None:
        return "", name
    return match[1], match[2]
