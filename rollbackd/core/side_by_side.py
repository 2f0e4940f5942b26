"""All that is compared between new and old machines of one target. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from rollbackd.core.comparison import Comparison
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.rows import Counted
from rollbackd.core.stream import LATELY, Stream

GRACE_SECONDS: Final = 60.0


class SideBySide:
    """Comes on with the first parts of both, and stays on over a gap."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self.streams = streams
        self.forget()

    def forget(self) -> None:
        """Another release is watched: nothing was compared yet."""
        self.comparisons = {name: Comparison(s) for name, s in self.streams.items()}
        self.on = False
        self._taken: dict[tuple[str, str], float] = {}

    def take(self, at: float, name: str, who: str, found: Counted, *, new: bool) -> None:
        """One machine's sample; late and doubled ones change nothing."""
        if at > self._taken.get((name, who), -math.inf):
            self._taken[name, who] = at
            self.comparisons[name].take(at, found, new=new)

    def close(self, start_at: float, end_at: float, *, age_seconds: float) -> None:
        """End the tick. `age_seconds` of the release as it began."""
        serving = [c for c in self.comparisons.values() if c.both(end_at)]
        self.on = self.on or bool(serving)
        if serving and not self.started and age_seconds >= GRACE_SECONDS:
            weights = math.fsum(c.stream.kind.weight for c in serving)
            for comparison in serving:
                comparison.start(comparison.stream.kind.weight / weights)
        for comparison in self.comparisons.values():
            if not comparison.both(end_at):
                comparison.forget()
            comparison.close(start_at)

    def stop_accusing(self) -> None:
        """What was counted accuses nobody any more."""
        for comparison in self.comparisons.values():
            comparison.forget()

    @property
    def told_apart(self) -> bool:
        """Whether any machine ever was."""
        return self.on or bool(self._taken)

    def serving(self, now: float) -> bool:
        """Whether machines of both releases were seen lately."""
        return any(c.both(now) for c in self.comparisons.values())

    def fresh(self, now: float) -> bool:
        """Whether machines of the new release were seen lately."""
        return any(
            now - c.new.seen_at <= c.stream.max_age_seconds for c in self.comparisons.values()
        )

    @property
    def started(self) -> bool:
        return any(c.evidence is not None for c in self.comparisons.values())

    @property
    def well(self) -> bool:
        """Whether so much was compared that nothing being wrong means something."""
        return any(c.ticks >= LATELY for c in self.comparisons.values())

    @property
    def odds(self) -> float:
        """1 until something is compared."""
        if not self.started:
            return 1.0
        return math.fsum(c.weight * c.odds for c in self.comparisons.values())

    @property
    def onset(self) -> float | None:
        runs = [c.run_since for c in self.comparisons.values() if c.run_since is not None]
        return min(runs, default=None)

    @property
    def samples(self) -> float:
        """Events on the new machines that were compared."""
        return math.fsum(c.sums[1] for c in self.comparisons.values())

    def evidence(self) -> dict[str, Json]:
        """Per stream: bad and total of both arms since the comparison started, and its odds."""
        return {
            name: {
                "new": {"bad": c.sums[0], "total": c.sums[1]},
                "old": {"bad": c.sums[2], "total": c.sums[3]},
                "odds": c.evidence.odds,
            }
            for name, c in self.comparisons.items()
            if c.evidence is not None
        }

    def as_json(self) -> JsonObject:
        return {
            "on": self.on,
            "comparisons": {name: c.as_json() for name, c in self.comparisons.items()},
        }

    def restore(self, kept: JsonObject) -> None:
        self.on = bool(kept["on"])
        comparisons = kept["comparisons"]
        assert isinstance(comparisons, dict), "written by as_json"
        for name, row in comparisons.items():
            assert isinstance(row, dict), "written by as_json"
            self.comparisons[name].restore(row)
