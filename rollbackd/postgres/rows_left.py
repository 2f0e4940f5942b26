"""Rows that a migration wrote and its reverse says nothing of: a schema is proven, rows are not.

Told only, by the texts: whether such rows matter a person knows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from rollbackd.postgres import histories
from rollbackd.postgres.file_faults import MOST_BYTES
from rollbackd.postgres.sql_text import statements
from rollbackd.postgres.words import Reverse

_NAME: Final = r'((?:"(?:[^"]|"")+"|\w+)(?:\.(?:"(?:[^"]|"")+"|\w+))?)'
_WRITES: Final = (
    (re.compile(rf"INSERT\s+INTO\s+{_NAME}", re.IGNORECASE), "wrote rows to {}"),
    (re.compile(rf"UPDATE\s+(?:ONLY\s+)?{_NAME}", re.IGNORECASE), "changed rows of {}"),
    (re.compile(rf"DELETE\s+FROM\s+(?:ONLY\s+)?{_NAME}", re.IGNORECASE), "deleted rows of {}"),
    (re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}", re.IGNORECASE), "emptied {}"),
    (re.compile(r"SELECT\s+(cron)\.schedule", re.IGNORECASE), "made a job of {}"),
)


async def told(
    connection: psycopg.AsyncConnection[Any],
    reverses: Iterable[Reverse],
    directories: Sequence[str],
) -> list[str]:
    """One line a table. What a migration did its file says, or the history that keeps it."""
    found = list(reverses)
    kept = await histories.stored_statements(connection, [one.applied for one in found])
    ups = [";\n".join(kept.get(one.applied.key, ())) for one in found]
    # Texts may be megabytes, and others wait for this loop.
    return await asyncio.to_thread(_lines, found, ups, directories)


def _lines(
    reverses: Sequence[Reverse], ups: Sequence[str], directories: Sequence[str]
) -> list[str]:
    lines: list[str] = []
    for one, up in zip(reverses, ups, strict=True):
        name = f"{one.applied.version}_{one.applied.name}".rstrip("_")
        wrote = left(up or _file(name, directories), one.text)
        lines += [f"{name} {what}, and its reverse does not" for what in wrote]
    return lines


def left(up: str, reverse: str) -> Iterator[str]:
    """What of `up` writes to tables that `reverse` does not name."""
    named = {word.lower() for word in re.findall(r"\w+", reverse)}
    seen: set[str] = set()
    for part in statements(up):
        for form, words in _WRITES:
            match = form.match(part.text)
            if match is None or match[1].lower() in seen:
                continue
            seen.add(match[1].lower())
            last = re.findall(r"\w+", match[1])[-1].lower()
            if last not in named:
                yield words.format(match[1])


def _file(name: str, directories: Sequence[str]) -> str:
    for directory in directories:
        for path in (
            Path(directory) / f"{name}.sql",
            Path(directory) / name / "migration.sql",
        ):
            try:
                with path.open("rb") as file:
                    return file.read(MOST_BYTES).decode("utf-8", "replace")
            except OSError:
                continue
    return ""
