"""Recurring windows by the clock on the wall: over midnight, and on days of 23 or 25 hours.

Dates from the IANA tables: 2026 in Berlin 29 March and 25 October, in Los Angeles 8 March and
1 November.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import pytest

from rollbackd.core.caps import window_on
from rollbackd.core.policy import TimeWindow
from rollbackd.core.rules import Mode
from rollbackd.engine.local_time import local_minutes

BERLIN, ANGELES = "Europe/Berlin", "America/Los_Angeles"
SATURDAY, SUNDAY = 5, 6


@pytest.fixture
def no_zones(tmp_path: Path) -> Iterator[None]:
    """A machine without a time-zone database, as a slim image may be."""
    ZoneInfo.clear_cache()
    reset_tzpath([str(tmp_path)])
    yield
    reset_tzpath()
    ZoneInfo.clear_cache()


def window(days: set[int], start: str, end: str, tz: str) -> TimeWindow:
    return TimeWindow(
        name="w", days=frozenset(days), from_minute=_minute(start), to_minute=_minute(end), tz=tz,
        mode=Mode.APPROVE,
    )  # fmt: skip


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def is_on(one: TimeWindow, utc: str) -> bool:
    at = datetime.fromisoformat(f"{utc}+00:00").timestamp()
    return window_on([one], local_minutes({one.tz}, at)) is not None


@pytest.mark.parametrize(
    ("tz", "first", "last"),
    [  # Saturday 22:00 to Sunday 06:00, in UTC: 8 hours, 7 in spring, 9 in autumn
        (BERLIN, "2026-03-21T21:00", "2026-03-22T04:59"),
        (BERLIN, "2026-03-28T21:00", "2026-03-29T03:59"),
        (BERLIN, "2026-10-24T20:00", "2026-10-25T04:59"),
        (ANGELES, "2026-03-08T06:00", "2026-03-08T12:59"),
        (ANGELES, "2026-11-01T05:00", "2026-11-01T13:59"),
    ],
)
def test_a_night_lasts_from_wall_clock_to_wall_clock(tz: str, first: str, last: str) -> None:
    night = window({SATURDAY}, "22:00", "06:00", tz)
    before = datetime.fromisoformat(f"{first}+00:00").timestamp() - 60
    after = datetime.fromisoformat(f"{last}+00:00").timestamp() + 60

    assert is_on(night, first)
    assert is_on(night, last)
    assert window_on([night], local_minutes({tz}, before)) is None
    assert window_on([night], local_minutes({tz}, after)) is None


def test_an_hour_that_does_not_exist_is_never_on_and_one_that_comes_twice_is_on_twice() -> None:
    hour = window({SUNDAY}, "02:00", "03:00", BERLIN)
    spring = [is_on(hour, f"2026-03-29T{h:02}:30") for h in range(24)]
    autumn = [is_on(hour, f"2026-10-25T{h:02}:30") for h in range(24)]

    assert sum(spring) == 0
    assert [h for h, on in enumerate(autumn) if on] == [0, 1]


@pytest.mark.parametrize(("tz", "day"), [(BERLIN, "2026-03-29"), (ANGELES, "2026-11-01")])
def test_office_hours_are_the_same_on_the_wall_the_day_after(tz: str, day: str) -> None:
    office = window({0, SUNDAY}, "09:00", "17:00", tz)
    for wall, wanted in (("08:59", False), ("09:00", True), ("16:59", True), ("17:00", False)):
        there = datetime.fromisoformat(f"{day}T{wall}").replace(tzinfo=ZoneInfo(tz))
        found = window_on([office], local_minutes({tz}, there.timestamp()))
        assert (found is not None) is wanted, wall


@pytest.mark.usefixtures("no_zones")
def test_without_a_time_zone_database_utc_is_known_and_others_count_as_on() -> None:
    """Such a daemon would end at its first turn, again and again."""
    at_nine = "2026-03-30T09:00"  # a Monday

    assert is_on(window({0}, "09:00", "17:00", "UTC"), at_nine)
    assert not is_on(window({0}, "10:00", "17:00", "UTC"), at_nine)
    assert is_on(window({SUNDAY}, "10:00", "17:00", BERLIN), at_nine)  # the careful answer
