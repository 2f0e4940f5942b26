"""One stream on the new machines against the old ones, while both serve. It needs no history.

Of the bad ones of a tick at most a share `theta` lands on the new machines, if the new release is
at most 1.5 times as bad: requests are split at random, so what hurts both arms cancels out.
After Lindon and Malek, arXiv 2011.03567. It decides nothing.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from rollbackd.core.bounds import telling_bound
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.frozen import LEAST_SECONDS, LEAST_TICKS
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rows import Counted, Row, Ticks, added
from rollbackd.core.stream import Stream

TIMES: Final = 1.5
OLD_KEPT_SECONDS: Final = 300.0


class Arm:
    """What came of some machines in the open tick, and until when any came."""

    __slots__ = ("row", "seen_at")

    def __init__(self) -> None:
        self.row: Row | None = None
        self.seen_at = -math.inf


class Comparison:
    """Fed per machine, closed tick by tick."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.new, self.old = Arm(), Arm()
        self.evidence: Evidence | None = None
        self.weight = 0.0
        self.bounds: tuple[float, ...] | None = None
        self.bound = 0
        self.sums = [0.0, 0.0, 0.0, 0.0]  # bad and total, new and old
        self.before: Row | None = None  # the old machines until it started
        rows = math.ceil(OLD_KEPT_SECONDS / stream.tick_seconds)
        self.old_ticks: deque[tuple[float, float]] = deque(maxlen=rows)
        self.run_since: float | None = None
        self.ticks = 0

    def take(self, at: float, found: Counted, *, new: bool) -> None:
        """One machine's share of the open tick."""
        if self.bounds is None:
            self.bounds = found.bounds
        if found.bounds != self.bounds:
            return  # counted in another way than before: not to be compared
        arm = self.new if new else self.old
        arm.seen_at = max(arm.seen_at, at)
        arm.row = added(arm.row, found.row)

    def both(self, now: float) -> bool:
        """Whether parts of both came lately."""
        age = self.stream.max_age_seconds
        return now - self.new.seen_at <= age and now - self.old.seen_at <= age

    def start(self, weight: float) -> None:
        """From now on there is evidence; `weight` of all that are compared."""
        self.weight = weight
        least = max(LEAST_TICKS, math.ceil(LEAST_SECONDS / self.stream.pace_seconds))
        cap = cap_of(odds=self.stream.odds_needed, weight=weight, ticks=least)
        self.evidence = Evidence(cap=cap, tick_seconds=self.stream.tick_seconds)
        self.bound = self._pick()
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def close(self, start_at: float) -> None:
        """End the tick."""
        new, old = self.new.row, self.old.row
        self.new.row = self.old.row = None
        if old is not None:
            place = self.bound if self.evidence is not None else self._pick()
            self.old_ticks.append((old[1 + place], old[0]))
        if self.evidence is None:
            self.before = self.before if old is None else added(self.before, old)
            return
        if new is None or old is None:
            self.evidence.step(None)
            return
        bad_new, bad_old = new[1 + self.bound], old[1 + self.bound]
        counts = (bad_new, new[0], bad_old, old[0])
        self.sums = [a + b for a, b in zip(self.sums, counts, strict=True)]
        self.ticks += 1
        self.evidence.step(self._ratio(start_at, *counts))

    def _ratio(
        self, start_at: float, bad_new: float, new: float, bad_old: float, old: float
    ) -> float | None:
        """How much more of the bad ones landed on the new machines than may."""
        if bad_new + bad_old <= 0:
            return None
        theta = TIMES * new / (TIMES * new + old)
        ratio = bad_new / (bad_new + bad_old) / theta
        if ratio <= 1:
            self.run_since = None
        elif self.run_since is None:
            self.run_since = start_at
        return ratio

    def _pick(self) -> int:
        baseline = self.stream.baseline
        if baseline is not None and baseline.bounds == self.bounds and baseline.covered_seconds > 0:
            return baseline.bound
        if self.before is None or not self.stream.slow:
            return 0
        return telling_bound(
            self.bounds or (), self.before[1:], self.before[0], slack=self.stream.kind.slack
        )

    def forget(self) -> None:
        """What was counted accuses nobody any more."""
        if self.evidence is not None:
            self.evidence.forget()
        self.run_since = None

    @property
    def difference(self) -> float:
        """How much worse the new machines were, as a share, since the comparison started."""
        bad_new, new, bad_old, old = self.sums
        return bad_new / new - bad_old / old if new > 0 and old > 0 else 0.0

    @property
    def odds(self) -> float:
        """0 while the difference is too small to matter."""
        if self.evidence is None or self.difference < self.stream.kind.slack.plus:
            return 0.0
        return self.evidence.odds

    @property
    def old_lately(self) -> Ticks:
        """Bad and total of the old machines, per tick, of the last five minutes."""
        return [k for k, _ in self.old_ticks], [n for _, n in self.old_ticks]

    def as_json(self) -> JsonObject:
        old: list[Json] = [[k, n] for k, n in self.old_ticks]
        return {
            "new_seen_at": _finite(self.new.seen_at),
            "old_seen_at": _finite(self.old.seen_at),
            "evidence": None if self.evidence is None else self.evidence.as_json(),
            "weight": self.weight,
            "bounds": None if self.bounds is None else [*self.bounds],
            "bound": self.bound,
            "sums": [*self.sums],
            "before": None if self.before is None else [*self.before],
            "old_ticks": old,
            "run_since": self.run_since,
            "ticks": self.ticks,
        }

    def restore(self, kept: JsonObject) -> None:
        bounds, before, evidence = kept["bounds"], kept["before"], kept["evidence"]
        self.bounds = tuple(_floats(bounds)) if isinstance(bounds, list) else None
        if isinstance(evidence, dict):
            self.start(float(str(kept["weight"])))
            assert self.evidence is not None, "started"
            self.evidence.restore(evidence)
        self.bound, self.ticks = int(str(kept["bound"])), int(str(kept["ticks"]))
        self.sums = _floats(kept["sums"])
        self.before = _floats(before) if isinstance(before, list) else None
        old = kept["old_ticks"]
        assert isinstance(old, list), "written by as_json"
        self.old_ticks.extend((k, n) for k, n in map(_floats, old))
        run, new_seen, old_seen = kept["run_since"], kept["new_seen_at"], kept["old_seen_at"]
        self.run_since = float(run) if isinstance(run, int | float) else None
        self.new.seen_at = float(new_seen) if isinstance(new_seen, int | float) else -math.inf
        self.old.seen_at = float(old_seen) if isinstance(old_seen, int | float) else -math.inf


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _floats(kept: Json) -> list[float]:
    assert isinstance(kept, list), "written by as_json"
    return [float(value) for value in kept if isinstance(value, int | float)]
