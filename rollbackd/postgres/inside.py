"""Which objects of a fingerprint lie in some schemas, and which are the database's own. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.words import Fingerprint, ObjectKey

# Of no schema, or of what comes along by itself when a database changes its name.
_OF_DATABASE: Final = frozenset({"settings", "role", "database", "publication", "unpopulated"})
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*")


def inside(found: Fingerprint, schemas: Collection[str]) -> Fingerprint:
    """Only what lies in these schemas: with its owners, privileges, comments."""
    known = _named(frozenset(schemas))
    return made_of(
        {key: made for key, made in found.objects.items() if _is_in(key, known) and _kept(key)}
    )


def outside(found: Fingerprint, schemas: Collection[str]) -> Fingerprint:
    """All the others, but for the database's own settings and privileges."""
    known = _named(frozenset(schemas))
    return made_of(
        {key: made for key, made in found.objects.items() if not _is_in(key, known) and _kept(key)}
    )


def _kept(key: ObjectKey) -> bool:
    return key[0] not in _OF_DATABASE and not key[1].endswith(" database itself")


def _is_in(key: ObjectKey, known: re.Pattern[str]) -> bool:
    """Names as the fingerprint has them: `public.facts`, `anon on table public.facts`."""
    return known.search(key[1]) is not None


@lru_cache(maxsize=8)
def _named(schemas: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(re.escape(_quoted(name)) for name in sorted(schemas))
    return re.compile(rf"(?:^| )(?:{names})(?:\.|$)")


def _quoted(name: str) -> str:
    """As the server's quote_ident does, but for its reserved words: no schema is called so."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
