"""Every mutation of a machine, with Fly's rules and an entry in the effects log. No HTTP here."""

from __future__ import annotations

import asyncio
from typing import Any

from rollbackd.sandbox import leases
from rollbackd.sandbox.contents import accept, refuse_moved_volumes
from rollbackd.sandbox.errors import FlyError, machine_not_found
from rollbackd.sandbox.images import parse_image
from rollbackd.sandbox.life import Life
from rollbackd.sandbox.objects import Config, FlyApp, Lease, Machine, Version
from rollbackd.sandbox.ports import Ports
from rollbackd.sandbox.world import World

SETTLE_SECONDS = 0.05
CAPACITY = "could not reserve resource for machine: insufficient memory available"


class Machines:
    """The fleet of all apps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.life = Life(world)
        self.ports = Ports()

    def create(
        self, app: FlyApp, body: dict[str, Any], *, owner: str
    ) -> tuple[Machine, Lease | None]:
        """A new machine, and the lease taken with it where `lease_ttl` asked for one."""
        config = self._accept(app, body)
        name = str(body.get("name") or self.world.ids.machine_name())
        taken = next((m for m in app.alive() if m.name == name), None)
        if taken is not None:
            text = f"already_exists: unique machine name violation, machine ID {taken.id} already"
            raise FlyError(409, f"{text} exists with name {name!r}")
        machine = self._new(app, config, name=name, region=str(body.get("region") or app.region))
        machine.registered = not body.get("skip_service_registration", False)
        self._attach_volumes(app, machine)
        self.world.event(machine, "launch", "created", source="user")
        self.world.record("machine.create", app=app.name, machine=machine.id, config=config)
        lease = None
        if body.get("lease_ttl"):
            ttl = float(body["lease_ttl"])
            lease = leases.acquire(self.world, machine, owner=owner, ttl=ttl)
        if body.get("skip_launch"):
            machine.life = self.world.begin(self._settle_stopped(machine))
        else:
            self.life.begin(machine)
        return machine, lease

    def _new(self, app: FlyApp, config: Config, *, name: str, region: str) -> Machine:
        now = self.world.now()
        machine_id = self.world.ids.machine()
        version = self.world.ids.ulid(now)
        machine = Machine(
            id=machine_id,
            name=name,
            app=app.name,
            region=region,
            private_ip=self.world.ids.private_ip(),
            port=self.ports.reserve(machine_id),
            config=config,
            version=version,
            state="created",
            created_at=now,
            updated_at=now,
            versions=[Version(version=version, config=config, created_at=now)],
        )
        app.machines[machine_id] = machine
        return machine

    def _attach_volumes(self, app: FlyApp, machine: Machine) -> None:
        for mount in machine.config.get("mounts") or []:
            volume = app.volumes.get(mount.get("volume", ""))
            if volume is not None:
                volume.attached_machine_id = machine.id

    def update(self, machine: Machine, body: dict[str, Any], *, nonce: str = "") -> Machine:
        """Replace the whole config; nothing changes when any rule says no."""
        app = self.world.app(machine.app)
        self._may_change(machine, nonce)
        wanted = body.get("current_version")
        if wanted and wanted != machine.version:
            text = f"machine version mismatch: current version is {machine.version}, got {wanted}"
            raise FlyError(409, f"aborted: {text}")
        config = self._accept(app, body)
        refuse_moved_volumes(machine.config, config)
        now = self.world.now()
        machine.config = config
        machine.version = self.world.ids.ulid(now)
        machine.versions.append(Version(version=machine.version, config=config, created_at=now))
        machine.boot_seconds = None  # a slow boot belongs to the deploy that ordered it
        machine.become("replacing")
        self.world.event(machine, "update", "replacing", source="user")
        self.world.record(
            "machine.update", app=app.name, machine=machine.id, config=config, nonce=nonce
        )
        skip = bool(body.get("skip_launch"))
        machine.life = self.world.begin(self._replace(machine, machine.life, skip))
        return machine

    async def _replace(
        self, machine: Machine, before: asyncio.Task[None] | None, skip_launch: bool
    ) -> None:
        """End the old version, then begin the new one; the caller's task becomes its life."""
        was_up = machine.pid is not None
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        if was_up:
            self.life.note_requested_exit(machine)
            await asyncio.sleep(self.world.settings.stop_seconds)
        if skip_launch:
            await self._settle_stopped(machine)
            return
        self.world.event(machine, "launch", "created", source="flyd")
        await self.life.live(machine)

    async def _settle_stopped(self, machine: Machine) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        machine.become("stopped")

    def start(self, machine: Machine, *, nonce: str = "") -> str:
        """Returns the previous state."""
        self._may_change(machine, nonce)
        previous = machine.state
        if previous in {"started", "starting"}:
            return previous
        if previous in {"replacing", "updating"}:
            text = "failed_precondition: machine getting replaced, refusing to start"
            raise FlyError(412, text)
        if previous not in {"stopped", "suspended", "failed"}:
            text = "failed_precondition: unable to start machine from current state"
            raise FlyError(412, f"{text}: '{previous}'")
        self._note("machine.start", machine, nonce)
        machine.become("starting")
        self.life.begin(machine)
        return previous

    def stop(self, machine: Machine, *, nonce: str = "", to: str = "stopped") -> None:
        """Ask it to stop; it is `stopping` (or `suspending`) until its process is gone."""
        self._may_change(machine, nonce)
        if machine.state == to:
            return
        action = "machine.stop" if to == "stopped" else "machine.suspend"
        self._note(action, machine, nonce)
        machine.become("stopping" if to == "stopped" else "suspending")
        self.world.begin(self._stop(machine, to))

    async def _stop(self, machine: Machine, to: str) -> None:
        was_up = machine.pid is not None
        await self.life.end(machine)
        await asyncio.sleep(self.world.settings.stop_seconds)
        if machine.state not in {"stopping", "suspending"}:
            return
        machine.become(to)
        if was_up:
            self.life.note_requested_exit(machine)

    def restart(self, machine: Machine, *, nonce: str = "") -> None:
        self._may_change(machine, nonce)
        self._note("machine.restart", machine, nonce)
        machine.become("restarting")
        machine.life = self.world.begin(self._replace(machine, machine.life, skip_launch=False))

    def signal(self, machine: Machine, *, nonce: str = "") -> int | None:
        """The process to signal, or None when it is not running."""
        self._may_change(machine, nonce)
        self._note("machine.signal", machine, nonce)
        return machine.pid

    def cordon(self, machine: Machine, *, cordoned: bool, nonce: str = "") -> None:
        self._may_change(machine, nonce)
        machine.cordoned = cordoned
        if not cordoned:
            machine.registered = True
        action = "machine.cordon" if cordoned else "machine.uncordon"
        self._note(action, machine, nonce)
        machine.wake()

    async def destroy(self, machine: Machine, *, force: bool, nonce: str = "") -> None:
        self._may_change(machine, nonce)
        if not force and machine.state not in {"stopped", "suspended", "created", "failed"}:
            text = "failed_precondition: unable to destroy machine, not currently stopped"
            raise FlyError(412, text)
        self._note("machine.destroy", machine, nonce)
        machine.become("destroying")
        await self.life.end(machine)
        machine.lease = None
        self.ports.release(machine.id)
        for volume in self.world.app(machine.app).volumes.values():
            if volume.attached_machine_id == machine.id:
                volume.attached_machine_id = None
        machine.become("destroyed")
        self.world.event(machine, "destroy", "destroyed", source="user")

    def set_metadata(
        self, machine: Machine, changes: dict[str, str | None], *, action: str
    ) -> None:
        """Merge; null or an empty text removes. No new version, no restart, no nonce needed."""
        if machine.gone:
            raise machine_not_found()
        for key, value in changes.items():
            if value in (None, ""):
                machine.metadata.pop(key, None)
            else:
                machine.metadata[key] = str(value)
        self._note(action, machine, "")
        machine.wake()

    def _note(self, action: str, machine: Machine, nonce: str) -> None:
        """An effect without a config: its operation is the one the lease was taken for."""
        lease = leases.current(self.world, machine)
        self.world.record(
            action,
            app=machine.app,
            machine=machine.id,
            image=machine.config["image"],
            release_id=machine.metadata.get("fly_release_id"),
            op_id=(lease.description or None) if lease and lease.nonce == nonce else None,
            nonce=nonce,
        )

    def _accept(self, app: FlyApp, body: dict[str, Any]) -> Config:
        config = accept(body.get("config"))
        image = parse_image(config["image"], app=app.name)
        if app.gone_images & {image.ref, image.tag, image.digest}:
            raise FlyError(400, f"failed to get manifest {image.ref}: MANIFEST_UNKNOWN")
        if int(body.get("min_secrets_version") or 0) > app.secrets_version:
            raise FlyError(
                422, "unprocessable: min_secrets_version is newer than the app's secrets"
            )
        if app.refuse_capacity > 0:
            app.refuse_capacity -= 1
            raise FlyError(422, CAPACITY, code="insufficient_capacity")
        return config

    def _may_change(self, machine: Machine, nonce: str) -> None:
        if machine.gone:
            raise machine_not_found()
        if machine.host_status != "ok":
            raise FlyError(408, "deadline_exceeded: the host of this machine is unreachable")
        leases.enforce(self.world, machine, nonce)

    async def close(self) -> None:
        lives = [m for app in self.world.apps.values() for m in app.machines.values()]
        await asyncio.gather(*(self.life.end(machine) for machine in lives))
        self.ports.close()
