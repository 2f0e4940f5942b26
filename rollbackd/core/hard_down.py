"""Everything is down, tick after tick: the one thing that needs no statistics.

Each source that has data in a tick votes, and all must say down. It knows no thresholds of a
person, only how often the app was down before the release.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

from rollbackd.core.model import JsonObject

AT_LEAST_SECONDS, AT_LEAST_TICKS = 40.0, 3
DOWN_SHARE, DOWN_EVENTS = 0.5, 5.0
CHANCE: Final = 1e-5  # that downs as frequent as before the release stand together this long
OFTEN, ALWAYS = 0.3, 0.9
LOOP_TICKS, LOOP_DOWN = 9, 5  # down so often of the last ones, with an answer between: a crash loop
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
        if ticks == recent_ticks and (k + 1) / (n + 1) > OFTEN:
            return None
        need = max(need, unlikely(k, n))
    return need


def unlikely(down: float, votes: float) -> int:
    """How many ticks in a row an app that was down in `down` of `votes` ticks is by chance hardly
    ever down.
    """
    return math.ceil(math.log(CHANCE) / math.log(min((down + 1) / (votes + 1), ALWAYS)))


class HardDown:
    """The streak since the release came, and the votes of the open tick.

    A crash loop is no streak: it answers between its crashes. `loops` says so from the first answer
    since the release on, because a slow boot fails before it, and in one piece. Alone it accuses
    nobody: the evidence has to be worth watching, too.
    """

    __slots__ = (
        "_answered", "_bad", "_downs", "_failed", "_newest", "_ok", "_silent", "_steady", "_total",
        "_uncounted", "_votes", "fired", "looks", "loops", "need", "since", "streak", "streak_bad",
        "streak_total",
    )  # fmt: skip

    def __init__(self, need: int | None) -> None:
        self.need = need
        self._ok = self._failed = 0
        self._bad = self._total = 0.0
        self._downs = self._votes = 0  # of ticks that are not young any more
        self._uncounted = 0  # of them, down since the newest answer
        self._silent = 0  # ticks without data, just now
        self._answered = False  # since the release came
        self._newest: deque[bool] = deque(maxlen=LOOP_TICKS)  # since the first answer
        self.stop()

    def stop(self) -> None:
        """Whatever stood together does no more."""
        self.streak = self.looks = 0
        self.streak_bad = self.streak_total = 0.0
        self.since: float | None = None
        self.fired = self.loops = False
        self._steady: frozenset[str] = frozenset()

    def forget(self) -> None:
        """What was counted accuses nobody any more."""
        self.stop()
        self._newest.clear()

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

    @property
    def newest(self) -> int:
        """How many of the newest ticks are looked at for a loop."""
        return len(self._newest)

    @property
    def newest_down(self) -> int:
        """How many of those were down."""
        return sum(self._newest)

    @property
    def attentive(self) -> bool:
        """Whether a gap would matter."""
        return bool(self.streak or self._silent or self._newest)

    def close(
        self, start_at: float, *, gapped: Collection[str], neutral: bool, young: bool = False
    ) -> bool | None:
        """End the tick: whether it was down; None: nobody knows.

        `gapped`: the sources that were silent for too long. A streak needs one that never was.
        `young`: the release may still be starting, its ticks are not held against what comes later.
        """
        failed, bad, total = self._failed, self._bad, self._total
        looked, counted = bool(self._ok or failed), total >= DOWN_EVENTS
        up = (looked and self._ok > 0) or (counted and bad < DOWN_SHARE * total)
        self._ok = self._failed = 0
        self._bad = self._total = 0.0
        if gapped:
            self._miss(gapped)
        if not looked and not counted:
            self._silent += 1
            return None
        self._silent = 0
        if neutral:
            return not up
        self._remember(up=up, young=young)
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
        self.fired = self.fired or self._enough()
        return True

    def _miss(self, gapped: Collection[str]) -> None:
        """What was not seen for too long counts as down, and breaks what stood together: who sees
        less must not accuse sooner.
        """
        self._newest.clear()
        self._downs += self._silent
        self._votes += self._silent
        self._silent = 0
        if self.streak:
            self._steady = self._steady.difference(gapped)
            if not self._steady:
                self.stop()

    def _remember(self, *, up: bool, young: bool) -> None:
        """How often it was down since the release came, and in the newest ticks."""
        if not young:
            self._uncounted += not up
            if up:
                self._downs += self._uncounted
                self._votes += self._uncounted + 1
                self._uncounted = 0
        newest = self._newest
        if up:
            self._answered = True
            if newest:
                newest.append(False)
                if True not in newest:
                    newest.clear()
        elif self._answered:
            newest.append(True)
            again = False in islice(newest, newest.index(True), None)
            often = self.need is not None and self.newest_down >= max(LOOP_DOWN, self.need + 1)
            self.loops = again and often

    def _enough(self) -> bool:
        """Whether the streak is long enough: also for an app that was down now and then since."""
        if self.need is None or self.streak < self.need:
            return False
        return self._downs == 0 or self.streak >= unlikely(self._downs, self._votes)

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
            "loops": self.loops,
            "answered": self._answered,
            "newest": [*map(int, self._newest)],
            "since_release": [self._downs, self._votes, self._uncounted, self._silent],
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
        self.loops, self._answered = bool(kept["loops"]), bool(kept["answered"])
        newest, counts = kept["newest"], kept["since_release"]
        assert isinstance(newest, list), "written by as_json"
        assert isinstance(counts, list), "written by as_json"
        self._newest.extend(map(bool, newest))
        self._downs, self._votes, self._uncounted, self._silent = (int(str(n)) for n in counts)
        self._ok, self._failed = int(str(opened[0])), int(str(opened[1]))
        self._bad, self._total = float(str(opened[2])), float(str(opened[3]))
