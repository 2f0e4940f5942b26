"""Apps, machine metadata, secrets, volumes, addresses and the caller's own token, over HTTP."""

from __future__ import annotations

from typing import Any

from starlette.routing import BaseRoute

from rollbackd.sandbox import views
from rollbackd.sandbox.calls import Answer, Call, route
from rollbackd.sandbox.errors import FlyError, app_not_found
from rollbackd.sandbox.ids import digest_of, rfc3339
from rollbackd.sandbox.machine_routes import MACHINE
from rollbackd.sandbox.objects import FlyApp, Secret, Volume
from rollbackd.sandbox.tokens import introspect


async def list_apps(call: Call) -> Answer:
    if call.query("org_slug") not in {None, "", call.world.org}:
        raise FlyError(404, "organization not found")
    visible = [a for a in call.world.apps.values() if call.token.app in {None, a.name}]
    return {"total_apps": len(visible), "apps": [views.app(call.world, a) for a in visible]}


async def create_app(call: Call) -> Answer:
    name = str(call.body.get("app_name") or call.body.get("name") or "")
    if not name:
        raise FlyError(400, "app_name is required")
    if name in call.world.apps:
        raise FlyError(422, "Validation failed: Name has already been taken", code="name_taken")
    if call.token.app is not None:
        raise FlyError(403, "Authorize: token does not cover this organization")
    app = call.platform.new_app(name)
    return {"id": app.id, "created_at": rfc3339(call.world.now())}


async def get_app(call: Call) -> Answer:
    return views.app(call.world, call.app)


async def delete_app(call: Call) -> Answer:
    app = call.app
    for machine in app.alive():
        await call.platform.machines.destroy(machine, force=True, nonce=call.nonce)
    del call.world.apps[app.name]
    call.world.record("app.delete", app=app.name)
    return {}


async def get_metadata(call: Call) -> Answer:
    return call.machine.metadata


async def patch_metadata(call: Call) -> Answer:
    machine, wanted = call.machine, call.body.get("machine_version")
    if wanted and wanted != machine.version:
        raise FlyError(412, "failed_precondition: machine_version does not match")
    changes = call.body.get("metadata")
    if not isinstance(changes, dict):
        raise FlyError(400, "invalid_argument: metadata is required")
    call.platform.machines.set_metadata(machine, changes, action="metadata.set")


async def get_metadata_key(call: Call) -> Answer:
    value = call.machine.metadata.get(call.request.path_params["key"])
    if value is None:
        raise FlyError(404, "metadata key not found")
    return {"value": value}


async def set_metadata_key(call: Call) -> Answer:
    change: dict[str, str | None] = {
        call.request.path_params["key"]: str(call.body.get("value") or "")
    }
    call.platform.machines.set_metadata(call.machine, change, action="metadata.set")


async def delete_metadata_key(call: Call) -> Answer:
    change: dict[str, str | None] = {call.request.path_params["key"]: None}
    call.platform.machines.set_metadata(call.machine, change, action="metadata.delete")


def _secret(secret: Secret) -> dict[str, str]:
    return {
        "name": secret.name,
        "digest": secret.digest,
        "created_at": rfc3339(secret.created_at),
        "updated_at": rfc3339(secret.updated_at),
    }


async def list_secrets(call: Call) -> Answer:
    """Names and digests; a value never comes back."""
    return {"secrets": [_secret(secret) for secret in call.app.secrets.values()]}


async def set_secrets(call: Call) -> Answer:
    values = call.body.get("values")
    if not isinstance(values, dict):
        raise FlyError(400, "invalid_argument: values is required")
    for name, value in values.items():
        _set_secret(call, call.app, name, value)
    shown = await list_secrets(call)
    return shown | {"version": call.app.secrets_version}


async def set_secret(call: Call) -> Answer:
    name = call.request.path_params["name"]
    _set_secret(call, call.app, name, str(call.body.get("value") or ""))
    return _secret(call.app.secrets[name]) | {"version": call.app.secrets_version}


async def delete_secret(call: Call) -> Answer:
    name = call.request.path_params["name"]
    if name not in call.app.secrets:
        raise FlyError(404, "secret not found")
    _set_secret(call, call.app, name, None)
    return {"version": call.app.secrets_version}


def _set_secret(call: Call, app: FlyApp, name: str, value: str | None) -> None:
    now = call.world.now()
    app.secrets_version += 1
    if value is None:
        app.secrets.pop(name, None)
        call.world.record("secret.delete", app=app.name)
        return
    created = app.secrets[name].created_at if name in app.secrets else now
    digest = digest_of("secret", value)[7:23]
    app.secrets[name] = Secret(name=name, digest=digest, created_at=created, updated_at=now)
    call.world.record("secret.set", app=app.name)


def _volume(call: Call) -> Volume:
    volume = call.app.volumes.get(call.request.path_params["volume"])
    if volume is None:
        raise FlyError(404, "volume not found")
    return volume


async def list_volumes(call: Call) -> Answer:
    return [views.volume(volume) for volume in call.app.volumes.values()]


async def get_volume(call: Call) -> Answer:
    return views.volume(_volume(call))


