"""`fly deploy` as flyctl does it: release, leases on the whole fleet, updates, final status."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rollbackd.sandbox import leases, releases
from rollbackd.sandbox.definitions import config_for_update, definition_of, merge_definition
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.ids import digest_of
from rollbackd.sandbox.images import parse_image
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import Config, FlyApp, Machine, Release, Secret
from rollbackd.sandbox.orders import STRATEGIES, Order
from rollbackd.sandbox.rollout import Failed, Rollout
from rollbackd.sandbox.world import INSIDE, World, request_id

LEASE_SECONDS, REFRESH_SECONDS = 13.0, 4.0
OWNER = "5d0c1a2b-flyctl@tokens.fly.io"
UPDATED_WHILE_UP = frozenset({"started", "starting", "failed", "replacing"})


class Ended(Exception):
    """The deploy was told to end here, with this outcome."""


@dataclass(slots=True, kw_only=True)
class Deploy:
    release: Release
    order: Order
    task: asyncio.Task[None] | None = None
    error: str = ""

    def wire(self) -> dict[str, Any]:
        return {
            "release_id": self.release.id,
            "version": self.release.version,
            "status": self.release.status,
            "image": self.release.image_ref,
            "error": self.error,
        }


class Deployer:
    def __init__(self, world: World, machines: Machines) -> None:
        self.world = world
        self.machines = machines

    def begin(self, app: FlyApp, order: Order) -> Deploy:
        """The release exists when this returns; the machines follow in the background."""
        if order.strategy not in STRATEGIES:
            raise FlyError(422, f"strategy is one of {', '.join(STRATEGIES)}")
        newest = app.newest_release()
        image = order.image or (newest.image_ref if newest else "good")
        kind = order.strategy.partition("-")[0].upper()
        release = releases.create(
            self.world,
            app,
            image=parse_image(image, app=app.name).ref,
            strategy=kind,
            definition=self._definition(app, order, newest),
            user=order.user,
            description="Secrets updated" if order.secrets else "Release",
        )
        self._set_secrets(app, order.secrets or {})
        deploy = Deploy(release=release, order=order)
        deploy.task = self.world.begin(self._run(app, deploy))
        return deploy

    def _definition(self, app: FlyApp, order: Order, newest: Release | None) -> Config:
        known = copy.deepcopy(newest.definition) if newest and newest.definition else None
        if known is None:
            first = next(iter(app.alive()), None)
            known = definition_of(app, first.config if first else {})
        return merge_definition(
            known, env=order.env, services=order.services, checks=order.checks, guest=order.guest
        )

    def _set_secrets(self, app: FlyApp, secrets: dict[str, str]) -> None:
        now = self.world.now()
        for name, value in secrets.items():
            created = app.secrets[name].created_at if name in app.secrets else now
            digest = digest_of("secret", value)[7:23]
            app.secrets[name] = Secret(name=name, digest=digest, created_at=created, updated_at=now)
            app.secrets_version += 1

    async def _run(self, app: FlyApp, deploy: Deploy) -> None:
        request_id.set(INSIDE)
        status, refreshing = "complete", None
        held: dict[str, str] = {}
        self._set_status(deploy, "running")
        try:
            fleet = self._fleet(app)
            held = {m.id: await self._lease(m) for m in fleet}
            refreshing = self.world.begin(self._refresh(app, held))
            await self._roll(app, deploy, fleet, held)
        except Ended:
            status = deploy.order.outcome
        except (Failed, FlyError, TimeoutError) as error:
            status, deploy.error = "failed", str(error)
        finally:
            if refreshing is not None:
                refreshing.cancel()
        if status == "killed":
            return  # nobody is left to release a lease or to write a status
        for machine_id, nonce in held.items():
            with suppress(FlyError):
                leases.release(self.world, app.machines[machine_id], nonce=nonce)
        self._set_status(deploy, status)

    def _set_status(self, deploy: Deploy, status: str) -> None:
        words: dict[str, Any] | None = None
        if status != "running":
            words = {"post_deployment_info": {"flyctl_version": "0.4.111", "error": deploy.error}}
        releases.update(self.world, deploy.release, status=status, metadata=words)

    def _fleet(self, app: FlyApp) -> list[Machine]:
        """What flyctl would touch: its own machines, not consoles and release commands."""
        return [
            machine
            for machine in app.alive()
            if machine.metadata.get("fly_platform_version") == "v2"
            and not machine.group.startswith("fly_app_")
        ]

    async def _lease(self, machine: Machine) -> str:
        """Retried on any error for up to 60 s, as flyctl does."""
        async with asyncio.timeout(60):
            while True:
                try:
                    lease = leases.acquire(self.world, machine, owner=OWNER, ttl=LEASE_SECONDS)
                except FlyError:
                    await asyncio.sleep(0.2)
                else:
                    return lease.nonce

    async def _refresh(self, app: FlyApp, held: dict[str, str]) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            for machine_id, nonce in held.items():
                machine = app.machines[machine_id]
                if machine.gone:
                    continue
                with suppress(FlyError):
                    leases.acquire(self.world, machine, owner=OWNER, ttl=LEASE_SECONDS, nonce=nonce)

    async def _roll(
        self, app: FlyApp, deploy: Deploy, fleet: list[Machine], held: dict[str, str]
    ) -> None:
        order, done = deploy.order, 0
        rollout = Rollout(
            world=self.world,
            machines=self.machines,
            app=app,
            release=deploy.release,
            order=order,
        )
        if order.strategy == "bluegreen":
            await rollout.bluegreen(fleet, held)
            return
        if order.strategy.startswith("canary") and fleet:
            await rollout.canary(fleet[0])
        # One first and then the rest, in waves of a third.
        waves = [fleet] if order.strategy == "immediate" else _waves(fleet)
        for wave in waves:
            up = [machine for machine in wave if machine.state in UPDATED_WHILE_UP]
            for machine in wave:
                if order.outcome and done >= order.after:
                    deploy.error = f"told to end as {order.outcome}"
                    raise Ended
                self._update(app, deploy, machine, held[machine.id], first=done == 0)
                done += 1
            if order.strategy != "immediate":
                await rollout.healthy(up)
        if order.outcome:
            raise Ended

    def _update(
        self, app: FlyApp, deploy: Deploy, machine: Machine, nonce: str, *, first: bool
    ) -> None:
        order = deploy.order
        config = config_for_update(app, machine.config, deploy.release, order.guest)
        config["metadata"] |= order.metadata
        slow = order.boot_seconds is not None and (order.boot_on == "all" or first)
        up = machine.state in UPDATED_WHILE_UP
        body = {"config": config, "skip_launch": not up}
        self.machines.update(machine, body, nonce=nonce)
        machine.boot_seconds = order.boot_seconds if slow else None


def _waves(fleet: list[Machine]) -> list[list[Machine]]:
    if not fleet:
        return []
    size = max(1, -(-len(fleet) // 3))
    rest = fleet[1:]
    return [fleet[:1], *(rest[at : at + size] for at in range(0, len(rest), size))]
