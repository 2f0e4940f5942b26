"""Token buckets that keep us below Fly's limits before Fly has to say so.

Fly allows 1 request/s (burst 3) per action and object, and 5/s (burst 10) for looking at one
machine. The same limits bind the proxy's autostart, so running into them hurts users.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollbackd.core.ports import Clock

_MOST_BUCKETS = 4096  # a bucket is forgotten when full; the bound is for a flood of new objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    per_second: float
    burst: float


# A little below Fly's 1/s and 5/s: calls leave evenly and may arrive bunched.
ACTION = Rate(per_second=0.95, burst=3)
LOOK = Rate(per_second=4.75, burst=10)


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Buckets:
    """One bucket per (action, object). Waiters are served in the order they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    async def take(self, action: str, identifier: str, rate: Rate = ACTION) -> float:
        """Wait for a turn; returns the seconds waited."""
        seconds = self._reserve((action, identifier), rate)
        if seconds > 0:
            await self._clock.sleep(seconds)
        return seconds

    def _reserve(self, key: tuple[str, str], rate: Rate) -> float:
        now = self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._forget(now)
            bucket = self._buckets[key] = _Bucket(rate.burst, now)
        bucket.level = min(rate.burst, bucket.level + (now - bucket.at) * rate.per_second) - 1
        bucket.at = now
        return max(0.0, -bucket.level / rate.per_second)

    def _forget(self, now: float) -> None:
        slowest = ACTION.burst / ACTION.per_second
        self._buckets = {k: b for k, b in self._buckets.items() if now - b.at < slowest}
