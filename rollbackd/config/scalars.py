"""What an unquoted YAML scalar means. What YAML 1.1 reads in a surprising way is refused."""

from __future__ import annotations

import math
import re

from rollbackd.config.types import refused

_LONGEST_DIGITS = 18  # beyond it a double loses digits

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WORDS = frozenset({"yes", "no", "on", "off"})
_NOT_FINITE = re.compile(r"[-+]?\.?(?:inf|infinity|nan)", re.IGNORECASE)
_SURPRISES = (
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9_]*)?"), "YAML 1.1 counts it in base 60"),
    (re.compile(r"[-+]?0[0-9_]+"), "YAML 1.1 reads a leading 0 as octal"),
    (re.compile(r"[-+]?0[xob][0-9a-fA-F_]+"), "it is a number in another base"),
    (re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+"), "readers differ on exponents"),
    (re.compile(r"[-+]?[0-9]+(?:_[0-9]*)+(?:\.[0-9_]*)?"), "YAML 1.1 drops the underscores"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"), "YAML 1.1 makes it a date"),
    (re.compile(r"[-+]?0[0-9]+\.[0-9]*"), "a leading 0 is not a decimal number"),
)


def resolve(text: str) -> bool | float | str | None:
    """The value of an unquoted scalar. Raises what `types.refused` makes."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text.lower() in _WORDS:
        raise refused(f"unquoted {text}: YAML 1.1 makes it a boolean", _either(text))
    if _NOT_FINITE.fullmatch(text):
        raise refused(f"not a finite number: {text}", f'quote it if you mean the text: "{text}"')
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    for pattern, why in _SURPRISES:
        if pattern.fullmatch(text):
            shown = text if len(text) <= _LONGEST_DIGITS else f"{text[:_LONGEST_DIGITS]}..."
            raise refused(f"unquoted {shown}: {why}", f'quote it: "{shown}"')
    return text


def _either(text: str) -> str:
    truth = "true" if text.lower() in {"yes", "on"} else "false"
    return f'write {truth}, or "{text}" if you mean the text'


def _integer(text: str) -> int:
    if len(text) > _LONGEST_DIGITS:
        raise refused("a number with too many digits", "quote it if you mean the text")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise refused("a number with too many digits", "quote it if you mean the text")
    return value
