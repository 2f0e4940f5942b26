"""Go durations as Fly's configs write them; it knows no other notation."""

from __future__ import annotations

import re

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")


def seconds_of(value: object, *, default: float) -> float:
    """`"15s"` and `"1m30s"`; a bare number is nanoseconds, as in Go."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * 1e-9
    if not isinstance(value, str) or not _PART.fullmatch(_PART.sub("", value) or "0s"):
        return default
    parts = _PART.findall(value)
    return sum(float(n) * UNITS[unit] for n, unit in parts) if parts else default


def as_text(value: object) -> object:
    """A number of nanoseconds reads back as text; everything else as it was."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value * 1e-9:g}s"
    return value
