"""Whether an autostopping app is asleep, so that no probe wakes it. It never wakes it itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary, ref

from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Machine
from rollbackd.core.ports import Clock, Platform

FRESH_SECONDS = 5.0
ASKED_AT_MOST_SECONDS = 1.0  # a slow platform must not eat the look's own deadline

_IDLE = frozenset({"stopped", "suspended", "created"})


def asleep(machines: Sequence[Machine]) -> bool:
    """No machine of an autostopping app is started, and none of them lies there broken.

    A machine that crashed at boot is stopped too; that is an outage and must be looked at.
    """
    pool = [machine for machine in machines if machine.reachable and not machine.standby]
    if not any(machine.autostop for machine in pool):
        return False
    return all(machine.state in _IDLE and not machine.crash_looping for machine in pool)


class RecentMachines:
    """The platform's machines as of a few seconds ago; concurrent callers share one call."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = ref(platform)  # weak: the cache below must not keep it alive
        self._clock = clock
        self._lock = asyncio.Lock()
        self._machines: tuple[Machine, ...] | None = None
        self._seen_at = 0.0

    async def machines(self, *, max_age_seconds: float = FRESH_SECONDS) -> tuple[Machine, ...]:
        """Raises what the platform raises."""
        async with self._lock:
            if self._machines is None or self._age() > max_age_seconds:
                asked_at = self._clock.monotonic()
                platform = self._platform()
                assert platform is not None, "a probe outlived its platform"
                self._machines = await platform.machines()
                self._seen_at = asked_at
            return self._machines

    async def asleep(self) -> bool:
        """As far as is known: a platform that does not answer leaves the last known answer."""
        try:
            async with asyncio.timeout(ASKED_AT_MOST_SECONDS):
                return asleep(await self.machines())
        except (RollbackdError, TimeoutError):
            return self._machines is not None and asleep(self._machines)

    def _age(self) -> float:
        return self._clock.monotonic() - self._seen_at


_shared: WeakKeyDictionary[Platform, RecentMachines] = WeakKeyDictionary()


def recent_machines(platform: Platform, clock: Clock) -> RecentMachines:
    """The one cache of this platform: http, scrape and fly probes of a target share it."""
    found = _shared.get(platform)
    if found is None:
        found = _shared[platform] = RecentMachines(platform, clock)
    return found


class DoorBell:
    """What a probe asks before it looks: is there anybody to look at?"""

    def __init__(self, platform: Platform | None, clock: Clock) -> None:
        self._platform = platform  # keeps it alive for as long as the probe
        self._machines = recent_machines(platform, clock) if platform is not None else None

    async def nobody_home(self) -> bool:
        """True where a look would wake a sleeping app. False where no platform can be asked."""
        return self._machines is not None and await self._machines.asleep()
