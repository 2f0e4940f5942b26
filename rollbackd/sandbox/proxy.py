"""The edge: routes a request to a machine that should have it, and counts what users see."""

from __future__ import annotations

import asyncio
import dataclasses
import time

from rollbackd.sandbox import leases
from rollbackd.sandbox.contents import autostart_of, autostop_of, least_running
from rollbackd.sandbox.counters import Counters, labels_of
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.machines import Machines
from rollbackd.sandbox.objects import FlyApp, Machine
from rollbackd.sandbox.upstream import Broken, Message, Refused, ask
from rollbackd.sandbox.world import World

ATTEMPTS = 3
ANSWER_SECONDS = 60.0
AUTOSTART_SECONDS = 30.0
RETRY_SECONDS = 0.1
FORCE, PREFER = "fly-force-instance-id", "fly-prefer-instance-id"
UNAVAILABLE = "fly-preferred-instance-unavailable"


def routable(machine: Machine) -> bool:
    """Started, registered, not cordoned, and no service check says otherwise."""
    if machine.state != "started" or machine.cordoned or not machine.registered:
        return False
    if machine.host_status != "ok":
        return False
    return all(check.status == "passing" for check in machine.checks.values() if check.service)


class Proxy:
    def __init__(self, world: World, machines: Machines, counters: Counters) -> None:
        self.world = world
        self.machines = machines
        self.counters = counters

    async def handle(self, app: FlyApp, request: Message) -> Message:
        """Always an answer: what the app said, or 502 and 503 of the proxy's own."""
        started = time.monotonic()
        answer = await self._route(app, request)
        seconds = time.monotonic() - started
        labels = self._edge_labels(app, answer.status)
        self.counters.add("fly_edge_http_responses_count", labels)
        self.counters.observe("fly_edge_http_response_time_seconds", labels, seconds)
        return answer

    def _edge_labels(self, app: FlyApp, status: int) -> tuple[tuple[str, str], ...]:
        labels = {"app": app.name, "region": app.region, "host": "edge1", "status": str(status)}
        if self.world.settings.split_proxy:
            labels["proxy_id"] = self.world.chance.choice(("blue", "green"))
        return labels_of(**labels)

    async def _route(self, app: FlyApp, request: Message) -> Message:
        tried: set[str] = set()
        for _ in range(ATTEMPTS):
            machine = await self._choose(app, request, tried)
            if machine is None:
                break
            tried.add(machine.id)
            try:
                return await self._ask(app, machine, _told(request, machine))
            except Refused:
                self._log(app, machine, "[PC01] instance refused connection")
            except (Broken, TimeoutError):
                self._log(app, machine, "[PU02] could not complete HTTP request to instance")
                return _own_answer(502)
        return _own_answer(502 if tried else 503)

    def _log(self, app: FlyApp, machine: Machine, message: str) -> None:
        self.world.log(app, message, machine=machine.id, level="error")

    async def _choose(self, app: FlyApp, request: Message, tried: set[str]) -> Machine | None:
        forced = request.headers.get(FORCE)
        if forced:
            return await self._forced(app, forced, again=bool(tried))
        found = [m for m in app.alive() if routable(m) and m.id not in tried]
        preferred = request.headers.get(PREFER)
        for machine in found:
            if machine.id == preferred:
                return machine
        if not found and not tried:
            return await self._autostart(app)
        least = min((m.in_flight for m in found), default=0)
        idle = [m for m in found if m.in_flight == least]
        return self.world.chance.choice(idle) if idle else None

    async def _forced(self, app: FlyApp, wanted: str, *, again: bool) -> Machine | None:
        """That machine or none: asked again where it refused, woken where it sleeps."""
        machine = next((m for m in app.alive() if m.id == wanted), None)
        if machine is None:
            return None
        if again:
            await asyncio.sleep(RETRY_SECONDS)
        if self._may_wake(app, machine):
            self.machines.start(machine)
            return await self._until_routable(machine)
        return machine if routable(machine) else None

    async def _autostart(self, app: FlyApp) -> Machine | None:
        """A sleeping machine, woken by this request."""
        for machine in app.alive():
            if self._may_wake(app, machine):
                self.machines.start(machine)
                return await self._until_routable(machine)
        return await self._until_routable(_coming_up(app))

    def _may_wake(self, app: FlyApp, machine: Machine) -> bool:
        """Whether it sleeps and a request starts it; a lease keeps it asleep (PM01)."""
        asleep = machine.state in {"stopped", "suspended"} and autostart_of(machine.config)
        if not asleep or machine.cordoned or not machine.registered:
            return False
        held = leases.current(self.world, machine)
        if held is not None:
            text = leases.held_by_other(machine, held).text
            self._log(app, machine, f'[PM01] machines API returned an error: "{text}"')
        return held is None

    async def _until_routable(self, machine: Machine | None) -> Machine | None:
        if machine is None:
            return None
        try:
            async with asyncio.timeout(AUTOSTART_SECONDS):
                while not routable(machine):
                    if machine.gone or machine.state in {"stopped", "failed"}:
                        return None
                    await machine.changed.wait()
        except TimeoutError:
            return None
        return machine

    async def _ask(self, app: FlyApp, machine: Machine, request: Message) -> Message:
        machine.in_flight += 1
        machine.last_served_at = self.world.now()
        started = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await ask(machine.port, _from_edge(app, request))
        finally:
            machine.in_flight -= 1
        labels = labels_of(
            app=app.name,
            region=machine.region,
            host="worker1",
            instance=machine.id,
            status=str(answer.status),
        )
        self.counters.add("fly_app_http_responses_count", labels)
        seconds = time.monotonic() - started
        self.counters.observe("fly_app_http_response_time_seconds", labels, seconds)
        return answer

    async def put_idle_to_sleep(self) -> None:
        """Fly's autostop: forever, machine by machine, down to `min_machines_running`."""
        while True:
            await asyncio.sleep(0.5)
            for app in self.world.apps.values():
                self._stop_idle(app)

    def _stop_idle(self, app: FlyApp) -> None:
        up = [machine for machine in app.alive() if machine.state == "started"]
        for machine in list(up):
            wanted = autostop_of(machine.config)
            idle = self.world.now() - machine.last_served_at
            if wanted == "off" or machine.in_flight or idle < app.idle_seconds:
                continue
            if len(up) <= least_running(machine.config):
                return
            try:
                self.machines.stop(machine, to="suspended" if wanted == "suspend" else "stopped")
            except FlyError:
                continue  # leased: Fly leaves it running too
            up.remove(machine)


def _coming_up(app: FlyApp) -> Machine | None:
    """One that autostart already woke for an earlier request."""
    starting = (m for m in app.alive() if m.state == "starting" and autostart_of(m.config))
    return next((m for m in starting if not m.cordoned and m.registered), None)


def _told(request: Message, machine: Machine) -> Message:
    """A machine that was not the preferred one hears which could not be reached."""
    preferred = request.headers.get(PREFER)
    if not preferred or preferred == machine.id:
        return request
    return dataclasses.replace(request, headers=request.headers | {UNAVAILABLE: preferred})


def _own_answer(status: int) -> Message:
    headers = {"server": "Fly/sandbox", "content-type": "text/plain"}
    return Message(status=status, headers=headers, body=b"")


def _from_edge(app: FlyApp, request: Message) -> Message:
    """With the headers that Fly's proxy adds, by which an app knows who asks from outside."""
    added = {
        "fly-client-ip": "127.0.0.1",
        "fly-forwarded-port": "443",
        "fly-region": app.region,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "via": "1.1 fly.io",
    }
    return dataclasses.replace(request, headers=added | request.headers)
