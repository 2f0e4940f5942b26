"""The parts of a deploy that wait and judge: a machine's health, blue-green, canary."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass

from rollbackd.sandbox.definitions import config_for_update
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import Config, FlyApp, Machine, Release
from rollbackd.sandbox.orders import Order
from rollbackd.sandbox.world import World

TAG = "fly_bluegreen_deployment_tag"
PAUSE_SECONDS = 0.1
CRASH_LOOP_RESTARTS = 1


class Failed(Exception):
    """flyctl would give up here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One deploy's dealings with machines that must get well before it goes on."""

    world: World
    machines: Machines
    app: FlyApp
    release: Release
    order: Order

    async def healthy(self, wave: list[Machine]) -> None:
        """Every one started, out of crash loops for the smoke time, checks passing; or Failed."""
        await asyncio.gather(*(self._healthy(machine) for machine in wave))

    async def _healthy(self, machine: Machine) -> None:
        version = machine.version
        try:
            async with asyncio.timeout(self.order.wait_seconds):
                await _until(machine, lambda: machine.state == "started")
                await asyncio.sleep(self.world.settings.smoke_seconds)
                await _until(machine, lambda: _serving(machine))
        except TimeoutError as error:
            text = f"timeout reached waiting for health checks to pass for machine {machine.id}"
            raise Failed(text) from error
        if machine.version != version:
            raise Failed(f"machine {machine.id} was changed by somebody else")

    def _config(self, machine: Machine) -> Config:
        base = copy.deepcopy(machine.config)
        return config_for_update(self.app, base, self.release, self.order.guest)

    async def bluegreen(self, blues: list[Machine], held: dict[str, str]) -> None:
        """New machines beside the old ones, then the switch, then the old ones are gone."""
        if len({blue.config["image"] for blue in blues}) > 1:
            raise Failed("found different images on the machines of the app")
        tag = str(int(self.world.now()))
        greens = [self._green(blue, tag) for blue in blues]
        try:
            await self.healthy(greens)
        except Failed:
            for green in greens:
                await self.machines.destroy(green, force=True)
            raise
        for green in greens:
            self.machines.cordon(green, cordoned=False)
        for blue in blues:
            self.machines.set_metadata(blue, {TAG: "safe_to_destroy"}, action="metadata.set")
        await asyncio.sleep(PAUSE_SECONDS)
        for blue in blues:
            self.machines.cordon(blue, cordoned=True, nonce=held[blue.id])
        await asyncio.sleep(PAUSE_SECONDS)
        for blue in blues:
            await self.machines.destroy(blue, force=True, nonce=held.pop(blue.id))

    def _green(self, blue: Machine, tag: str) -> Machine:
        config = self._config(blue)
        config["metadata"][TAG] = tag
        body = {"config": config, "region": blue.region, "skip_service_registration": True}
        green, _ = self.machines.create(self.app, body, owner="flyctl")
        green.boot_seconds = self.order.boot_seconds
        return green

    async def canary(self, sibling: Machine) -> None:
        """One extra machine first; a failed canary stays behind, as flyctl leaves it."""
        config = self._config(sibling)
        config["metadata"]["fly_canary"] = "true"
        config["dns"] = {"skip_registration": True}
        body = {"config": config, "region": sibling.region}
        one, _ = self.machines.create(self.app, body, owner="flyctl")
        await self.healthy([one])
        if self.order.strategy == "canary-leftover":
            raise Failed("the canary was told to fail")
        await self.machines.destroy(one, force=True)


async def _until(machine: Machine, condition: Callable[[], bool]) -> None:
    while not condition():
        if _crash_looping(machine):
            raise Failed(f"smoke checks for {machine.id} failed: the app appears to be crashing")
        await machine.changed.wait()


def _serving(machine: Machine) -> bool:
    return machine.state == "started" and all(
        check.status == "passing" for check in machine.checks.values()
    )


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
