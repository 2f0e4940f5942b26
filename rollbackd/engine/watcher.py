"""Watches the releases and machines of every target and tells the engine. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from rollbackd.core.errors import RollbackdError
from rollbackd.core.facts import MachinesSeen, ReleasesSeen, TargetFact
from rollbackd.core.model import Machine, TargetName
from rollbackd.core.ports import Clock, Platform

log = structlog.get_logger()


@dataclass(slots=True)
class _Round:
    """What the last round of one target ended in, so that a failing platform logs once."""

    failing: str = ""


class Watcher:
    """Asks each target's platform what is deployed and what runs."""

    def __init__(
        self,
        *,
        clock: Clock,
        platforms: Mapping[TargetName, Platform],
        publish: Callable[[TargetFact], None],
        every_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self.platforms = platforms
        self._publish = publish
        self._every_seconds = every_seconds
        self._rounds: dict[TargetName, _Round] = {}

    async def run(self) -> None:
        """Look at every target again and again until cancelled; a slow one delays no other."""
        under_way: dict[TargetName, asyncio.Task[None]] = {}
        while True:
            for target in self.platforms:
                if target not in under_way or under_way[target].done():
                    under_way[target] = asyncio.create_task(self.look(target))
            await self._clock.sleep(self._every_seconds)

    async def look(self, target: TargetName) -> None:
        """One round. A platform that cannot be read publishes nothing: `blind` comes of that."""
        round_ = self._rounds.setdefault(target, _Round())
        try:
            await self._look(target, self.platforms[target])
        except RollbackdError as error:
            if round_.failing != error.message:
                log.warning(
                    "platform.unreadable", target=target, error=error.message, hint=error.hint
                )
            round_.failing = error.message
            return
        if round_.failing:
            log.info("platform.readable_again", target=target)
        round_.failing = ""

    async def _look(self, target: TargetName, platform: Platform) -> None:
        # Machines first: contents of the releases are read off the machines that carry them.
        at = self._clock.now()
        machines = await platform.machines()
        releases = await platform.releases()
        foreign = sum(1 for m in machines if _foreign_lease(m))
        self._publish(MachinesSeen(target=target, at=at, machines=machines, foreign_leases=foreign))
        self._publish(ReleasesSeen(target=target, at=at, releases=releases))


def _foreign_lease(machine: Machine) -> bool:
    return machine.lease_owner is not None and not machine.lease_ours
