"""A tiny JSON path: `$.a.b[0]` and nothing else. No filters, no wildcards, no evaluation."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, WithJsonSchema

from rollbackd.config.types import refused
from rollbackd.core.model import Json

Steps: TypeAlias = tuple[str | int, ...]

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]{0,5})\]|\[\"([^\"\\]+)\"\]")


def parse_path(text: str) -> Steps:
    """The keys and indexes of a path. Raises a configuration error for anything richer."""
    hint = 'write $.a.b[0] or $["odd key"]; filters, wildcards and .. are not supported'
    if not text.startswith("$"):
        raise refused(f"a JSON path starts with $: {text[:40]!r}", hint)
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise refused(f"not a JSON path: {text[:40]!r} (character {at + 1})", hint)
        name, index, quoted = step.groups()
        steps.append(int(index) if index is not None else name or quoted)
        at = step.end()
    return tuple(steps)


def _checked(text: str) -> str:
    parse_path(text)
    return text


JsonPath: TypeAlias = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema({"type": "string", "pattern": r"^\$", "examples": ["$.errors", "$.a.b[0]"]}),
]


class Absent:
    """Nothing is at that path; not the same as null."""


ABSENT = Absent()


def pick(document: Json, path: str) -> Json | Absent:
    """What stands at the path, or ABSENT."""
    here = document
    for step in parse_path(path):
        match step, here:
            case str(), dict() if step in here:
                here = here[step]
            case int(), list() if step < len(here):
                here = here[step]
            case _:
                return ABSENT
    return here


def parse_json(body: bytes) -> Json | Absent:
    """The document, or ABSENT where the body is not JSON (HTML, truncated, absurdly nested)."""
    try:
        document: Json = json.loads(body)
    except (ValueError, RecursionError):
        return ABSENT
    return document


def as_number(found: Json | Absent) -> float | None:
    """A finite number, or None: a truth value, a text or an overflow is not one."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
