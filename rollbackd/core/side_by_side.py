"""The new machines against the old ones, while both serve. It needs no history.

Of the bad ones of a tick, at most a share `theta` lands on the new machines if the new release is
at most 1.5 times as bad: requests are split at random, so what hurts both arms cancels out.
After Lindon and Malek, arXiv 2011.03567. It decides nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Final

from rollbackd.core.baseline import pick_bound
from rollbackd.core.evidence import Evidence, cap_of
from rollbackd.core.history import Row, Ticks
from rollbackd.core.model import Json
from rollbackd.core.stream import LATELY, LATENCY, Stream

TIMES: Final = 1.5
TICKS_AT_LEAST_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 60.0
OLD_KEPT_SECONDS: Final = 300.0


class Arm:
    """What came of some machines in the open tick, and until when any came."""

    __slots__ = ("row", "seen_at")

    def __init__(self) -> None:
        self.row: list[float] | None = None
        self.seen_at = -math.inf

    def take(self, at: float, row: Row) -> None:
        self.seen_at = max(self.seen_at, at)
        same = self.row is not None and len(self.row) == len(row)
        self.row = [a + b for a, b in zip(self.row, row, strict=True)] if same else [*row]  # type: ignore[arg-type]  # same says that there is one


class Comparison:
    """One stream, new machines against old ones."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.new, self.old = Arm(), Arm()
        self.evidence: Evidence | None = None
        self.weight = 0.0
        self.bound: int | None = None
        self.sums = [0.0, 0.0, 0.0, 0.0]  # bad and total, new and old
        self.before: list[float] | None = None  # the old machines during the grace
        rows = math.ceil(OLD_KEPT_SECONDS / stream.tick_seconds)
        self.old_ticks: deque[tuple[float, float]] = deque(maxlen=rows)
        self.run_since: float | None = None
        self.ticks = 0

    def both(self, now: float) -> bool:
        """Whether parts of both came lately."""
        age = self.stream.max_age_seconds
        return now - self.new.seen_at <= age and now - self.old.seen_at <= age

    def start(self, weight: float) -> None:
        self.weight = weight
        least = max(3, math.ceil(TICKS_AT_LEAST_SECONDS / self.stream.pace_seconds))
        cap = cap_of(odds=self.stream.odds_needed, weight=weight, ticks=least)
        self.evidence = Evidence(cap=cap, tick_seconds=self.stream.tick_seconds)
        self.bound = self._bound()
        self.sums = [0.0, 0.0, 0.0, 0.0]

    def _bound(self) -> int:
        baseline = self.stream.baseline
        if baseline is not None and baseline.covered_seconds > 0:
            return baseline.bound
        if self.before is None or self.stream.kind.name != LATENCY.name:
            return 0
        return pick_bound(self.before[1:], self.before[0])

    def close(self, start_at: float) -> None:
        """End the tick."""
        new, old = self.new.row, self.old.row
        self.new.row = self.old.row = None
        if old is not None:
            self._remember(old)
        if self.evidence is None or self.bound is None:
            return
        if new is None or old is None or len(new) != len(old):
            self.evidence.step(None)
            return
        bad_new, bad_old = new[1 + self.bound], old[1 + self.bound]
        self.ticks += 1
        counts = (bad_new, new[0], bad_old, old[0])
        self.sums = [a + b for a, b in zip(self.sums, counts, strict=True)]
        if bad_new + bad_old <= 0:
            self.evidence.step(None)
            return
        theta = TIMES * new[0] / (TIMES * new[0] + old[0])
        ratio = bad_new / (bad_new + bad_old) / theta
        self.evidence.step(ratio)
        if ratio <= 1:
            self.run_since = None
        elif self.run_since is None:
            self.run_since = start_at

    def _remember(self, old: list[float]) -> None:
        place = 1 + (self.bound if self.bound is not None else self._bound())
        self.old_ticks.append((old[place] if place < len(old) else 0.0, old[0]))
        if self.evidence is None:
            same = self.before is not None and len(self.before) == len(old)
            before = self.before if same and self.before is not None else [0.0] * len(old)
            self.before = [a + b for a, b in zip(before, old, strict=True)]

    def forget(self) -> None:
        if self.evidence is not None:
            self.evidence.forget()
        self.run_since = None

    @property
    def difference(self) -> float:
        """How much worse the new machines were, in shares, since the comparison began."""
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
        return [k for k, _ in self.old_ticks], [n for _, n in self.old_ticks]


class SideBySide:
    """All comparisons of one regression watch."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self.streams = streams
        self.forget()

    def forget(self) -> None:
        """Another release is watched: nothing was compared yet."""
        self.comparisons = {name: Comparison(s) for name, s in self.streams.items()}
        self.on = False  # both arms serve, or did until a gap
        self.taken: dict[tuple[str, str], float] = {}

    def take(self, at: float, name: str, who: str, row: Row, *, new: bool) -> None:
        """One machine's sample; late and doubled ones change nothing."""
        if at <= self.taken.get((name, who), -math.inf):
            return
        self.taken[name, who] = at
        comparison = self.comparisons[name]
        (comparison.new if new else comparison.old).take(at, row)

    def close(self, start_at: float, end_at: float, *, age_seconds: float) -> None:
        """End the tick. `age_seconds` of the release as it began."""
        serving = [c for c in self.comparisons.values() if c.both(end_at)]
        self.on = self.on or bool(serving)
        started = any(c.evidence is not None for c in self.comparisons.values())
        if serving and not started and age_seconds >= GRACE_SECONDS:
            weights = math.fsum(c.stream.kind.weight for c in serving)
            for comparison in serving:
                comparison.start(comparison.stream.kind.weight / weights)
        for comparison in self.comparisons.values():
            if not comparison.both(end_at):
                comparison.forget()
            comparison.close(start_at)

    def serving(self, now: float) -> bool:
        """Whether machines of both releases were seen lately."""
        return self.on and any(c.both(now) for c in self.comparisons.values())

    def fresh_new(self, now: float) -> bool:
        """Whether machines of the new release were seen lately."""
        return any(
            now - c.new.seen_at <= c.stream.max_age_seconds for c in self.comparisons.values()
        )

    @property
    def odds(self) -> float:
        return math.fsum(c.weight * c.odds for c in self.comparisons.values())

    @property
    def started(self) -> bool:
        return any(c.evidence is not None for c in self.comparisons.values())

    @property
    def well(self) -> bool:
        """Whether so much was compared that nothing being wrong means something."""
        return any(c.ticks >= LATELY for c in self.comparisons.values())

    @property
    def onset(self) -> float | None:
        runs = [c.run_since for c in self.comparisons.values() if c.run_since is not None]
        return min(runs, default=None)

    def evidence(self) -> dict[str, Json]:
        """Per stream: bad and total of both arms since the comparison began."""
        return {
            name: {
                "new": {"bad": c.sums[0], "total": c.sums[1]},
                "old": {"bad": c.sums[2], "total": c.sums[3]},
                "odds": c.evidence.odds,
            }
            for name, c in self.comparisons.items()
            if c.evidence is not None
        }
