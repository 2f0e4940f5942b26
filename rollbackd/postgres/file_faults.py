"""What is wrong with one reverse SQL, before the server is asked: each with its file and line.

No parser: what fools it the server refuses, in the rehearsal or at the latest before COMMIT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rollbackd.postgres.sql_text import Statement, bare, statements
from rollbackd.postgres.words import Reverse

MOST_BYTES: Final = 5 * 1024 * 1024  # 500,000 statements; the server takes half a minute for them
_BIT: Final = 50_000
_OVERLAP: Final = 500
_META: Final = re.compile(r"^[ \t]*\\\S+", re.MULTILINE)
_CONTROL: Final = frozenset(
    {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "ABORT", "END", "START", "PREPARE"}
)
_STDIN: Final = re.compile(r"\bFROM\s+STDIN\b", re.IGNORECASE)
_DROPS_SCHEMA: Final = re.compile(r"\s*DROP\s+SCHEMA\b", re.IGNORECASE)
# PostgreSQL's "cannot run inside a transaction block", each by what it is called there.
_OUTSIDE: Final = (
    re.compile(r"\s*(?P<what>VACUUM)\b", re.IGNORECASE),
    re.compile(r"\s*(?P<what>ALTER\s+SYSTEM)\b", re.IGNORECASE),
    re.compile(r"\s*(?P<what>(CREATE|DROP)\s+(DATABASE|TABLESPACE|SUBSCRIPTION))\b", re.IGNORECASE),
    re.compile(r"\s*(?P<what>REINDEX\s+(\([^)]*\)\s*)?(DATABASE|SYSTEM))\b", re.IGNORECASE),
    re.compile(r"\s*(CREATE|DROP|REINDEX)\b[^;]*?\b(?P<what>CONCURRENTLY)\b", re.IGNORECASE),
    re.compile(r"\s*ALTER\s+TABLE\b[^;]*\bDETACH\b[^;]*\b(?P<what>CONCURRENTLY)\b", re.IGNORECASE),
)
# One of these is in every text with a fault: most texts need not be taken apart.
_SUSPECT: Final = re.compile(
    r"^[ \t]*\\"
    r"|(?:^|;)\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|ABORT|END|START|PREPARE|VACUUM)\b"
    r"|\bSTDIN\b|\bCONCURRENTLY\b|\bALTER\s+SYSTEM\b|\bDROP\s+SCHEMA\b"
    r"|\b(?:DATABASE|TABLESPACE|SUBSCRIPTION|SYSTEM)\b",
    re.IGNORECASE | re.MULTILINE,
)
# In PL/pgSQL, where a statement can begin.
_ENDS: Final = re.compile(
    r"(?:;|\bBEGIN\b|\bTHEN\b|\bELSE\b|\bLOOP\b)\s*(?P<what>COMMIT|ROLLBACK)\s*(?:;|WORK\b|AND\b)",
    re.IGNORECASE,
)
_BODY: Final = re.compile(r"\$(\w*)\$(?P<text>.*?)\$\1\$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileProblem:
    """`where`: a file or a column; `line` 0 where it is about the whole."""

    where: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line else self.where
        return f"{place}: {self.message}"


def faults(reverse: Reverse) -> list[FileProblem]:
    """What the server would refuse, and what it would take for nothing."""
    text = reverse.text
    if len(text.encode()) > MOST_BYTES:
        return [FileProblem(reverse.where, 0, "is over 5 MB")]
    if "\0" in text:
        return [FileProblem(reverse.where, 0, "there is a NUL in it")]
    blanked = bare(text)
    if not blanked.strip("; \t\r\n\f\v"):
        return [FileProblem(reverse.where, 0, "holds no statement")]
    if reverse.transactional and not _in(blanked, _SUSPECT) and not _in(text, _ENDS):
        return []
    parts = statements(text)
    found = [
        FileProblem(reverse.where, reverse.line + part.line - 1 + line, message)
        for part in parts
        for line, message in _told(part, transactional=reverse.transactional)
    ]
    if not reverse.transactional and len(parts) > 1:
        line = reverse.line + parts[1].line - 1
        found.append(
            FileProblem(reverse.where, line, "no-transaction: one statement a file, no more")
        )
    return found


def _in(text: str, wanted: re.Pattern[str]) -> bool:
    """Bit by bit: one search through megabytes would stop every other thread meanwhile."""
    return any(wanted.search(text, at, at + _BIT + _OVERLAP) for at in range(0, len(text), _BIT))


def _told(part: Statement, *, transactional: bool) -> Iterator[tuple[int, str]]:
    """Lines below the first of the statement, and what is wrong there."""
    for meta in _META.finditer(part.bare):
        line = part.bare.count("\n", 0, meta.start())
        yield line, f"{meta.group().strip()} is psql's own: only SQL can run"
    first = part.words[:1]
    if first and first[0] in _CONTROL and _is_control(part.words):
        yield 0, f"{first[0]}: it runs in a transaction of ours, take this line out"
    elif first == ("COPY",) and _STDIN.search(part.bare):
        yield 0, "COPY FROM STDIN: use INSERT"
    elif _DROPS_SCHEMA.match(part.bare):
        yield 0, "DROP SCHEMA: a rollback never drops a schema; empty it, and name it in leftovers"
    elif first == ("DO",):
        yield from _ends(part)
    elif transactional:
        for form in _OUTSIDE:
            if match := form.match(part.bare):
                what = " ".join(match["what"].upper().split())
                yield 0, f"{what} cannot run in a transaction, and all of it runs in one"


def _ends(part: Statement) -> Iterator[tuple[int, str]]:
    for body in _BODY.finditer(part.text):
        if match := _ENDS.search(bare(body["text"])):
            line = part.text.count("\n", 0, body.start("text") + match.start("what"))
            yield line, f"{match['what'].upper()} in a DO: it runs in a transaction of ours"


def _is_control(words: tuple[str, ...]) -> bool:
    """PREPARE TRANSACTION, not PREPARE; START TRANSACTION."""
    first, *rest = words
    return first not in {"PREPARE", "START"} or rest[:1] == ["TRANSACTION"]