async def create_volume(call: Call) -> Answer:
    volume = Volume(
        id=call.world.ids.volume(),
        name=str(call.body.get("name") or "data"),
        region=str(call.body.get("region") or call.app.region),
        size_gb=int(call.body.get("size_gb") or 1),
        created_at=call.world.now(),
    )
    call.app.volumes[volume.id] = volume
    call.world.record("volume.create", app=call.app.name)
    return views.volume(volume)


async def extend_volume(call: Call) -> Answer:
    volume = _volume(call)
    volume.size_gb = max(volume.size_gb, int(call.body.get("size_gb") or 0))
    call.world.record("volume.extend", app=call.app.name)
    return {"volume": views.volume(volume), "needs_restart": False}


async def delete_volume(call: Call) -> Answer:
    volume = _volume(call)
    if volume.attached_machine_id:
        raise FlyError(412, "failed_precondition: volume is attached to a machine")
    del call.app.volumes[volume.id]
    call.world.record("volume.delete", app=call.app.name)
    return views.volume(volume) | {"state": "pending_destroy"}


async def list_snapshots(call: Call) -> Answer:
    return _volume(call).snapshots


async def create_snapshot(call: Call) -> Answer:
    volume = _volume(call)
    snapshot: dict[str, Any] = {
        "id": f"vs_{call.world.ids.nonce()}",
        "size": 36_007_729,
        "volume_size": volume.size_gb << 30,
        "digest": digest_of(volume.id, "snapshot"),
        "created_at": rfc3339(call.world.now()),
        "status": "created",
        "retention_days": 5,
    }
    volume.snapshots.append(snapshot)
    call.world.record("volume.snapshot", app=call.app.name)
    return {}


async def list_ips(call: Call) -> Answer:
    return {"ips": call.app.ips}


async def assign_ip(call: Call) -> Answer:
    kind = str(call.body.get("type") or "v6")
    shared = kind == "shared_v4"
    assigned = {
        "ip": "127.0.0.1" if shared else "2a09:8280:1::1",
        "region": "global",
        "service_name": str(call.body.get("service_name") or ""),
        "shared": shared,
        "created_at": rfc3339(call.world.now()),
    }
    call.app.ips.append(assigned)
    call.world.record("ip.assign", app=call.app.name)
    return assigned


async def org_machines(call: Call) -> Answer:
    """The change feed over all apps of the organization."""
    if call.request.path_params["slug"] != call.world.org:
        raise app_not_found()
    after = call.query("updated_after") or ""
    rows = []
    for app in call.world.apps.values():
        if call.token.app not in {None, app.name}:
            continue
        for machine in app.alive():
            row = views.machine(call.world, machine, summary=True) | {"app_name": app.name}
            if row["updated_at"] >= after:
                rows.append(row)
    newest = max((row["updated_at"] for row in rows), default=rfc3339(call.world.now()))
    return {"machines": rows, "last_updated_at": newest, "next_cursor": "", "error_regions": []}


async def current_token(call: Call) -> Answer:
    return introspect(call.world, call.token)


async def list_regions(_call: Call) -> Answer:
    return {"Regions": [{"code": "ord", "name": "Chicago"}], "nearest": "ord"}


APP = "/v1/apps/{app}"
ONE_VOLUME = APP + "/volumes/{volume}"

ROUTES: list[BaseRoute] = [
    route("GET", "/v1/apps", list_apps),
    route("POST", "/v1/apps", create_app, write=True, status=201),
    route("GET", APP, get_app),
    route("DELETE", APP, delete_app, write=True, status=202),
    route("GET", MACHINE + "/metadata", get_metadata),
    route("PATCH", MACHINE + "/metadata", patch_metadata, write=True, status=204),
    route("PUT", MACHINE + "/metadata", patch_metadata, write=True, status=204),
    route("GET", MACHINE + "/metadata/{key}", get_metadata_key),
    route("POST", MACHINE + "/metadata/{key}", set_metadata_key, write=True, status=204),
    route("DELETE", MACHINE + "/metadata/{key}", delete_metadata_key, write=True, status=204),
    route("GET", APP + "/secrets", list_secrets),
    route("POST", APP + "/secrets", set_secrets, write=True),
    route("POST", APP + "/secrets/{name}", set_secret, write=True, status=201),
    route("DELETE", APP + "/secrets/{name}", delete_secret, write=True),
    route("GET", APP + "/volumes", list_volumes),
    route("POST", APP + "/volumes", create_volume, write=True),
    route("GET", ONE_VOLUME, get_volume),
    route("DELETE", ONE_VOLUME, delete_volume, write=True),
    route("PUT", ONE_VOLUME + "/extend", extend_volume, write=True),
    route("GET", ONE_VOLUME + "/snapshots", list_snapshots),
    route("POST", ONE_VOLUME + "/snapshots", create_snapshot, write=True),
    route("GET", APP + "/ip_assignments", list_ips),
    route("POST", APP + "/ip_assignments", assign_ip, write=True),
    route("GET", "/v1/orgs/{slug}/machines", org_machines),
    route("GET", "/v1/tokens/current", current_token),
    route("GET", "/v1/platform/regions", list_regions),
]
