"""Takes machines out of traffic and gives them back; only what carries our mark is given back.

The last machine that serves a group is never taken out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from rollbackd.core.errors import (
    Fenced,
    NotFound,
    PermanentError,
    RollbackdError,
    Stopped,
    TemporaryError,
)
from rollbackd.core.model import JsonObject
from rollbackd.core.runbook import Plan
from rollbackd.executors.app_fence import Stays, left_behind, started_again
from rollbackd.executors.app_lease import PATIENCE_SECONDS, leased, own_nonce
from rollbackd.executors.app_words import jobs_of, lease_words
from rollbackd.fly.config_restore import CORDON
from rollbackd.fly.json_shape import list_at, text_at
from rollbackd.fly.machine_view import (
    config_of,
    critical_checks,
    group_of,
    lease_on,
    reachable,
)
from rollbackd.fly.platform import FlyPlatform

_SIBLINGS_SECONDS = 60.0  # who the siblings are may be this old; how they are may not


class Traffic:
    """Cordons of one app. One cordon at a time, so that two cannot each count on the other."""

    def __init__(self, platform: FlyPlatform) -> None:
        self._platform = platform
        self._turn = asyncio.Lock()

    async def drain(self, plan: Plan, machine: str, nonce: str) -> str:
        """Cordon one machine for its update. Says what was done, or why not."""
        async with self._turn:
            mine = await self._look(machine)
            if mine is None or not serving(mine):
                return "not drained: it does not serve"
            if not await self._another_serves(mine):
                return "not drained: it is the last one that serves"
            await self.cordon(plan, machine, nonce)
            return "drained"

    async def _another_serves(self, mine: JsonObject) -> bool:
        """Each sibling is looked at now: a list may be asked for once a second only."""
        for one in await self._platform.recent_fleet(_SIBLINGS_SECONDS):
            name = text_at(one, "id")
            if name == text_at(mine, "id") or group_of(one) != group_of(mine):
                continue
            sibling = await self._look(name)
            if sibling is not None and serving(sibling):
                return True
        return False

    async def _look(self, machine: str) -> JsonObject | None:
        try:
            return await self._platform.client.get_machine(self._platform.app, machine)
        except NotFound:
            return None

    async def stop(self, plan: Plan, machine: str) -> None:
        """Cordon it until all are back. With its lease: one that was frozen right before it sent
        the cordon would else take the machine out of traffic after the end.
        """
        client, app, words = self._platform.client, self._platform.app, lease_words(plan)
        patience = PATIENCE_SECONDS
        async with leased(client, app, machine, words=words, patience_seconds=patience) as lease:
            await self.cordon(plan, machine, lease.nonce)

    async def cordon(self, plan: Plan, machine: str, nonce: str) -> None:
        """Mark, then cordon: a mark without a cordon is harmless, the other way round is not."""
        client, app = self._platform.client, self._platform.app
        await client.set_metadata(app, machine, CORDON, str(plan.rollback))
        await client.cordon(app, machine, nonce)

    async def uncordon(self, machine: str, nonce: str = "") -> None:
        client, app = self._platform.client, self._platform.app
        await client.uncordon(app, machine, nonce)
        await client.drop_metadata(app, machine, CORDON)

    async def let_go(self, plan: Plan) -> list[str]:
        """Undo every cordon and lease of this rollback. One that is missing in the list is looked
        for by its name. One that refuses does not stop the rest: it is raised in the end.
        """
        lines: list[str] = []
        failed: dict[str, RollbackdError] = {}
        fleet: dict[str, JsonObject | None] = {job.machine: None for job in jobs_of(plan)}
        fleet |= {text_at(one, "id"): one for one in await self._platform.fleet()}
        for name, listed in fleet.items():
            try:
                machine = listed or await self._look(name)
                if machine is None:
                    continue
                stays = left_behind(machine, plan, fleet.values())
                lines += await self._let_go_of(plan, machine, cordon=stays is not Stays.DOWN)
                if stays is not None:
                    failed[name] = PermanentError(stays.value)
            except (Stopped, Fenced):
                raise
            except RollbackdError as error:
                failed[name] = error
        if failed:
            raise _not_let_go(failed)
        return lines

    async def _let_go_of(
        self, plan: Plan, machine: JsonObject, *, cordon: bool = True
    ) -> list[str]:
        client, app, name = self._platform.client, self._platform.app, text_at(machine, "id")
        lines, nonce = [], ""
        if leased_by(machine, plan, client.clock.now()):
            nonce = await own_nonce(client, app, name, lease_words(plan))
        if cordon:
            lines += await started_again(client, app, machine, plan, nonce)
        if cordon and cordoned_by(machine, plan):
            await self.uncordon(name, nonce)
            lines.append(f"machine {name} is back in traffic")
        if nonce:
            await client.release_lease(app, name, nonce)
            lines.append(f"the lease on machine {name} is given back")
        return lines

    async def give_back(self, plan: Plan, machine: JsonObject) -> None:
        """End our cordon, and our lease that a process which died has left. With traffic stopped
        the cordon outlives the step: it ends when all machines are back.
        """
        drains = text_at(plan.settings, "traffic") != "stop"
        await self._let_go_of(plan, machine, cordon=drains)

    def holds(self, plan: Plan, machine: JsonObject) -> bool:
        """Whether `give_back` has something to do."""
        drains = text_at(plan.settings, "traffic") != "stop"
        held = leased_by(machine, plan, self._platform.client.clock.now())
        return held or (drains and cordoned_by(machine, plan))

    async def restore(self, plan: Plan, machines: Iterable[str]) -> list[str]:
        """Give back the machines this rollback cordoned or still leases; returns which."""
        given = []
        for name in machines:
            try:
                machine = await self._platform.client.get_machine(self._platform.app, name)
            except NotFound:
                continue
            if await self._let_go_of(plan, machine):
                given.append(name)
        return given


def _not_let_go(failed: Mapping[str, RollbackdError]) -> RollbackdError:
    words = [f"machine {name} {_how(e)}" for name, e in failed.items()]
    may_pass = any(isinstance(error, TemporaryError) for error in failed.values())
    return (TemporaryError if may_pass else PermanentError)("; ".join(words))


def _how(error: RollbackdError) -> str:
    told = error.message in set(Stays)
    return error.message if told else f"could not be let go: {error.message}"


def cordoned_by(machine: JsonObject, plan: Plan) -> bool:
    return text_at(config_of(machine), "metadata", CORDON) == plan.rollback


def leased_by(machine: JsonObject, plan: Plan, now: float) -> bool:
    described = text_at(machine, "lease", "description")
    return described == lease_words(plan) and lease_on(machine, now) is not None


def serving(machine: JsonObject) -> bool:
    """Whether users reach it: it runs, is in traffic, and its checks are not failing."""
    return (
        text_at(machine, "state") == "started"
        and reachable(machine)
        and machine.get("cordoned") is not True
        and bool(list_at(config_of(machine), "services"))
        and critical_checks(machine) == 0
    )
