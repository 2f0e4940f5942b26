"""Keeps a release from running at all while its database changes: each machine cordoned, stopped.

Stopping alone is no fence: Fly's proxy starts a stopped machine for the next request. So it is
cordoned first. Whoever lets go starts what carries our mark, and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from rollbackd.core.errors import NotFound, Rejected, RollbackdError, TemporaryError
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.runbook import Plan
from rollbackd.executors.app_lease import PATIENCE_SECONDS, leased
from rollbackd.executors.app_words import GONE_BACK, lease_words, op_of
from rollbackd.fly.client import FlyClient
from rollbackd.fly.config_restore import OP, STOPPED
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.machine_view import config_of, reachable, version_of
from rollbackd.fly.platform import FlyPlatform

_DOWN: Final = frozenset({"stopped", "suspended", "failed"})
_WAIT_SECONDS: Final = 60.0  # a machine may take as long as its kill_timeout


class Fence:
    """Stops of one app's machines."""

    def __init__(self, platform: FlyPlatform) -> None:
        self._platform = platform

    async def observe(self, machine: str, plan: Plan) -> Observation:
        try:
            found = await self._platform.client.get_machine(self._platform.app, machine)
        except NotFound:
            return Observation(seen=Seen.GONE, detail=f"machine {machine} is not there")
        if not reachable(found):
            return Observation(seen=Seen.GONE, detail=f"the host of {machine} is unreachable")
        down = stopped_by(found, plan) and text_at(found, "state") in _DOWN
        return Observation(seen=Seen.DONE if down else Seen.NOT_DONE)

    async def stop(self, plan: Plan, machine: str) -> JsonObject:
        """It does not run any more when this returns. Safe twice."""
        client, app, words = self._platform.client, self._platform.app, lease_words(plan)
        patience = PATIENCE_SECONDS
        async with leased(client, app, machine, words=words, patience_seconds=patience) as lease:
            # Mark, then stop: a mark without a stop is harmless, the other way round is not.
            await client.set_metadata(app, machine, STOPPED, str(plan.rollback))
            refused = ""
            try:
                await client.stop(app, machine, lease.nonce)  # also ends a crash loop's waiting
            except Rejected as error:
                refused = error.message  # one that is down already may say so
        found = await client.get_machine(app, machine)
        if text_at(found, "state") not in _DOWN:
            if refused:
                raise TemporaryError(f"machine {machine} was not stopped: {refused}")
            await client.wait(
                app,
                machine,
                state="stopped",
                version=version_of(found),
                timeout_seconds=_WAIT_SECONDS,
            )
            found = await client.get_machine(app, machine)
        if text_at(found, "state") not in _DOWN:
            raise TemporaryError(f"machine {machine} is {text_at(found, 'state')}, not stopped")
        return {"machine": machine, "state": text_at(found, "state")}


class Stays(enum.StrEnum):
    """What becomes of a machine with the bad release once the schema is the good one's."""

    DOWN = "has the bad release, and the schema is the good one's: it stays stopped"
    UP = "was started with the bad release on the good one's schema: nothing else was there to run"


def left_behind(
    machine: JsonObject, plan: Plan, fleet: Iterable[JsonObject | None]
) -> Stays | None:
    """None for every machine that may just start. The bad release writes what the old schema does
    not know, or migrates anew: it runs only where else nothing would, and never unseen.
    """
    if plan.settings.get(GONE_BACK) is not True or not stopped_by(machine, plan):
        return None
    if not _left_out(machine, plan):
        return None
    others = (one for one in fleet if one is not None and one is not machine)
    return Stays.DOWN if any(not _left_out(one, plan) for one in others) else Stays.UP


def _left_out(machine: JsonObject, plan: Plan) -> bool:
    """Whether it was to be brought back, and was not."""
    wanted = op_of(plan, text_at(machine, "id"))
    return bool(wanted) and text_at(config_of(machine), "metadata", OP) != wanted


def stopped_by(machine: JsonObject, plan: Plan) -> bool:
    return text_at(config_of(machine), "metadata", STOPPED) == plan.rollback


async def started_again(
    client: FlyClient, app: str, machine: JsonObject, plan: Plan, nonce: str = ""
) -> list[str]:
    """Start it if this rollback stopped it, and take the mark off. Lines for people. A refusal is
    told and not raised: a cordon must come off whatever becomes of this.
    """
    if not stopped_by(machine, plan):
        return []
    name = text_at(machine, "id")
    try:
        if text_at(machine, "state") in _DOWN:
            await client.start(app, name, nonce)
        await client.drop_metadata(app, name, STOPPED)
    except RollbackdError as error:
        return [f"machine {name} could not be started: {error.message}"]
    return [f"machine {name} is started"]
