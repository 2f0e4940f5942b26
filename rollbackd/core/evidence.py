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
A, B, C, D = BETS
FIRST_SHARE: Final = 0.5  # of the stake: it broke with the release itself
ONSET_MEAN_SECONDS: Final = 300.0  # the rest: it broke later, exponentially
CRUMBS: Final = 1e-9  # of the stake are none: an idle app's evidence stands still in the end
NOTHING: Final = (0.0, 0.0, 0.0, 0.0)
CEILING: Final = 1e200  # far beyond any threshold, far from infinity
EARLY_SECONDS: Final = 40.0  # after the first tick, or after the newest bad one that was early
WELL_AGAIN: Final = 4.0  # bad ones tolerated, without a tick over it: what was bad has ended
WELL_TICKS: Final = 12.0  # so many ticks end it, too, where few events are counted
LIFT: Final = 1.5  # see docs/adr/0034-latency-from-a-third-up.md; no more than a slack's `times`


def cap_of(*, odds: float, weight: float, ticks: int) -> float:
    """What one tick may multiply by at most, so that `ticks` are needed to reach `odds` alone."""
    return float((odds / (weight * FIRST_SHARE)) ** (1 / ticks))


class Evidence:
    """Eight numbers, and the odds they make: 1 until the first tick.

    A release that is bad is bad from the start, as a rule; a burst may come at any time. So a tick
    of what began with the release multiplies by `cap` at most, a tick of what began later by
    `late_cap` (docs/adr/0007-bursts-and-little-history.md). A lower cap only lowers the odds: the
    bound above stays. It is stepped once a tick per stream, so the four bets are written out.
    """

    __slots__ = (
        "_age_seconds", "_cap", "_early_until", "_fade", "_late_cap", "_lift", "_rest", "_run_cap",
        "_sums", "_tick_seconds", "_warm", "_well", "odds", "started",
    )  # fmt: skip

    def __init__(
        self,
        *,
        cap: float,
        tick_seconds: float,
        late_cap: float | None = None,
        age_seconds: float = 0.0,
        lift: float = 1.0,
    ) -> None:
        self._cap = cap
        self._late_cap = cap if late_cap is None else late_cap
        self._lift = lift  # of what began with the release
        self._tick_seconds = tick_seconds
        self._age_seconds = age_seconds  # since the first tick began, as the next one does
        self._run_cap: float | None = None  # of what is bad now; None: nothing is
        self._early_until = EARLY_SECONDS  # what begins by then came with the release
        # Until a tick was judged by all that it is to be judged by.
        self._warm = age_seconds <= EARLY_SECONDS
        self._well = 0.0  # bad ones tolerated since the last tick over it
        self._fade = 1 - math.exp(-tick_seconds / ONSET_MEAN_SECONDS)
        self._sums = NOTHING
        self._rest = 1.0
        self.started = False
        self.odds = 1.0

    def step(self, ratio: float | None, tolerated: float = math.inf, *, warm: bool = False) -> None:
        """One tick. `ratio`: observed over tolerated share of bad ones; None: nothing was seen.
        `tolerated`: how many bad ones would have been; `warm`: more than usual, the app warms up.
        """
        stake = self._rest * self._fade if self.started else FIRST_SHARE
        self.started = True
        rest = self._rest - stake
        self._rest = rest = rest if rest > CRUMBS else 0.0
        a, b, c, d = self._sums
        if ratio is None:
            a, b, c, d = a + stake, b + stake, c + stake, d + stake
        elif ratio <= 1:
            over = ratio - 1
            if self._lift > 1 and self._early():
                over = max(over * self._lift, -1.0)
            a, b = (a + stake) * (1 + A * over), (b + stake) * (1 + B * over)
            c, d = (c + stake) * (1 + C * over), (d + stake) * (1 + D * over)
            self._warm = self._warm and warm
            if self._run_cap is not None:
                self._rest_well(tolerated)
        else:
            over, cap = ratio - 1, self._cap_now()
            if cap == self._cap:
                over *= self._lift
            a = (a + stake) * (f if (f := 1 + A * over) < cap else cap)
            b = (b + stake) * (f if (f := 1 + B * over) < cap else cap)
            c = (c + stake) * (f if (f := 1 + C * over) < cap else cap)
            d = (d + stake) * (f if (f := 1 + D * over) < cap else cap)
            if a + b + c + d > CEILING:
                a, b, c, d = (min(s, CEILING) for s in (a, b, c, d))
            self._warm = self._warm and warm
        self._sums = (a, b, c, d)
        self._age_seconds += self._tick_seconds
        self.odds = (a + b + c + d) / 4 + rest

    def _early(self) -> bool:
        """Whether what is bad now began with the release, or would if it began now."""
        if self._run_cap is not None:
            return self._run_cap == self._cap
        # By what was tolerated while it warmed up it could not show before.
        return self._warm or self._age_seconds <= self._early_until

    def _cap_now(self) -> float:
        """Of a tick that is worse than tolerated."""
        if self._run_cap is None:
            self._run_cap = self._cap if self._early() else self._late_cap
        if self._run_cap == self._cap:
            # A crash loop has its good ticks: what is bad again so soon is the same trouble.
            self._early_until = self._age_seconds + self._tick_seconds + EARLY_SECONDS
        self._well = 0.0
        return self._run_cap

    def _rest_well(self, tolerated: float) -> None:
        """A single tick without errors ends nothing where one would hardly have had any."""
        self._well += max(tolerated, WELL_AGAIN / WELL_TICKS)
        if self._well >= WELL_AGAIN:
            self._run_cap, self._well = None, 0.0

    def renew(self, delay_seconds: float) -> None:
        """What begins now begins with the release, too; the ticks tell of it so much later."""
        until = self._age_seconds + delay_seconds + EARLY_SECONDS
        self._early_until = max(self._early_until, until)

    def skip(self, ticks: float) -> None:
        """The first `ticks` went by unseen: their stake is lost, nobody is accused by it."""
        rest = (self._rest if self.started else 1 - FIRST_SHARE) * (1 - self._fade) ** ticks
        self._rest = rest if rest > CRUMBS else 0.0
        self._age_seconds += ticks * self._tick_seconds
        self.started = True
        self.forget()

    def forget(self) -> None:
        """What was counted accuses nobody any more. The stake it took is not given back."""
        self._sums, self.odds = NOTHING, self._rest
        self._run_cap, self._well, self._warm = None, 0.0, False
        self._early_until = EARLY_SECONDS

    def as_json(self) -> JsonObject:
        return {
            "sums": [*self._sums],
            "rest": self._rest,
            "started": self.started,
            "age": self._age_seconds,
            "run_cap": self._run_cap,
            "well": self._well,
            "early_until": self._early_until,
            "warm": self._warm,
        }

    def restore(self, kept: JsonObject) -> None:
        sums, rest = kept["sums"], kept["rest"]
        assert isinstance(sums, list), "written by as_json"
        assert isinstance(rest, float | int), "written by as_json"
        a, b, c, d = (float(s) for s in sums if isinstance(s, float | int))
        self._sums, self._rest = (a, b, c, d), float(rest)
        self.started = bool(kept["started"])
        age, run_cap, well = kept["age"], kept["run_cap"], kept["well"]
        early_until = kept["early_until"]
        assert isinstance(early_until, float | int), "written by as_json"
        self._early_until, self._warm = float(early_until), bool(kept["warm"])
        assert isinstance(age, float | int), "written by as_json"
        assert isinstance(well, float | int), "written by as_json"
        self._age_seconds = float(age)
        self._run_cap = float(run_cap) if isinstance(run_cap, float | int) else None
        self._well = float(well)
        self.odds = (a + b + c + d) / 4 + self._rest
