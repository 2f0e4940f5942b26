"""Which tick is open, and what waits for the next one. It counts nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from rollbackd.core.model import JsonObject

IDLE_SECONDS: Final = 14400.0  # of silence are not walked tick by tick
Take: TypeAlias = Callable[[], None]


class TickClock:
    """Ticks cover (start, end] and lie on a grid from `origin`. NaN until the first sample."""

    __slots__ = ("_waiting", "end", "origin", "start", "tick_seconds")

    def __init__(self, tick_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.origin: float | None = None
        self.start = self.end = math.nan
        self._waiting: deque[tuple[float, Take]] = deque()

    @property
    def runs(self) -> bool:
        return not math.isnan(self.start)

    def place(self, told: float, take: Take) -> None:
        """Take it into the tick that it tells of; into the open one where that is closed."""
        if not self.runs:
            self.origin = told if self.origin is None else self.origin
            self._open(math.ceil((told - self.origin) / self.tick_seconds) - 1)
        if told > self.end:
            self._waiting.append((told, take))
        else:
            take()

    def next(self) -> None:
        """The open tick ended: open the next, and take in what waited for it."""
        origin, tick = self.origin, self.tick_seconds
        assert origin is not None, "it runs"
        number = round((self.end - origin) / tick)
        self.start, self.end = origin + number * tick, origin + (number + 1) * tick
        if self._waiting:
            self.drain(self.end)

    def skip_idle(self, until: float) -> None:
        """Jump over most of a long silence, when nothing waits any more."""
        silent = until - self.end
        if silent <= IDLE_SECONDS or self._waiting:
            return
        assert self.origin is not None, "it runs"
        self._open(math.floor((until - self.origin - IDLE_SECONDS / 2) / self.tick_seconds))

    def align(self, at: float) -> None:
        """The grid begins at `at` now; what was closed already stays closed."""
        self.origin = at
        if self.runs:
            self._open(max(0, math.ceil((self.start - at) / self.tick_seconds)))
            self.drain(self.end)

    def drain(self, until: float) -> None:
        """Take in what tells of the time up to `until`."""
        waiting, self._waiting = self._waiting, deque()
        for told, take in waiting:
            if told > until:
                self._waiting.append((told, take))
            else:
                take()

    def drop(self) -> None:
        self._waiting.clear()

    def _open(self, number: int) -> None:
        assert self.origin is not None, "set before"
        self.start = self.origin + number * self.tick_seconds
        self.end = self.origin + (number + 1) * self.tick_seconds

    def as_json(self) -> JsonObject:
        """What waits is lost with the process: a second's worth at most."""
        return {"origin": self.origin, "start": self.start if self.runs else None}

    def restore(self, kept: JsonObject) -> None:
        origin, start = kept["origin"], kept["start"]
        self.origin = float(origin) if isinstance(origin, int | float) else None
        if isinstance(start, int | float) and self.origin is not None:
            self._open(round((start - self.origin) / self.tick_seconds))
