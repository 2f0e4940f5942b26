"""Whether an autostopping app is asleep, so that no probe wakes it. It never wakes it itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary, ref

from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Machine
from rollbackd.core.ports import Clock, Platform, RemembersMachines

FRESH_SECONDS = 5.0
FRESH_AWAKE_SECONDS = 60.0  # an app that never stops is asked for seldom: it is a configuration
WAITED_AT_MOST_SECONDS = 0.8  # before the look's own deadline begins

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
    """The platform's machines as of a few seconds ago; concurrent callers share one call.

    A call goes on when its callers stop waiting: a platform that needs two seconds is slow,
    not silent, and its answer serves the next look.
    """

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = ref(platform)  # weak: the cache below must not keep it alive
        self._clock = clock
        self._asking: asyncio.Task[tuple[Machine, ...]] | None = None
        self._machines: tuple[Machine, ...] | None = None
        self._seen_at = 0.0

    async def machines(self, *, max_age_seconds: float = FRESH_SECONDS) -> tuple[Machine, ...]:
        """Raises what the platform raises."""
        age = self._clock.monotonic() - self._seen_at
        if self._machines is not None and age <= max_age_seconds:
            return self._machines
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(max_age_seconds))
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    async def asleep(self) -> bool:
        """As far as is known: a platform that does not answer leaves the last known answer."""
        may_sleep = self._machines is None or any(each.autostop for each in self._machines)
        try:
            async with asyncio.timeout(WAITED_AT_MOST_SECONDS):
                max_age = FRESH_SECONDS if may_sleep else FRESH_AWAKE_SECONDS
                return asleep(await self.machines(max_age_seconds=max_age))
        except (RollbackdError, TimeoutError):
            return self._machines is not None and asleep(self._machines)

    async def _ask(self, max_age_seconds: float) -> tuple[Machine, ...]:
        platform = self._platform()
        assert platform is not None, "a probe outlived its platform"
        asked_at = self._clock.monotonic()
        if isinstance(platform, RemembersMachines):
            # Half of the age is spent there, the other half here.
            self._machines = await platform.recent_machines(max_age_seconds / 2)
            asked_at -= max_age_seconds / 2
        else:
            self._machines = await platform.machines()
        self._seen_at = asked_at
        return self._machines

    def _answered(self, asking: asyncio.Task[tuple[Machine, ...]]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # seen here too: those who waited may have given up


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
