"""Local weekday and minute for the recurring windows; the core knows no time zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo


def local_minutes(zones: Iterable[str], now: float) -> Mapping[str, tuple[int, int]]:
    """For each IANA zone (weekday, Monday 0; minute since local midnight) at `now`.

    One that this machine does not know (its database is gone) is left out.
    """
    found = {}
    for zone in zones:
        known = _known(zone)
        if known is not None:
            there = datetime.fromtimestamp(now, known)
            found[zone] = (there.weekday(), there.hour * 60 + there.minute)
    return found


def _known(zone: str) -> tzinfo | None:
    if zone == "UTC":
        return UTC  # needs no database
    try:
        return ZoneInfo(zone)
    except (KeyError, OSError, ValueError):
        return None
