"""Reads what a request asks for, strictly: an unknown word is an error, not a shrug."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from rollbackd.core.model import Json, JsonObject

LONGEST_BODY = 64 * 1024
LONGEST_TEXT = 1000
MOST_TEXTS = 500
BODY_SECONDS = 10.0


def refuse(detail: str, status: int = 400) -> NoReturn:
    raise HTTPException(status, detail)


def query(request: Request, known: AbstractSet[str]) -> dict[str, str]:
    """The query, each word once and none unknown."""
    words: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            expected = ", ".join(sorted(known)) or "none"
            refuse(f"unknown query parameter {name!r}; known: {expected}")
        if name in words:
            refuse(f"query parameter {name!r} is given twice")
        words[name] = value
    return words


async def body(request: Request, known: AbstractSet[str]) -> Body:
    """The JSON object of a request; none at all is an empty one."""
    raw = await _read(request)
    if not raw:
        return Body(fields={})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        refuse("the body must be application/json", 415)
    try:
        parsed: Json = json.loads(raw)
    except (ValueError, RecursionError):
        refuse("the body is not JSON")
    if not isinstance(parsed, dict):
        refuse("the body must be a JSON object")
    unknown = sorted(parsed.keys() - known)
    if unknown:
        refuse(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return Body(fields=parsed)


async def form(request: Request, known: AbstractSet[str]) -> Body:
    """What a browser's form sent, each field once and none unknown; an empty one is not there."""
    raw = await _read(request)
    if not raw:
        return Body(fields={})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        refuse("a form sends application/x-www-form-urlencoded", 415)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        refuse("the form is not UTF-8, percent-encoded")
    fields = dict(pairs)
    unknown = sorted(fields.keys() - known)
    if unknown or len(fields) != len(pairs):
        refuse(f"unknown or repeated field; known: {', '.join(sorted(known))}")
    return Body(fields={name: value for name, value in fields.items() if value.strip()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A JSON object whose fields are asked for by name and type."""

    fields: JsonObject

    def text(self, name: str, default: str | None = None) -> str:
        """A non-empty line; without a default it must be there."""
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            refuse(f"{name!r} must be a text that says something")
        if len(value) > LONGEST_TEXT:
            refuse(f"{name!r} is longer than {LONGEST_TEXT} characters")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            refuse(f"{name!r} holds half a character")  # no page and no file could show it
        return value.strip()

    def number(self, name: str) -> float:
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(f"{name!r} must be a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            refuse(f"{name!r} must be finite")
        return number

    def whole(self, name: str) -> int | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            refuse(f"{name!r} must be a whole number from 1")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of lines; none where it is not there."""
        value = self.fields.get(name, [])
        if not isinstance(value, list) or len(value) > MOST_TEXTS:
            refuse(f"{name!r} must be a list of at most {MOST_TEXTS} texts")
        return tuple(Body(fields={name: one}).text(name) for one in value)

    def flag(self, name: str) -> bool:
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            refuse(f"{name!r} must be true or false")
        return value


async def _read(request: Request) -> bytes:
    """The body, up to a bound that holds whatever Content-Length claims."""
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                read += chunk
                if len(read) > LONGEST_BODY:
                    refuse(f"the body is over {LONGEST_BODY} bytes", 413)
    except TimeoutError:
        refuse(f"the body did not come within {BODY_SECONDS:g} s", 408)
    return bytes(read)
