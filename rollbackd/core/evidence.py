"""The evidence of one stream, tick by tick: a bet that it is worse than tolerated.

While the expected bad share of every tick stays at or under what is tolerated, the odds are a
nonnegative supermartingale that starts at 1: they ever reach N with a chance of 1/N at most,
however often one looks (Ville). After Waudby-Smith and Ramdas, arXiv 2010.09686; the onset is
mixed over as in Shin, Ramdas and Rinaldo 2024. It knows no probes and decides nothing.
"""

from __future__ import annotations

import math
from typing import Final

from rollbackd.core.model import JsonObject

BETS: Final = (0.1, 0.3, 0.6, 0.9)
FIRST_SHARE: Final = 0.5  # of the stake: it broke with the release itself
ONSET_MEAN_SECONDS: Final = 300.0  # the rest: it broke later, exponentially
CRUMBS: Final = 1e-9  # of the stake are none: an idle app's evidence stands still in the end
CEILING: Final = 1e200  # far beyond any threshold, far from infinity
EARLY_SECONDS: Final = 40.0  # after the first tick: what is bad by then came with the release
WELL_AGAIN: Final = 4.0  # bad ones tolerated, without a tick over it: what was bad has ended


def cap_of(*, odds: float, weight: float, ticks: int) -> float:
    """What one tick may multiply by at most, so that `ticks` are needed to reach `odds` alone."""
    return float((odds / (weight * FIRST_SHARE)) ** (1 / ticks))


class Evidence:
    """Eight numbers. `odds` is 1 until the first tick.

    A release that is bad is bad from the start, as a rule; a burst may come at any time. So a
    tick of what began with the release multiplies by `cap` at most, a tick of what began later by
    `late_cap`. A lower cap only lowers the odds: the bound above stays.
    """

    __slots__ = (
        "_age_seconds", "_cap", "_fade", "_first", "_late_cap", "_rest", "_run", "_sums",
        "_tick_seconds", "_well",
    )  # fmt: skip

    def __init__(self, *, cap: float, tick_seconds: float, late_cap: float | None = None) -> None:
        self._cap = cap
        self._late_cap = cap if late_cap is None else late_cap
        self._tick_seconds = tick_seconds
        self._age_seconds = 0.0  # of the first tick, as the next one begins
        self._run: float | None = None  # the cap of what is bad now; None: nothing is
        self._well = 0.0  # bad ones tolerated since the last tick over it
        self._fade = 1 - math.exp(-tick_seconds / ONSET_MEAN_SECONDS)
        self._sums = [0.0] * len(BETS)
        self._rest = 1.0
        self._first = True

    @property
    def started(self) -> bool:
        return not self._first

    @property
    def odds(self) -> float:
        return sum(self._sums) / len(BETS) + self._rest

    def step(self, ratio: float | None, tolerated: float = math.inf) -> None:
        """One tick. `ratio`: observed over tolerated share of bad ones; None: nothing was seen.
        `tolerated`: how many bad ones would have been.
        """
        stake = FIRST_SHARE if self._first else self._rest * self._fade
        self._first = False
        self._rest -= stake
        age, self._age_seconds = self._age_seconds, self._age_seconds + self._tick_seconds
        if ratio is None:
            self._sums = [s + stake for s in self._sums]
            return
        over, cap = ratio - 1, self._cap_of_run(age, ratio, tolerated)
        self._sums = [
            min((s + stake) * min(1 + bet * over, cap), CEILING)
            for s, bet in zip(self._sums, BETS, strict=True)
        ]

    def _cap_of_run(self, age: float, ratio: float, tolerated: float) -> float:
        """A single tick without errors ends nothing where one would hardly have had any."""
        if ratio > 1:
            if self._run is None:
                self._run = self._cap if age <= EARLY_SECONDS else self._late_cap
            self._well = 0.0
        else:
            self._well += tolerated
            if self._well >= WELL_AGAIN:
                self._run = None
        return self._late_cap if self._run is None else self._run

    def skip(self, ticks: float) -> None:
        """The first `ticks` went by unseen: their stake is lost, nobody is accused by it."""
        stake_left = 1 - FIRST_SHARE if self._first else self._rest
        self._first = False
        self._rest = stake_left * (1 - self._fade) ** ticks
        self._age_seconds += ticks * self._tick_seconds
        self.forget()

    def _spend(self, stake: float) -> None:
        left = self._rest - stake
        self._rest = left if left > CRUMBS else 0.0

    def forget(self) -> None:
        """What was counted accuses nobody any more. The stake it took is not given back."""
        self._sums = [0.0] * len(BETS)
        self._run, self._well = None, 0.0

    def as_json(self) -> JsonObject:
        return {
            "sums": [*self._sums],
            "rest": self._rest,
            "first": self._first,
            "age": self._age_seconds,
            "run": self._run,
            "well": self._well,
        }

    def restore(self, kept: JsonObject) -> None:
        sums, rest = kept["sums"], kept["rest"]
        assert isinstance(sums, list), "written by as_json"
        assert isinstance(rest, float | int), "written by as_json"
        self._sums = [float(s) for s in sums if isinstance(s, float | int)]
        self._rest = float(rest)
        self._first = bool(kept["first"])
        run = kept["run"]
        self._age_seconds, self._well = float(str(kept["age"])), float(str(kept["well"]))
        self._run = float(run) if isinstance(run, float | int) else None
