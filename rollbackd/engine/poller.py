"""The clock work: APScheduler fires, probes look, facts go to the inbox. Decides nothing.

APScheduler 3 cancels running coroutines at shutdown and drops fires later than a second by
default, so jobs here only start looks, and lag and skips are measured by us.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from rollbackd.core.facts import TargetFact
from rollbackd.core.ports import Clock
from rollbackd.engine.look import Looker, Watched
from rollbackd.telemetry.metrics import Metrics

BUCKET_SECONDS = 0.05  # one job per bucket: 14 µs a fire instead of 70 for a job per probe
AT_ONCE = 64  # looks in flight; a look that waits for its turn is late, not failed


class Poller:
    """Looks with every probe at its interval, spread over it by a stable hash."""

    def __init__(
        self,
        *,
        clock: Clock,
        looker: Looker,
        metrics: Metrics,
        publish: Callable[[TargetFact], None],
    ) -> None:
        self._clock = clock
        self._looker = looker
        self._metrics = metrics
        self._publish = publish
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._grids: dict[tuple[float, int], _Grid] = {}
        self._in_flight: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._scheduler.add_listener(
            self._skipped, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR
        )

    def start(self) -> None:
        self._scheduler.start()

    async def stop(self) -> None:
        """No more fires; looks in flight are cancelled, they have no effect on anything."""
        self._scheduler.shutdown(wait=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def adopt(self, watched: Iterable[Watched]) -> None:
        """Watch exactly these from now on: one looks at once, each within its interval.

        Who looked before looks on in its own time: a reload makes no gap and no double look.
        """
        self._scheduler.remove_all_jobs()
        buckets: dict[tuple[float, int], list[Watched]] = defaultdict(list)
        for each in watched:
            buckets[each.interval_seconds, _phase(each)].append(each)
        now = self._clock.now()
        before, self._grids = self._grids, {}
        earliest = min((phase for _, phase in buckets.keys() - before.keys()), default=0)
        for (interval, phase), looks in buckets.items():
            first = now + min((phase - earliest) * BUCKET_SECONDS, interval)
            grid = before.get((interval, phase))
            if grid is None or not grid.due <= first + interval:  # the clock was set back
                grid = _Grid(first, interval)
            self._grids[interval, phase] = grid
            first = grid.due
            self._scheduler.add_job(
                self._fire,
                "interval",
                seconds=interval,
                args=(tuple(looks), grid),
                next_run_time=datetime.fromtimestamp(first, UTC),
                misfire_grace_time=None,
                coalesce=True,
                max_instances=1,
            )

    async def _fire(self, looks: tuple[Watched, ...], grid: _Grid) -> None:
        lag, dropped = grid.late(self._clock.now())
        self._metrics.scheduler_lag(lag)
        for _ in range(dropped):
            self._metrics.scheduler_skipped("overrun")
        for each in looks:
            self._begin(each)

    def _begin(self, watched: Watched) -> None:
        key = (watched.target, watched.name)
        if key in self._in_flight:
            self._metrics.scheduler_skipped("in_flight")
            return
        self._in_flight.add(key)
        task = asyncio.create_task(self._look(watched, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, watched: Watched, key: tuple[str, str]) -> None:
        try:
            async with self._turn:
                for fact in await self._looker.look(watched):
                    self._publish(fact)
        finally:
            self._in_flight.discard(key)

    def _skipped(self, event: JobEvent) -> None:
        reason = {EVENT_JOB_MISSED: "misfire", EVENT_JOB_MAX_INSTANCES: "max_instances"}
        self._metrics.scheduler_skipped(reason.get(event.code, "error"))


class _Grid:
    """When fires were due, so that a coalesced fire is counted and lag is ours to know."""

    def __init__(self, first: float, interval: float) -> None:
        self.due = first
        self._interval = interval

    def late(self, now: float) -> tuple[float, int]:
        """(lag of this fire in seconds, how many fires before it were dropped)."""
        dropped = max(0, int((now - self.due) / self._interval))
        lag = max(0.0, now - self.due - dropped * self._interval)
        self.due += (dropped + 1) * self._interval
        return lag, dropped


def _phase(watched: Watched) -> int:
    buckets = max(1, int(watched.interval_seconds / BUCKET_SECONDS))
    return zlib.crc32(f"{watched.target}/{watched.name}".encode()) % buckets
