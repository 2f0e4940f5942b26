"""How long each part of a look took. Parts of several hops add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rollbackd.core.ports import Clock

ORDER = ("resolve", "connect", "tls", "processing", "transfer")


class Phases:
    """Stopwatch of one look. `current` is the part it is in, so that a time-out can be named."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._spent: dict[str, float] = {}
        self.current = ""

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        self.current = phase
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._spent[phase] = self._spent.get(phase, 0.0) + self._clock.monotonic() - began

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._began

    def spent(self) -> tuple[tuple[str, float], ...]:
        return tuple((phase, self._spent[phase]) for phase in ORDER if phase in self._spent)
