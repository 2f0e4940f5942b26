"""Machine leases: one holder at a time, by nonce, until they expire. They protect machines only."""

from __future__ import annotations

from rollbackd.sandbox.errors import FlyError, lease_not_found
from rollbackd.sandbox.ids import rfc3339
from rollbackd.sandbox.objects import Lease, Machine
from rollbackd.sandbox.world import World

DEFAULT_TTL_SECONDS = 30.0


def current(world: World, machine: Machine) -> Lease | None:
    """The lease that holds now; an expired one is forgotten here."""
    if machine.lease is not None and machine.lease.expires_at <= world.now():
        machine.lease = None
    return machine.lease


def acquire(
    world: World,
    machine: Machine,
    *,
    owner: str,
    ttl: float = DEFAULT_TTL_SECONDS,
    description: str = "",
    nonce: str = "",
) -> Lease:
    """A new lease, or the same one longer when its nonce is shown."""
    held = current(world, machine)
    if held is not None and held.nonce != nonce:
        raise held_by_other(machine, held)
    action = "lease.acquire" if held is None else "lease.refresh"
    lease = held or Lease(nonce=world.ids.nonce(), owner=owner, expires_at=0)
    lease.expires_at = world.now() + ttl
    lease.description = description or lease.description
    machine.lease = lease
    op_id = lease.description or None
    world.record(action, app=machine.app, machine=machine.id, op_id=op_id, nonce=lease.nonce)
    return lease


def release(world: World, machine: Machine, *, nonce: str) -> None:
    held = current(world, machine)
    if held is None:
        raise lease_not_found()
    if held.nonce != nonce:
        raise held_by_other(machine, held)
    machine.lease = None
    op_id = held.description or None
    world.record("lease.release", app=machine.app, machine=machine.id, op_id=op_id, nonce=nonce)


def enforce(world: World, machine: Machine, nonce: str) -> None:
    """Refuse a mutation that does not show the nonce of the lease in force.

    A nonce whose lease has run out is refused too: its holder believes in a protection that is
    gone. What Fly answers there is not documented.
    """
    held = current(world, machine)
    if held is not None and held.nonce != nonce:
        raise held_by_other(machine, held)
    if held is None and nonce:
        raise FlyError(409, "failed_precondition: lease not found for the nonce given")


def held_by_other(machine: Machine, held: Lease) -> FlyError:
    expires = rfc3339(held.expires_at)
    text = f"machine ID {machine.id} lease currently held by {held.owner}, expires at {expires}"
    return FlyError(409, text)


def wire(lease: Lease, machine: Machine) -> dict[str, object]:
    data = {
        "nonce": lease.nonce,
        "expires_at": int(lease.expires_at),
        "owner": lease.owner,
        "description": lease.description,
        "version": machine.version,
    }
    return {"status": "success", "data": data}
