"""When a signal was last known to be well. Outlives gaps and restarts, and judges nothing.

It answers for a release that came while a restarted process did not look: was the signal well at
the last look before it? Looks that were lost must not make it so.
"""

from __future__ import annotations

import math

from rollbackd.core import readers
from rollbackd.core.model import Json
from rollbackd.core.rules import Signal


class LastWell:
    """Fed with every look that says something."""

    def __init__(self) -> None:
        self.well_at = -math.inf  # the newest look that left it known to be well
        self.bad_at = math.inf  # the first one after it that did not
        self.saved_at = -math.inf  # up to here nothing that an earlier process saw is lost

    def good(self, at: float) -> None:
        self.well_at, self.bad_at = at, math.inf

    def bad(self, at: float) -> None:
        self.bad_at = min(self.bad_at, at)

    def before(self, came_at: float, signal: Signal, delay_seconds: float) -> bool:
        """Whether it was well when a release came, on no machine before `came_at`.

        Where looks may have been lost before that, only if none was due. `delay_seconds`: how long
        before a look's time it tells of.
        """
        all_known = came_at <= self.saved_at
        longest = signal.max_age_seconds if all_known else signal.interval_seconds
        since = came_at - (self.well_at - delay_seconds)
        return since <= longest and self.bad_at - delay_seconds >= came_at

    def as_json(self) -> Json:
        return [self.well_at, self.bad_at]

    def restore(self, kept: Json, saved_at: float) -> None:
        """Raises Odd where it does not look like what `as_json` gave at `saved_at`."""
        ((self.well_at, self.bad_at),) = readers.rows([kept], readers.number, readers.number)
        self.saved_at = saved_at
