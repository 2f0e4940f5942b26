"""How the platform's objects look on the wire of the Machines and releases APIs."""

from __future__ import annotations

from typing import Any

from rollbackd.sandbox import leases
from rollbackd.sandbox.contents import image_of
from rollbackd.sandbox.ids import rfc3339, rfc3339_precise
from rollbackd.sandbox.images import parse_image
from rollbackd.sandbox.objects import FlyApp, Machine, Release, Volume
from rollbackd.sandbox.world import World


def machine(
    world: World,
    one: Machine,
    *,
    version: str | None = None,
    include_leases: bool = False,
    summary: bool = False,
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "region": one.region,
        "version": one.version,
        "instance_id": one.version,
        "private_ip": one.private_ip,
        "created_at": rfc3339(one.created_at),
        "updated_at": rfc3339(one.updated_at),
        "image_ref": image_of(one).wire(),
        "host_status": one.host_status,
        "cordoned": one.cordoned,
    }
    if not summary:
        shown |= _content(one)
    old = next((v for v in one.versions if v.version == version), None)
    if old is not None and old.version != one.version:
        image = parse_image(old.config["image"], app=one.app).wire()
        shown |= {"state": "replaced", "version": old.version, "instance_id": old.version}
        shown |= {"config": old.config, "image_ref": image, "checks": []}
    lease = leases.current(world, one)
    if include_leases and lease is not None:
        shown["lease"] = {
            "owner": lease.owner,
            "expires_at": int(lease.expires_at),
            "description": lease.description,
        }
    return shown


def _content(one: Machine) -> dict[str, Any]:
    checks = [
        {
            "name": check.name,
            "status": check.status,
            "output": check.output,
            "updated_at": rfc3339_precise(check.updated_at),
        }
        for check in one.checks.values()
    ]
    content: dict[str, Any] = {"config": one.config, "checks": checks, "events": one.events}
    if one.host_status != "ok":
        content |= {"config": None, "incomplete_config": one.config, "checks": []}
    return content


def app(world: World, one: FlyApp) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "internal_numeric_id": one.number,
        "status": one.status,
        "network": "default",
        "machine_count": len(one.alive()),
        "volume_count": len(one.volumes),
        "organization": {"name": world.org, "slug": world.org, "internal_numeric_id": 1},
    }


def release(one: Release) -> dict[str, Any]:
    return {
        "id": one.id,
        "version": one.version,
        "stable": one.stable,
        "in_progress": one.status in {"pending", "running"},
        "status": one.status,
        "strategy": one.strategy,
        "user": one.user,
        "created_at": rfc3339(one.created_at),
        "image_ref": one.image_ref,
    }


def volume(one: Volume) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "size_gb": one.size_gb,
        "region": one.region,
        "zone": "a1b2",
        "encrypted": True,
        "attached_machine_id": one.attached_machine_id,
        "attached_alloc_id": None,
        "host_status": "ok",
        "snapshot_retention": 5,
        "auto_backup_enabled": True,
        "created_at": rfc3339(one.created_at),
    }
