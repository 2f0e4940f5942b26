"""Asks what a probe's source still knows of the time before we watched. Never from the loop.

A regression trigger learns from it what is usual, instead of waiting for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from rollbackd.core.errors import RollbackdError
from rollbackd.core.facts import PastSeen
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.ports import Clock, KnowsPast
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.regressions import probes_of
from rollbackd.core.state import TargetState
from rollbackd.engine.look import Watched
from rollbackd.telemetry import events

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 600.0  # after a source that did not answer


class Backfill:
    """Once for each watch without enough history, of each probe that it is made from."""

    def __init__(
        self,
        *,
        clock: Clock,
        states: Callable[[], Mapping[TargetName, TargetState]],
        publish: Callable[[PastSeen], None],
    ) -> None:
        self._clock = clock
        self._states = states
        self._publish = publish
        self._watched: tuple[Watched, ...] = ()
        # Those that heard the answer themselves: a watch of the same name may have begun anew.
        self._told: dict[tuple[TargetName, ProbeName], tuple[RegressionWatch, ...]] = {}
        self._wait_until: dict[tuple[TargetName, ProbeName], float] = {}  # by the steady clock
        self._failing: dict[tuple[TargetName, ProbeName], str] = {}

    def adopt(self, watched: Iterable[Watched]) -> None:
        """Ask these probes from now on, at once also those that did not answer before."""
        self._watched = tuple(watched)
        self._wait_until.clear()

    async def run(self) -> None:
        """Ask until cancelled, one source after the other."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask every source that is due."""
        for watched in self._watched:
            watch = self._wanting(watched)
            if watch is not None:
                await self._ask(watched, watch)

    def _wanting(self, watched: Watched) -> RegressionWatch | None:
        key = (watched.target, watched.name)
        if not isinstance(watched.probe, KnowsPast):
            return None
        if self._clock.monotonic() < self._wait_until.get(key, 0.0):
            return None
        told = self._told.get(key, ())
        made_of = self._made_of(key)
        return next((w for w in made_of if w.learning() and w not in told), None)

    def _made_of(self, key: tuple[TargetName, ProbeName]) -> tuple[RegressionWatch, ...]:
        state = self._states().get(key[0])
        watches = () if state is None else state.regressions.watches.values()
        return tuple(watch for watch in watches if key[1] in probes_of(watch.rule))

    async def _ask(self, watched: Watched, watch: RegressionWatch) -> None:
        assert isinstance(watched.probe, KnowsPast), "asked of those only"
        key, now = (watched.target, watched.name), self._clock.now()
        try:
            samples = await watched.probe.past(
                now - watch.rule.history_at_most_seconds, now, watch.rule.tick_seconds
            )
        except RollbackdError as error:
            if self._put_off(key, error.message):
                log.warning(
                    events.PAST_UNKNOWN, target=key[0], probe=key[1], error=error.message,
                    hint=error.hint,
                )  # fmt: skip
            return
        except Exception as error:  # an answer nobody foresaw must not end the watch
            if self._put_off(key, repr(error)):
                log.exception(events.PAST_UNKNOWN, target=key[0], probe=key[1])
            return
        self._failing.pop(key, None)
        if watched not in self._watched or watch not in self._made_of(key):
            return  # a reload came meanwhile: this may be what another query found
        self._told[key] = self._made_of(key)
        past = PastSeen(target=watched.target, probe=watched.name, at=now, samples=tuple(samples))
        self._publish(past)
        log.info(events.PAST_SEEN, target=watched.target, probe=watched.name, samples=len(samples))

    def _put_off(self, key: tuple[TargetName, ProbeName], why: str) -> bool:
        """Whether this is worth a line: it is not what it failed with last time."""
        self._wait_until[key] = self._clock.monotonic() + AGAIN_SECONDS
        before, self._failing[key] = self._failing.get(key), why
        return before != why
