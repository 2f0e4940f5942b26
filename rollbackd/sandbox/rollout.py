"""The parts of a deploy that wait and judge: a machine's health, blue-green, canary."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from rollbackd.sandbox.definitions import config_for_update
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import FlyApp, Machine, Release
from rollbackd.sandbox.world import World

if TYPE_CHECKING:
    from rollbackd.sandbox.deploys import Order

TAG = "fly_bluegreen_deployment_tag"
PAUSE_SECONDS = 0.1
CRASH_LOOP_RESTARTS = 1


class Failed(Exception):
    """flyctl would give up here."""


async def healthy(world: World, machine: Machine, wait_seconds: float) -> None:
    """Started, not in a crash loop for the smoke time, all checks passing; or Failed."""
    version = machine.version
    try:
        async with asyncio.timeout(wait_seconds):
            await _until(machine, lambda: machine.state == "started")
            await asyncio.sleep(world.settings.smoke_seconds)
            await _until(machine, lambda: machine.state == "started" and _all_passing(machine))
    except TimeoutError as error:
        text = f"timeout reached waiting for health checks to pass for machine {machine.id}"
        raise Failed(text) from error
    if machine.version != version:
        raise Failed(f"machine {machine.id} was changed by somebody else")


async def _until(machine: Machine, condition: Any) -> None:
    while not condition():
        if _crash_looping(machine):
            raise Failed(f"smoke checks for {machine.id} failed: the app appears to be crashing")
        await machine.changed.wait()


def _all_passing(machine: Machine) -> bool:
    return all(check.status == "passing" for check in machine.checks.values())


def _crash_looping(machine: Machine) -> bool:
    for event in machine.events:
        if event["type"] in {"launch", "update"}:
            return machine.state == "failed"
        if event["type"] == "exit":
            request = event["request"]
            again = request["exit_event"]["restarting"]
            return machine.state == "failed" or (
                again and request["restart_count"] > CRASH_LOOP_RESTARTS
            )
    return machine.state == "failed"


async def bluegreen(
    world: World,
    machines: Machines,
    app: FlyApp,
    release: Release,
    blues: list[Machine],
    held: dict[str, str],
    order: Order,
) -> None:
    """New machines beside the old ones, then the switch, then the old ones are gone."""
    if len({blue.config["image"] for blue in blues}) > 1:
        raise Failed("found different images on the machines of the app")
    tag = str(int(world.now()))
    greens: list[Machine] = []
    for blue in blues:
        config = config_for_update(app, copy.deepcopy(blue.config), release, order.guest)
        config["metadata"][TAG] = tag
        body = {"config": config, "region": blue.region, "skip_service_registration": True}
        green, _ = machines.create(app, body, owner="flyctl")
        green.boot_seconds = order.boot_seconds
        greens.append(green)
    try:
        await asyncio.gather(*(healthy(world, green, order.wait_seconds) for green in greens))
    except Failed:
        for green in greens:
            await machines.destroy(green, force=True)
        raise
    for green in greens:
        machines.cordon(green, cordoned=False)
    for blue in blues:
        machines.set_metadata(blue, {TAG: "safe_to_destroy"}, action="metadata.set")
    await asyncio.sleep(PAUSE_SECONDS)
    for blue in blues:
        machines.cordon(blue, cordoned=True, nonce=held[blue.id])
    await asyncio.sleep(PAUSE_SECONDS)
    for blue in blues:
        await machines.destroy(blue, force=True, nonce=held.pop(blue.id))


async def canary(
    world: World,
    machines: Machines,
    app: FlyApp,
    release: Release,
    sibling: Machine,
    order: Order,
    leave: bool,
) -> None:
    """One extra machine first; a failed canary stays behind, as flyctl leaves it."""
    config = config_for_update(app, copy.deepcopy(sibling.config), release, order.guest)
    config["metadata"]["fly_canary"] = "true"
    config["dns"] = {"skip_registration": True}
    one, _ = machines.create(app, {"config": config, "region": sibling.region}, owner="flyctl")
    await healthy(world, one, order.wait_seconds)
    if leave:
        raise Failed("the canary was told to fail")
    await machines.destroy(one, force=True)
