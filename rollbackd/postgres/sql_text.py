"""Where the statements of an SQL text are, for messages and for files that must hold only one.

Pure, and no parser: comments, strings and quoted bodies are blanked out, nothing more is
understood. Nothing relies on it for safety, the server is what refuses; a text that fools it is
told of at a wrong line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SKIPPED: Final = re.compile(
    r"""
      --[^\n]*
    | (?P<block>/\*)
    | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | '(?:[^']|'')*(?:'|\Z)
    | "(?:[^"]|"")*(?:"|\Z)
    | (?<![\w$])\$(?P<tag>[A-Za-z_\u0080-\uffff][\w]*|)\$
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_MARK: Final = re.compile(r"/\*|\*/")
_WORD: Final = re.compile(r"\w+")
_ATOMIC: Final = re.compile(r"\bBEGIN\s+ATOMIC\b|\bEND\b|\bCASE\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """`text` as it stands, `bare` without what is quoted, `line` from 1, `start` from 0."""

    text: str
    bare: str
    start: int
    line: int

    @property
    def words(self) -> tuple[str, ...]:
        """Its first words, in capitals."""
        return tuple(word.upper() for word in _WORD.findall(self.bare[:200])[:6])


def bare(text: str) -> str:
    """Of the same length and lines; comments and all that is quoted are blanks."""
    parts: list[str] = []
    at = 0
    while match := _SKIPPED.search(text, at):
        parts.append(text[at : match.start()])
        end = _end(text, match)
        parts.append("\n".join(" " * len(x) for x in text[match.start() : end].split("\n")))
        at = end
    parts.append(text[at:])
    return "".join(parts)


def _end(text: str, match: re.Match[str]) -> int:
    if match["block"]:
        depth, at = 1, match.end()
        while depth and (mark := _BLOCK_MARK.search(text, at)):
            depth += 1 if mark.group() == "/*" else -1
            at = mark.end()
        return at if not depth else len(text)
    if match["tag"] is not None:
        closing = text.find(match.group(), match.end())
        return len(text) if closing < 0 else closing + len(match.group())
    return match.end()


def statements(text: str) -> tuple[Statement, ...]:
    """Split at semicolons, but for those in the body of a function in standard SQL."""
    blanked = bare(text)
    found: list[Statement] = []
    start = counted = looked = depth = 0
    line = 1
    for end in [match.start() for match in re.finditer(";", blanked)] + [len(text)]:
        depth = _depth(blanked[looked:end], depth)
        looked = end
        if depth and end < len(text):
            continue
        piece = blanked[start:end]
        depth = 0
        if piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            line += text.count("\n", counted, first)
            counted = first
            found.append(
                Statement(
                    text=text[first:end],
                    bare=blanked[first:end],
                    start=first,
                    line=line,
                )
            )
        start = end + 1
    return tuple(found)


def _depth(piece: str, depth: int) -> int:
    """How far within BEGIN ATOMIC … END it ends, 0 for not at all."""
    for mark in _ATOMIC.findall(piece):
        word = mark.upper()
        if word == "END":
            depth -= depth > 0
        elif word != "CASE" or depth:
            depth += 1
    return depth


def line_of(text: str, position: int) -> int:
    """Of the character at `position`, from 0."""
    return text.count("\n", 0, position) + 1
