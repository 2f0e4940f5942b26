"""Everything is down, tick after tick: the one thing that needs no statistics.

Each source that has data in a tick votes, and all must say down. It knows no thresholds of a
person, only how often the app was down before the release.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from rollbackd.core.model import JsonObject

AT_LEAST_SECONDS, AT_LEAST_TICKS = 40.0, 3
DOWN_SHARE, DOWN_EVENTS = 0.5, 5.0
CHANCE: Final = 1e-5  # that downs as frequent as before the release stand together this long
OFTEN, ALWAYS = 0.3, 0.9
RECENT_SECONDS: Final = 300.0


def at_least(pace_seconds: float) -> int:
    """How many ticks in a row, where one with data comes every `pace_seconds`."""
    return max(AT_LEAST_TICKS, math.ceil(AT_LEAST_SECONDS / pace_seconds))


def needed(
    down: Sequence[float], votes: Sequence[float], *, least: int, recent_ticks: int
) -> int | None:
    """How many ticks in a row accuse the release, from 0 or 1 per tick before it; None: never."""
    need = least
    for ticks in (recent_ticks, len(votes)):
        k, n = sum(down[-ticks:]), sum(votes[-ticks:])
        if k <= 0 or ticks <= 0:
            continue
        share = (k + 1) / (n + 1)
        if ticks == recent_ticks and share > OFTEN:
            return None
        need = max(need, math.ceil(math.log(CHANCE) / math.log(min(share, ALWAYS))))
    return need


class HardDown:
    """The streak since the release came, and the votes of the open tick."""

    __slots__ = ("_bad", "_failed", "_ok", "_steady", "_total", "fired", "looks", "need", "since",
                 "streak", "streak_bad", "streak_total")  # fmt: skip

    def __init__(self, need: int | None) -> None:
        self.need = need
        self._ok = self._failed = 0
        self._bad = self._total = 0.0
        self.stop()

    def stop(self) -> None:
        """Whatever stood together does no more."""
        self.streak = self.looks = 0
        self.streak_bad = self.streak_total = 0.0
        self.since: float | None = None
        self.fired = False
        self._steady: frozenset[str] = frozenset()

    def look(self, *, ok: bool) -> None:
        """One look of the health probe in the open tick."""
        if ok:
            self._ok += 1
        else:
            self._failed += 1

    def count(self, bad: float, total: float) -> None:
        """Requests of the open tick."""
        self._bad += bad
        self._total += total

    def close(self, start_at: float, *, gapped: Collection[str], neutral: bool) -> bool | None:
        """End the tick: whether it was down; None: nobody knows.

        `gapped`: the sources that were silent for too long. A streak needs one that never was.
        """
        failed, bad, total = self._failed, self._bad, self._total
        looked, counted = bool(self._ok or failed), total >= DOWN_EVENTS
        up = (looked and self._ok > 0) or (counted and bad < DOWN_SHARE * total)
        self._ok = self._failed = 0
        self._bad = self._total = 0.0
        if self.streak:
            self._steady = self._steady.difference(gapped)
            if not self._steady:
                self.stop()
        if not looked and not counted:
            return None
        if neutral:
            return not up
        if up:
            if self.streak or self.fired:
                self.stop()
            return False
        if not self.streak:
            sources = (("health", looked), ("errors", counted))
            self.since, self._steady = start_at, frozenset(n for n, told in sources if told)
        self.streak += 1
        self.looks += failed
        self.streak_bad += bad
        self.streak_total += total
        self.fired = self.fired or (self.need is not None and self.streak >= self.need)
        return True

    def as_json(self) -> JsonObject:
        return {
            "need": self.need,
            "streak": self.streak,
            "since": self.since,
            "fired": self.fired,
            "looks": self.looks,
            "bad": self.streak_bad,
            "total": self.streak_total,
            "steady": [*sorted(self._steady)],
            "open": [self._ok, self._failed, self._bad, self._total],
        }

    def restore(self, kept: JsonObject) -> None:
        need, since, opened, steady = (kept[k] for k in ("need", "since", "open", "steady"))
        self.need = need if isinstance(need, int) else None
        self.since = float(since) if isinstance(since, int | float) else None
        self.fired = bool(kept["fired"])
        self.streak, self.looks = int(str(kept["streak"])), int(str(kept["looks"]))
        self.streak_bad, self.streak_total = float(str(kept["bad"])), float(str(kept["total"]))
        assert isinstance(opened, list), "written by as_json"
        assert isinstance(steady, list), "written by as_json"
        self._steady = frozenset(map(str, steady))
        self._ok, self._failed = int(str(opened[0])), int(str(opened[1]))
        self._bad, self._total = float(str(opened[2])), float(str(opened[3]))
