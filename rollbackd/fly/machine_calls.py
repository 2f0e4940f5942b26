"""The calls on machines. One method a call; judges nothing, tries no mutation twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollbackd.core.errors import NotFound, TemporaryError
from rollbackd.core.model import Json, JsonObject
from rollbackd.fly.json_shape import object_at, objects_at, text_at, whole_at
from rollbackd.fly.ratelimit import ACTION, LOOK
from rollbackd.fly.wire import Api, Call, Wire

_APP = "/v1/apps/{app}"
_MACHINES = "/v1/apps/{app}/machines"
_MACHINE = "/v1/apps/{app}/machines/{machine}"
_MUTATION_SECONDS = 30.0
_UPDATE_SECONDS = 60.0  # flyd may take a while to swap a machine before it answers
_WAIT_MOST_SECONDS = 60  # Fly's own cap; the HTTP client must outlive it
_WAIT_ANSWER_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Our lease on a machine. `version` is the machine's when it was taken."""

    nonce: str
    owner: str
    expires_at: float | None
    version: str

    def __repr__(self) -> str:
        return f"Lease(owner={self.owner!r}, expires_at={self.expires_at!r})"


class MachineCalls:
    """What can be asked of `/v1/apps/{app}/machines`."""

    wire: Wire

    async def app(self, app: str) -> JsonObject:
        """The app, asked for with the acting token: NotFound or Unauthorized when it may not."""
        call = Call(
            api=Api.MACHINES,
            method="GET",
            endpoint=_APP,
            fills={"app": app},
            turn=("get_app", app),
            with_write_token=True,
        )
        return object_at(await self.wire.send(call))

    async def list_machines(self, app: str) -> list[JsonObject]:
        """Every machine with its lease. Raises TemporaryError when the answer is not a list."""
        found = await self._look("list", _MACHINES, app, query={"include_leases": "true"})
        if not isinstance(found, list):
            raise TemporaryError(f"the machines of {app} did not come as a list")
        return objects_at({"machines": found}, "machines")

    async def get_machine(self, app: str, machine: str) -> JsonObject:
        query = {"include_leases": "true"}
        return object_at(await self._look("get", _MACHINE, app, machine=machine, query=query))

    async def machine_versions(self, app: str, machine: str) -> list[JsonObject]:
        """Former configs, newest first (ULIDs sort by time; Fly promises no order)."""
        endpoint = _MACHINE + "/versions"
        found = await self._look("versions", endpoint, app, machine=machine)
        versions = objects_at({"versions": found}, "versions")
        return sorted(versions, key=lambda one: text_at(one, "version"), reverse=True)

    async def wait(
        self, app: str, machine: str, *, state: str, version: str, timeout_seconds: float
    ) -> JsonObject:
        """Block until the machine's `version` is in `state`. TemporaryError when time is up."""
        seconds = int(min(max(timeout_seconds, 1), _WAIT_MOST_SECONDS))
        call = Call(
            api=Api.MACHINES,
            method="GET",
            endpoint=_MACHINE + "/wait",
            fills={"app": app, "machine": machine},
            turn=("wait", machine),
            query={"state": state, "version": version, "timeout": seconds},
            timeout_seconds=seconds + _WAIT_ANSWER_SECONDS,
        )
        return object_at(await self.wire.send_once(call))

    async def update_machine(
        self, app: str, machine: str, body: JsonObject, nonce: str
    ) -> JsonObject:
        """Replace the machine's whole config. Sending it twice restarts it twice."""
        return object_at(
            await self._change(
                "update", "", app, machine, body=body, nonce=nonce, seconds=_UPDATE_SECONDS
            )
        )

    async def acquire_lease(
        self, app: str, machine: str, *, ttl_seconds: int, description: str, nonce: str = ""
    ) -> Lease:
        """Take the lease, or with `nonce` make ours last longer. LeaseHeld when it is not ours."""
        body: JsonObject = {"ttl": ttl_seconds, "description": description}
        found = await self._change("lease", "/lease", app, machine, body=body, nonce=nonce)
        inner = object_at(found, "data") or object_at(found)
        taken = text_at(inner, "nonce")
        if not taken:
            raise TemporaryError(f"the lease on machine {machine} came without a nonce")
        expires_at = whole_at(inner, "expires_at")
        return Lease(
            nonce=taken,
            owner=text_at(inner, "owner"),
            expires_at=None if expires_at is None else float(expires_at),
            version=text_at(inner, "version"),
        )

    async def release_lease(self, app: str, machine: str, nonce: str) -> None:
        """Give the lease back. One that ran out already is as good."""
        call = self._machine_call("unlease", "/lease", app, machine, nonce=nonce, method="DELETE")
        try:
            await self.wire.send(call)
        except NotFound:
            return

    async def lease_nonce(self, app: str, machine: str) -> str:
        """The nonce of the lease that is on the machine, "" when there is none."""
        try:
            found = await self._look("get_lease", _MACHINE + "/lease", app, machine=machine)
        except NotFound:
            return ""
        return text_at(object_at(found, "data") or object_at(found), "nonce")

    async def cordon(self, app: str, machine: str, nonce: str = "") -> None:
        """Take the machine out of traffic. Safe twice."""
        await self._change("cordon", "/cordon", app, machine, nonce=nonce)

    async def uncordon(self, app: str, machine: str, nonce: str = "") -> None:
        """Give the machine back to traffic. Safe twice."""
        await self._change("uncordon", "/uncordon", app, machine, nonce=nonce)

    async def start(self, app: str, machine: str, nonce: str = "") -> None:
        await self._change("start", "/start", app, machine, nonce=nonce)

    async def stop(self, app: str, machine: str, nonce: str = "") -> None:
        """Ask it to stop; it does so within its own kill_timeout. Safe twice."""
        await self._change("stop", "/stop", app, machine, body={}, nonce=nonce)

    async def set_metadata(self, app: str, machine: str, key: str, value: str) -> None:
        """Mark the machine. No new version, no restart, no lease needed."""
        await self.wire.send(self._metadata(app, machine, key, "POST", {"value": value}))

    async def drop_metadata(self, app: str, machine: str, key: str) -> None:
        """Take a mark off. One that is not there is as good."""
        try:
            await self.wire.send(self._metadata(app, machine, key, "DELETE", None))
        except NotFound:
            return

    async def _look(
        self,
        action: str,
        endpoint: str,
        app: str,
        *,
        machine: str = "",
        query: Mapping[str, str | int] | None = None,
    ) -> Json:
        call = Call(
            api=Api.MACHINES,
            method="GET",
            endpoint=endpoint,
            fills={"app": app, "machine": machine} if machine else {"app": app},
            turn=(action, machine or app),
            query=query or {},
            rate=LOOK if action == "get" else ACTION,
        )
        return await self.wire.send(call)

    async def _change(
        self,
        action: str,
        tail: str,
        app: str,
        machine: str,
        *,
        body: Json = None,
        nonce: str = "",
        seconds: float = _MUTATION_SECONDS,
    ) -> Json:
        call = self._machine_call(
            action, tail, app, machine, nonce=nonce, body=body, seconds=seconds
        )
        return await self.wire.send(call)

    def _machine_call(
        self,
        action: str,
        tail: str,
        app: str,
        machine: str,
        *,
        nonce: str,
        method: str = "POST",
        body: Json = None,
        seconds: float = _MUTATION_SECONDS,
    ) -> Call:
        return Call(
            api=Api.MACHINES,
            method=method,
            endpoint=_MACHINE + tail,
            fills={"app": app, "machine": machine},
            turn=(action, machine),
            body=body,
            nonce=nonce,
            mutates=True,
            timeout_seconds=seconds,
        )

    def _metadata(self, app: str, machine: str, key: str, method: str, body: Json) -> Call:
        return Call(
            api=Api.MACHINES,
            method=method,
            endpoint=_MACHINE + "/metadata/{key}",
            fills={"app": app, "machine": machine, "key": key},
            turn=("metadata", machine),
            body=body,
            mutates=True,
            timeout_seconds=_MUTATION_SECONDS,
        )
