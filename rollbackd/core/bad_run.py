"""Since when a stream is bad, and how bad it was since then. It accuses nobody."""

from __future__ import annotations

import math
from typing import Final

from rollbackd.core.model import JsonObject

BET: Final = 0.3
WON_AT_MOST: Final = 3.0  # nine good ticks in a row end any run


class BadRun:
    """Begins where a small bet on "worse than tolerated" starts to win (Page's CUSUM), ends where
    all of the winnings are lost: one good tick among many bad ones does not end it.
    """

    __slots__ = ("bad", "since", "total", "won")

    def __init__(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.since: float | None = None
        self.won = self.bad = self.total = 0.0

    def add(self, start_at: float, bad: float, total: float, ratio: float) -> None:
        """One tick with data. `ratio`: observed over tolerated share. Where nothing was won a good
        tick loses nothing, so it need not come here.
        """
        self.won = min(self.won + math.log(1 + BET * (ratio - 1)), WON_AT_MOST)
        if self.won <= 0:
            self.stop()
            return
        if self.since is None:
            self.since = start_at
        self.bad += bad
        self.total += total

    def as_json(self) -> JsonObject:
        return {"since": self.since, "won": self.won, "bad": self.bad, "total": self.total}

    def restore(self, kept: JsonObject) -> None:
        since = kept["since"]
        self.since = float(since) if isinstance(since, int | float) else None
        self.won, self.bad, self.total = (float(str(kept[k])) for k in ("won", "bad", "total"))
