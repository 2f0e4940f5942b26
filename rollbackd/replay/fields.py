"""Reads single fields of a line of facts. Anything but exactly what is wanted is a `BadLine`."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

from rollbackd.config.types import parse_duration

Row: TypeAlias = Mapping[str, Any]  # one line, as JSON gives it

MOST: Final = 1e300  # of any number: twice as much is still finite
LATEST: Final = 253_402_300_799.0  # the last second of the year 9999
_NUMBERS: Final = frozenset({int, float})  # a bool is none
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


class BadLine(Exception):
    """What is wrong with the line, in a few words."""


def known_keys(row: Row, keys: Collection[str]) -> None:
    """A misspelt `machine` would count one machine's errors as everybody's: nothing is ignored."""
    odd = sorted(set(row) - set(keys))
    if odd:
        raise BadLine(f"unknown key {odd[0]!r} in a {row['fact']} fact")


def number(row: Row, key: str) -> float:
    value: Any = row.get(key)
    if type(value) not in _NUMBERS:
        raise BadLine(_wanted(row, key, "a number"))
    if not -MOST <= value <= MOST:
        raise BadLine(f"{key} is out of range")
    return float(value)


def count(row: Row, key: str) -> float:
    """A number of 0 or more; fractions come of extrapolated increases."""
    value: Any = row.get(key)
    if type(value) in _NUMBERS and 0 <= value <= MOST:
        return float(value)  # in one step: most numbers of a file pass here
    number(row, key)
    raise BadLine(f"{key} is negative")


def whole(row: Row, key: str) -> int:
    """A whole number of 0 or more."""
    value: Any = row.get(key)
    if type(value) is not int:
        raise BadLine(_wanted(row, key, "a whole number"))
    if not 0 <= value <= MOST:
        raise BadLine(f"{key} is out of range")
    return value


def flag(row: Row, key: str) -> bool:
    value: Any = row.get(key)
    if value is not True and value is not False:
        raise BadLine(_wanted(row, key, "true or false"))
    return value


def text(row: Row, key: str, default: str | None = None) -> str:
    value: Any = row.get(key, default)
    if type(value) is not str:
        raise BadLine(_wanted(row, key, "a string"))
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadLine(f"{key} is not text: half a surrogate pair")
    return value


def name(row: Row, key: str) -> str:
    """A string that says something."""
    value = text(row, key)
    if not value:
        raise BadLine(f"{key} is empty")
    return value


def time(row: Row, key: str) -> float:
    """Epoch seconds, or RFC 3339."""
    value: Any = row.get(key)
    if type(value) is str:
        return _rfc3339(value, key)
    if type(value) not in _NUMBERS:
        raise BadLine(_wanted(row, key, "epoch seconds or RFC 3339"))
    if not -LATEST <= value <= LATEST:
        raise BadLine(f"{key} is out of range")
    return float(value)


def duration(row: Row, key: str) -> float:
    """Seconds, or as the YAML writes it: "10m"."""
    value: Any = row.get(key)
    if type(value) is str:
        try:
            return parse_duration(value)
        except ValueError as error:
            raise BadLine(f"{key} is not a duration: {value[:40]!r}") from error
    return count(row, key)


def buckets(row: Row, key: str) -> tuple[tuple[float, float], ...]:
    """(upper bound, count), bounds rising, counts cumulative, the last bound infinite."""
    value: Any = row.get(key)
    if type(value) is not dict:
        raise BadLine(_wanted(row, key, "an object of counts by upper bound"))
    found = sorted([(_bound(bound, key), count(value, bound)) for bound in value])
    if not found or found[-1][0] != math.inf:
        raise BadLine(f"{key} have no bound +Inf")
    for (low, below), (high, upto) in pairwise(found):
        if low == high:
            raise BadLine(f"{key} have the same bound twice")
        if upto < below:
            raise BadLine(f"{key} are not cumulative")
    return tuple(found)


@lru_cache(maxsize=1024)
def _bound(written: str, key: str) -> float:
    """Every histogram of a file has the same bounds."""
    try:
        bound = float(written)
    except ValueError:
        bound = math.nan
    if math.isnan(bound) or bound == -math.inf or "_" in written:
        raise BadLine(f"{key} have a bound that is no number: {written[:40]!r}")
    return bound


def _rfc3339(written: str, key: str) -> float:
    found = _TIME.fullmatch(written)
    if found is None:
        raise BadLine(f"{key} is not RFC 3339: {written[:40]!r}")
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    most = calendar.monthrange(year, month)[1] if 1 <= month <= 12 and year else 0  # noqa: PLR2004
    leap = second == 60  # noqa: PLR2004 -- RFC 3339 has them
    off = int(found[9] or 0), int(found[10] or 0)
    if not (1 <= day <= most and hour < 24 and minute < 60 and second <= 60):  # noqa: PLR2004
        raise BadLine(f"{key} is no time there ever is: {written[:40]!r}")
    if off[0] > 23 or off[1] > 59:  # noqa: PLR2004
        raise BadLine(f"{key} has an offset there never is: {written[:40]!r}")
    days = calendar.timegm((year, month, day, hour, minute, second - leap, 0, 0, 0))
    shift = (off[0] * 3600 + off[1] * 60) * (-1 if found[8] == "-" else 1)
    return days - shift + leap + (float(found[7]) if found[7] else 0.0)


def _wanted(row: Row, key: str, what: str) -> str:
    return f"{key} is not {what}" if key in row else f"{key} is missing"
