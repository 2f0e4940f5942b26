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
from rollbackd.telemetry import events

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
        try:
            while True:
                for target in self.platforms:
                    if target not in under_way or under_way[target].done():
                        under_way[target] = asyncio.create_task(self.look(target))
                await self._clock.sleep(self._every_seconds)
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)

    async def look(self, target: TargetName) -> None:
        """One round. What cannot be read is not published: without releases it becomes `blind`."""
        round_ = self._rounds.setdefault(target, _Round())
        platform = self.platforms.get(target)
        if platform is None:
            return  # a reload took it away a moment ago
        try:
            await self._look(target, platform)
        except RollbackdError as error:
            if round_.failing != error.message:
                log.warning(
                    events.WATCH_FAILED, target=target, error=error.message, hint=error.hint
                )
            round_.failing = error.message
            return
        except Exception as error:  # an answer nobody foresaw must not end the watch in silence
            if round_.failing != repr(error):
                log.exception(events.WATCH_FAILED, target=target, error=type(error).__name__)
            round_.failing = repr(error)
            return
        if round_.failing:
            log.info(events.WATCH_REGAINED, target=target)
        round_.failing = ""

    async def _look(self, target: TargetName, platform: Platform) -> None:
        # Machines first: contents of the releases are read off the machines that carry them.
        at = self._clock.now()
        machines = await platform.machines()
        foreign = sum(1 for m in machines if _foreign_lease(m))
        self._publish(MachinesSeen(target=target, at=at, machines=machines, foreign_leases=foreign))
        releases = await platform.releases()
        self._publish(ReleasesSeen(target=target, at=at, releases=releases))


def _foreign_lease(machine: Machine) -> bool:
    return machine.lease_owner is not None and not machine.lease_ours
