"""The long poll for a machine's state; it changes nothing."""

from __future__ import annotations

import asyncio
import time

from rollbackd.sandbox.errors import FlyError, machine_not_found
from rollbackd.sandbox.objects import PERSISTENT, Machine
from rollbackd.sandbox.world import World

LONGEST_SECONDS = 60
STATES = frozenset({"started", "stopped", "suspended", "destroyed", "failed", "settled"})


def parse_states(values: list[str]) -> list[str]:
    """Repeated or separated by commas; `started` where none is asked for."""
    states = [state for value in values for state in value.split(",") if state] or ["started"]
    for state in states:
        if state not in STATES:
            raise FlyError(400, f"invalid_argument: unsupported state {state!r}")
    return states


def parse_timeout(value: str | None) -> int:
    if value is None:
        return LONGEST_SECONDS
    if not value.isdigit():
        raise FlyError(400, f"invalid_argument: timeout {value!r} is not a number of seconds")
    return max(1, min(int(value), LONGEST_SECONDS))


async def wait(
    world: World,
    machine: Machine,
    *,
    states: list[str],
    version: str | None,
    from_event_id: str | None,
    timeout_seconds: float,
) -> dict[str, object]:
    if world.now() - machine.created_at < world.settings.wait_blind_seconds:
        raise machine_not_found()
    deadline = time.monotonic() + timeout_seconds
    while not _reached(machine, states, version, from_event_id):
        if machine.state == "destroyed":
            raise machine_not_found()
        left = deadline - time.monotonic()
        changed = machine.changed
        try:
            async with asyncio.timeout(max(0, left)):
                await changed.wait()
        except TimeoutError as error:
            wanted = ", ".join(states)
            text = f"machine failed to reach desired state, {wanted}, currently {machine.state}"
            raise FlyError(408, f"deadline_exceeded: {text}") from error
    newest = machine.events[0]["id"] if machine.events else ""
    return {"ok": True, "state": machine.state, "version": machine.version, "event_id": newest}


def _reached(
    machine: Machine, states: list[str], version: str | None, from_event_id: str | None
) -> bool:
    if from_event_id and not any(event["id"] > from_event_id for event in machine.events):
        return False
    if version and version != machine.version:
        # An old version is over: it has stopped for good, and can never start again.
        known = any(version == old.version for old in machine.versions)
        return known and bool({"stopped", "settled", "destroyed"} & set(states))
    state = machine.state
    return state in states or ("settled" in states and state in PERSISTENT | {"destroyed"})
