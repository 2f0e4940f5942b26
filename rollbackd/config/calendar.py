"""Field types of recurring windows: weekdays, times of day, time zones."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from rollbackd.config.types import refused

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _days(value: object) -> frozenset[int]:
    words = value if isinstance(value, list) else [value]
    if not words:
        raise refused("no day given", "write mon-fri, or [sat, sun]")
    return frozenset(day for word in words for day in _span(word))


def _span(word: object) -> list[int]:
    first, dash, last = str(word).lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise refused(f"not a day or a span of days: {word!s:.20}", "write mon-fri, or [sat, sun]")
    start = DAYS.index(first)
    length = (DAYS.index(last) - start) % 7 if dash else 0
    return [(start + step) % 7 for step in range(length + 1)]


def _minutes(value: object) -> int:
    if value == "24:00":
        return 24 * 60
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refused("not a time of day", 'write "09:00", quoted')
    return int(found[1]) * 60 + int(found[2])


def _zone(name: str) -> str:
    if name == "UTC":
        return name  # a machine without a time-zone database still knows it
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        if not available_timezones():
            raise refused(
                f"this machine has no time-zone database to find {name!s:.40} in",
                "install the system's or the Python package tzdata, or write UTC",
            ) from error
        raise refused(f"unknown time zone: {name!s:.40}", "write America/Los_Angeles") from error
    return name


Days: TypeAlias = Annotated[
    frozenset[int],
    BeforeValidator(_days),
    WithJsonSchema(
        {"type": ["string", "array"], "x-type": "days", "examples": ["mon-fri", ["sat", "sun"]]}
    ),
]
Clock: TypeAlias = Annotated[
    int,
    BeforeValidator(_minutes),
    WithJsonSchema({"type": "string", "x-type": "time of day", "examples": ["09:00"]}),
]
Zone: TypeAlias = Annotated[str, AfterValidator(_zone)]
