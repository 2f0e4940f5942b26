"""Writes the states down as they change and at the end, and goes on with them after a restart.

Beside the loop: no turn waits for it. What a crash loses, a second or a few, is a gap in what was
seen: too short a one to forget how the app was just before a deploy.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from rollbackd.core import keep
from rollbackd.core.facts import TargetFact
from rollbackd.core.model import Json, TargetName
from rollbackd.core.ports import Clock
from rollbackd.core.state import TargetState
from rollbackd.engine.keeping import DURABLE, Keeping, Recalled

MARKS_KEPT: Final = 200  # of facts kept by themselves, the newest of a target
LOOK_SECONDS: Final = 1.0
AT_MOST_SECONDS: Final = 5.0
TARGETS_A_SECOND: Final = 10  # more of them are written less often
WATCHED_SECONDS: Final = 10.0  # between two writes of a history, which is large,
AT_REST_SECONDS: Final = 60.0  # and while no release is watched


class Memory:
    """What of the states is on disk, and what should be."""

    def __init__(self, clock: Clock, keeping: Keeping) -> None:
        self._clock = clock
        self._keeping = keeping
        self._heard: dict[TargetName, deque[str]] = {}
        self._changed: set[TargetName] = set()  # since they were written
        self._urgent: set[TargetName] = set()
        self._due = -math.inf  # by the steady clock
        self._history_due: dict[TargetName, float] = {}
        self._soon = asyncio.Event()
        self.revived = False  # what was kept is part of the states

    def tell(self, state: TargetState, fact: TargetFact) -> None:
        """Let the state know; that another release runs, or is about to, must outlive a crash in
        the next second: what it is compared with is made at that moment.
        """
        before = _release(state)
        state.apply(fact)
        self._changed.add(fact.target)
        if isinstance(fact, DURABLE):
            marks = self._heard.setdefault(fact.target, deque(maxlen=MARKS_KEPT))
            marks.append(keep.mark(fact))
        if _release(state) != before:
            self._urgent.add(fact.target)
            self._history_due.pop(fact.target, None)
            self._soon.set()

    def revive(
        self,
        states: Mapping[TargetName, TargetState],
        recalled: Recalled,
        apply: Callable[[TargetFact], None],
    ) -> None:
        """Let new states go on where the earlier process stopped."""
        for name, state in states.items():
            self._heard.pop(name, None)
            keep.revive(
                state,
                recalled.states.get(name),
                regressions=recalled.regressions.get(name),
                ledger=recalled.ledgers.get(name, {}),
                facts=recalled.facts.get(name, []),
                now=self._clock.now(),
                apply=apply,
            )
        self.revived = True

    async def run(self, states: Callable[[], Mapping[TargetName, TargetState]]) -> None:
        """Write until cancelled."""
        while True:
            await self.write(states())
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()

    async def write(
        self, states: Mapping[TargetName, TargetState], *, everything: bool = False
    ) -> None:
        """Those that are due, or all, in one write; a history, which is large, less often."""
        now, steady = self._clock.now(), self._clock.monotonic()
        wanted = set(states) if everything else self._wanted(steady, len(states))
        small: dict[TargetName, Json] = {}
        large: dict[TargetName, Json] = {}
        for name, state in states.items():
            if state.regressions.watches and (
                everything or self._history_due.get(name, steady) <= steady
            ):
                large[name] = keep.regressions_as_json(state, now)
                self._history_due[name] = steady + _history_every(state, now)
            if name in wanted or name in large:
                small[name] = keep.as_json(state, now, self._heard.get(name, ()))
        ledgers = {name: states[name].ledger for name in small}
        if small and not await self._keeping.keep_states(small, ledgers, large):
            self._changed |= small.keys()  # with the next ones
            for name in large:
                self._history_due.pop(name, None)

    def _wanted(self, steady: float, targets: int) -> set[TargetName]:
        wanted, self._urgent = self._urgent, set()
        if steady >= self._due:
            self._due = steady + min(AT_MOST_SECONDS, max(LOOK_SECONDS, targets / TARGETS_A_SECOND))
            wanted |= self._changed
        self._changed -= wanted
        return wanted


def _release(state: TargetState) -> tuple[float, int | None]:
    """Since when the present one runs, and which is the newest."""
    newest = state.deploys.newest
    return state.deploys.current_since, None if newest is None else newest.version


def _history_every(state: TargetState, now: float) -> float:
    watched = now - state.deploys.current_since <= state.policy.safety.watch_seconds
    return WATCHED_SECONDS if watched else AT_REST_SECONDS
