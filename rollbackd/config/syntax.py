"""Says what is wrong with text that is not YAML, at the line a person has to change."""

from __future__ import annotations

import re
from typing import Protocol

import yaml

_FLOW_HINT = (
    "in {…} and […] quote what holds { } [ ] or a comma: PromQL and ${NAME} must be quoted there"
)
# What word processors and web pages put where YAML wants plain characters.
_LOOKALIKES = re.compile("[\u00a0\u2000-\u200b\u2018\u2019\u201c\u201d\u3000\uff1a]")


class Position(Protocol):
    """PyYAML's mark, of the Python or the C reader; it counts from 0."""

    line: int
    column: int


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Position | None, str, str]:
    """Where, what, and what to write instead."""
    mark, message, hint = _explain(error, text.splitlines())
    odd = _LOOKALIKES.search(_line(text.splitlines(), mark))
    if odd is not None:
        hint = f"the line holds U+{ord(odd[0]):04X}, which only looks like a plain character"
    return mark, message, hint


def _explain(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[Position | None, str, str]:
    problem = (error.problem or "not YAML").replace("\n", " ")
    context, began, found = error.context or "", error.context_mark, error.problem_mark
    line = _line(lines, found)
    if "'\\t'" in problem or "\t" in line[: _indent(line)]:
        return found, "a tab where YAML wants spaces", "indent with spaces"
    if problem == "could not find expected ':'":
        return began, "not YAML: no ': ' after this key", "write key: value, with a space"
    if "quoted scalar" in context and "end of stream" in problem:
        return began, "not YAML: this quote is never closed", ""
    if "while parsing a flow" in context and _left_open(lines, began, found):
        return began, "not YAML: this bracket is never closed", _FLOW_HINT
    if problem.startswith("expected <block end>"):
        hint = "keys of one mapping start in one column, and a list has a - on every item"
        return found or began, "not YAML: this line does not fit the lines above it", hint
    if problem.startswith("mapping values are not allowed"):
        hint = _FLOW_HINT if _brackets(line) else "is it indented too far? quote a value with ': '"
        return found, f"not YAML: {problem}", hint
    flow = "flow" in context + problem or _brackets(line)
    return found or began, f"not YAML: {problem}", _FLOW_HINT if flow else ""


def _left_open(lines: list[str], began: Position | None, found: Position | None) -> bool:
    """The text goes on below as if the bracket had been closed, or ends."""
    if began is None or found is None or found.line == began.line:
        return False
    after = _line(lines, found)
    return not after.strip() or _indent(after) <= _indent(_line(lines, began))


def _line(lines: list[str], mark: Position | None) -> str:
    return lines[mark.line] if mark is not None and mark.line < len(lines) else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _brackets(line: str) -> bool:
    return "{" in line or "[" in line
