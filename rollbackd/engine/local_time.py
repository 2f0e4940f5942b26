"""Local weekday and minute for the recurring windows; the core knows no time zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo


def local_minutes(zones: Iterable[str], now: float) -> Mapping[str, tuple[int, int]]:
    """For each IANA zone (weekday, Monday 0; minute since local midnight) at `now`."""
    found = {}
    for zone in zones:
        there = datetime.fromtimestamp(now, ZoneInfo(zone))
        found[zone] = (there.weekday(), there.hour * 60 + there.minute)
    return found
