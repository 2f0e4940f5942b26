"""Which machines to tell apart: those that serve, while two releases do. It looks at none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import chain, zip_longest

from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import Machine
from rollbackd.core.ports import Clock, Platform, RemembersMachines
from rollbackd.probes.sleeping import WAITED_AT_MOST_SECONDS, recent_machines

MOST = 20  # more tell little more, and each costs the app a request
FRESH_SECONDS = 12.0  # the watch asks twice in that time, so nobody asks for this alone


class SideBySide:
    """The machines of one target, as far as a comparison of old with new wants them."""

    def __init__(self, platform: Platform | None, clock: Clock) -> None:
        self._platform = platform  # keeps it alive for as long as the probe
        # Only one that remembers: a comparison is not worth calls of its own.
        remembers = isinstance(platform, RemembersMachines)
        self._machines = recent_machines(platform, clock) if platform and remembers else None

    async def now(self, rng: random.Random | None = None) -> tuple[Machine, ...]:
        """At most MOST, old and new by turns; none while a single release serves.

        Which of more than MOST is drawn by `rng`; without one, the first by id.
        """
        return chosen(serving(await self._known()), rng)

    async def since(self, began_at: float) -> tuple[Machine, ...]:
        """As `now`, of the machines that have run since then: a look back must not mix releases."""
        known = serving(await self._known())
        return chosen([m for m in known if m.started_at is None or m.started_at <= began_at])

    async def _known(self) -> tuple[Machine, ...]:
        """What is known of them; nothing where a platform does not answer at once."""
        if self._machines is None:
            return ()
        try:
            async with asyncio.timeout(WAITED_AT_MOST_SECONDS):
                return await self._machines.machines(max_age_seconds=FRESH_SECONDS)
        except (RollbackdError, TimeoutError):
            return ()


def serving(machines: Sequence[Machine]) -> list[Machine]:
    """Those that users may meet, as far as the platform shows it."""
    return [
        machine
        for machine in machines
        if machine.state == "started"
        and machine.reachable
        and not machine.cordoned
        and not machine.standby
        and machine.release_version is not None
    ]


def chosen(machines: Sequence[Machine], rng: random.Random | None = None) -> tuple[Machine, ...]:
    """Of the newest release and of all before it, by turns; none where one side is empty."""
    newest = max((m.release_version or 0 for m in machines), default=0)
    new = sorted((m for m in machines if m.release_version == newest), key=_id)
    old = sorted((m for m in machines if m.release_version != newest), key=_id)
    if not old:
        return ()
    if rng is not None:
        rng.shuffle(new)
        rng.shuffle(old)
    by_turns = chain.from_iterable(zip_longest(new, old))
    return tuple([machine for machine in by_turns if machine is not None][:MOST])


def _id(machine: Machine) -> str:
    return machine.id
