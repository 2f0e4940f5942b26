"""What happens when somebody sets the machine's clock. Never a decision: time stays steady.

While a rollback or its cool-down runs, the old time goes on. At rest the new one is taken, and the
watch begins anew with what the store kept, as after a restart: no window spans two times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

import structlog

from rollbackd.core.errors import TemporaryError
from rollbackd.core.state import TargetState
from rollbackd.telemetry import events

log = structlog.get_logger()

JUMP_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 1.0


class SettableClock(Protocol):
    """`clock.SystemClock`, as far as it is needed here."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def behind(self) -> float: ...

    def slew(self) -> None: ...

    def step(self) -> None: ...


class Timekeeper:
    """Looks once a second. `record` keeps a line in the record. `anew` reads what was kept and
    gives what forgets all windows, without waiting for anything: no order may come in between.
    """

    def __init__(
        self,
        *,
        clock: SettableClock,
        states: Callable[[], Iterable[TargetState]],
        record: Callable[[float], Awaitable[None]],
        anew: Callable[[], Awaitable[Callable[[], None]]],
    ) -> None:
        self._clock = clock
        self._states = states
        self._record = record
        self._anew = anew
        self._told = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        behind = self._clock.behind()
        if abs(behind) <= JUMP_SECONDS:
            self._clock.slew()
            self._told = False
            return
        if not self._told:
            self._told = True
            log.warning(events.CLOCK_JUMPED, seconds=round(behind, 1))
            await self._record(behind)
        if not self._at_rest():
            return
        try:
            begin = await self._anew()
        except TemporaryError:
            return  # at a later look
        if self._at_rest():  # still: a rollback may have begun while the disk was read
            self._clock.step()
            begin()
            log.info(events.CLOCK_TAKEN, seconds=round(behind, 1))

    def _at_rest(self) -> bool:
        return all(_at_rest(state, self._clock.now()) for state in self._states())


def _at_rest(state: TargetState, now: float) -> bool:
    """Nothing here counts on the old time any more."""
    cooling = state.rollbacks.cooldown_until(state.policy.safety)
    return state.rollbacks.running is None and (cooling is None or cooling <= now)
