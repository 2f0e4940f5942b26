"""Takes secrets out of anything that is about to be written: by type, by name, by shape, by value.

Refuses to be clever about what is left: over-redacting a log line is fine, leaking is not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

GONE = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would black out half of every line
_DEEPEST = 12  # nobody logs deeper than this on purpose

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_\-.])(?:authorization|cookie|set-cookie|token|tokens|password|passwd|secret|secrets|"
    r"api_?key|apikey|nonce|credentials?)$"
)

# In this order: the wider ones first, so that what they leave is not half a secret.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?i)(authorization['\"]?\s*[:=,]\s*b?['\"]?)[^\r\n'\"}]+"),
        rf"\1{GONE}",
    ),
    (re.compile(r"\bFlyV1\s+[^\s\"'<>)}\]]+"), GONE),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~,:-]{6,}"), rf"\1 {GONE}"),
    (re.compile(r"\b(?:fm1r|fm1a|fm2|fo1)_[A-Za-z0-9+/=_\-]+"), GONE),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)[^/\s\"'<>?#]+@"), rf"\1{GONE}@"),
    (
        re.compile(
            r"(?i)\b((?:access_?token|token|api_?key|apikey|secret|password|passwd)=)"
            r"(?:'[^']*'|[^&\s\"',;)]+)"
        ),
        rf"\1{GONE}",
    ),
)


class Scrubber:
    """Knows the exact secrets of this process, and the shapes of everybody's."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {form for secret in secrets for form in _forms(secret)}
        # Longest first: one secret may be the beginning of another.
        self._known = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, GONE)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def value(self, value: object, depth: int = 0) -> object:
        """The same value in plain JSON types, without its secrets."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if hasattr(value, "get_secret_value"):
            return GONE
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "backslashreplace"))
        if depth >= _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            return self.fields(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        return self.text(str(value) if isinstance(value, BaseException) else repr(value))

    def fields(self, fields: Mapping[Any, object], depth: int = 0) -> dict[str, object]:
        """A mapping with what is secret by name or by value taken out."""
        clean: dict[str, object] = {}
        for name, value in fields.items():
            key = self.text(name if isinstance(name, str) else str(name))
            secret = value is not None and _SECRET_NAME.search(key) is not None
            clean[key] = GONE if secret else self.value(value, depth)
        return clean


def _forms(secret: str) -> set[str]:
    """The ways one secret is written: as it is, its parts, percent-encoded, base64."""
    parts = {secret, secret.strip(), secret.removeprefix("FlyV1 ")}
    parts |= {part for whole in tuple(parts) for part in whole.split(",")}
    forms: set[str] = set()
    for part in parts:
        if len(part) < _SHORTEST:
            continue
        forms |= {part, quote(part, safe=""), base64.b64encode(part.encode()).decode().rstrip("=")}
    return forms
