"""The Machines API over HTTP: what is asked, handed to the fleet, shown. No rule lives here."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from starlette.routing import BaseRoute

from rollbackd.sandbox import leases, views
from rollbackd.sandbox.calls import Answer, Call, route
from rollbackd.sandbox.contents import behaviour_of, internal_port
from rollbackd.sandbox.durations import seconds_of
from rollbackd.sandbox.errors import FlyError, lease_not_found, machine_not_found
from rollbackd.sandbox.limits import GET_MACHINE
from rollbackd.sandbox.objects import Machine
from rollbackd.sandbox.waits import parse_states, parse_timeout, wait

EVENTS_DEFAULT, EVENTS_MOST = 20, 50
PAGE_MOST = 1000


def _show(call: Call, machine: Machine, **options: Any) -> dict[str, Any]:
    return views.machine(call.world, machine, **options)


async def list_machines(call: Call) -> Answer:
    """Not those destroyed, unless asked for; pages only where a limit is given."""
    found = [m for m in call.app.machines.values() if _wanted(call, m)]
    limit = call.number("limit", default=0, most=PAGE_MOST)
    if limit:
        found = _page(call, found, limit)
    summary, include = call.flag("summary"), call.flag("include_leases")
    return [_show(call, m, summary=summary, include_leases=include) for m in found]


def _wanted(call: Call, machine: Machine) -> bool:
    if machine.gone and not call.flag("include_deleted"):
        return False
    region, states = call.query("region"), call.query("state")
    if (region and machine.region != region) or (states and machine.state not in states.split(",")):
        return False
    return all(
        machine.metadata.get(key.removeprefix("metadata.")) == value
        for key, value in call.request.query_params.multi_items()
        if key.startswith("metadata.")
    )


def _page(call: Call, found: list[Machine], limit: int) -> list[Machine]:
    ordered = sorted(found, key=lambda machine: machine.id)
    after = call.query("cursor") or ""
    rest = [machine for machine in ordered if machine.id > after]
    if len(rest) > limit:
        call.headers["fly-next-cursor"] = rest[limit - 1].id
    return rest[:limit]


async def get_machine(call: Call) -> Answer:
    version = call.query("version")
    machine = call.machine
    if version and all(version != known.version for known in machine.versions):
        raise machine_not_found()
    return _show(call, machine, version=version, include_leases=call.flag("include_leases"))


async def create_machine(call: Call) -> Answer:
    machine, lease = call.platform.machines.create(call.app, call.body, owner=call.owner)
    return _show(call, machine) | ({"nonce": lease.nonce} if lease else {})


async def update_machine(call: Call) -> Answer:
    machine = call.platform.machines.update(call.machine, call.body, nonce=call.nonce)
    return _show(call, machine)


async def start_machine(call: Call) -> Answer:
    previous = call.platform.machines.start(call.machine, nonce=call.nonce)
    return {"previous_state": previous, "migrated": False, "new_host": ""}


async def stop_machine(call: Call) -> Answer:
    call.platform.machines.stop(call.machine, nonce=call.nonce)
    return {"ok": True}


async def suspend_machine(call: Call) -> Answer:
    call.platform.machines.stop(call.machine, nonce=call.nonce, to="suspended")
    return {"ok": True}


async def restart_machine(call: Call) -> Answer:
    call.platform.machines.restart(call.machine, nonce=call.nonce)
    return {"ok": True}


async def signal_machine(call: Call) -> Answer:
    name = str(call.body.get("signal") or "SIGTERM")
    if name not in signal.Signals.__members__:
        raise FlyError(400, f"invalid_argument: unknown signal {name!r}")
    pid = call.platform.machines.signal(call.machine, nonce=call.nonce)
    if pid is None:
        raise FlyError(412, "failed_precondition: machine is not running")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.Signals[name])
    return {"ok": True}


async def destroy_machine(call: Call) -> Answer:
    force = call.flag("force") or call.flag("kill")
    await call.platform.machines.destroy(call.machine, force=force, nonce=call.nonce)
    return {"ok": True}


async def cordon_machine(call: Call) -> Answer:
    call.platform.machines.cordon(call.machine, cordoned=True, nonce=call.nonce)
    return {"ok": True}


async def uncordon_machine(call: Call) -> Answer:
    call.platform.machines.cordon(call.machine, cordoned=False, nonce=call.nonce)
    return {"ok": True}


async def list_versions(call: Call) -> Answer:
    return [{"version": v.version, "user_config": v.config} for v in call.machine.versions]


async def list_events(call: Call) -> Answer:
    return call.machine.events[: call.number("limit", default=EVENTS_DEFAULT, most=EVENTS_MOST)]


async def wait_machine(call: Call) -> Answer:
    return await wait(
        call.world,
        call.machine,
        states=parse_states(call.request.query_params.getlist("state")),
        version=call.query("version") or call.query("instance_id"),
        from_event_id=call.query("from_event_id"),
        timeout_seconds=parse_timeout(call.query("timeout")),
    )


async def list_processes(call: Call) -> Answer:
    machine = call.machine
    if machine.pid is None:
        return []
    address = f"[::]:{internal_port(machine.config)}"
    command = f"app --behaviour {behaviour_of(machine)}"
    sockets = [{"proto": "tcp", "address": address}]
    return [{"command": command, "pid": machine.pid, "listen_sockets": sockets, "rss": 20_000_000}]


async def acquire_lease(call: Call) -> Answer:
    machine = call.machine
    if machine.gone:
        raise machine_not_found()
    asked = call.body.get("ttl") or call.query("ttl")
    try:
        ttl = float(asked) if asked else leases.DEFAULT_TTL_SECONDS
    except (TypeError, ValueError):
        ttl = seconds_of(asked, default=leases.DEFAULT_TTL_SECONDS)
    lease = leases.acquire(
        call.world,
        machine,
        owner=call.owner,
        ttl=ttl,
        description=str(call.body.get("description") or ""),
        nonce=call.nonce,
    )
    return leases.wire(lease, machine)


async def get_lease(call: Call) -> Answer:
    """Shows the nonce to anybody who may write: that is how a lease gets broken."""
    machine = call.machine
    lease = leases.current(call.world, machine)
    if lease is None:
        raise lease_not_found()
    return leases.wire(lease, machine)


async def release_lease(call: Call) -> Answer:
    leases.release(call.world, call.machine, nonce=call.nonce)
    return {"status": "success", "data": {"ok": True}}


MACHINES = "/v1/apps/{app}/machines"
MACHINE = MACHINES + "/{machine}"

ROUTES: list[BaseRoute] = [
    route("GET", MACHINES, list_machines),
    route("POST", MACHINES, create_machine, write=True),
    route("GET", MACHINE, get_machine, action=GET_MACHINE),
    route("POST", MACHINE, update_machine, write=True),
    route("DELETE", MACHINE, destroy_machine, write=True),
    route("POST", MACHINE + "/start", start_machine, write=True),
    route("POST", MACHINE + "/stop", stop_machine, write=True),
    route("POST", MACHINE + "/suspend", suspend_machine, write=True),
    route("POST", MACHINE + "/restart", restart_machine, write=True),
    route("POST", MACHINE + "/signal", signal_machine, write=True),
    route("POST", MACHINE + "/cordon", cordon_machine, write=True),
    route("POST", MACHINE + "/uncordon", uncordon_machine, write=True),
    route("GET", MACHINE + "/versions", list_versions),
    route("GET", MACHINE + "/events", list_events),
    route("GET", MACHINE + "/wait", wait_machine),
    route("GET", MACHINE + "/ps", list_processes),
    route("POST", MACHINE + "/lease", acquire_lease, write=True, status=201),
    route("GET", MACHINE + "/lease", get_lease, write=True),
    route("DELETE", MACHINE + "/lease", release_lease, write=True),
]
