"""Releases and machines as JSON and back. It judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rollbackd.core import readers
from rollbackd.core.deploys import Deploys
from rollbackd.core.model import Json, JsonObject, Machine, Release
from rollbackd.core.readers import Reader, flag, number, refuse_future, whole

DEPLOYS: Final[Mapping[str, Reader]] = {
    "foreign_leases": whole,
    "releases_at": number,
    "machines_at": number,
    "current_since": number,
    "settle_from": number,
    "settled": flag,
    "rolled_out": flag,
    "_effect": number,
    "_unswitched_at": number,
}


def as_json(deploys: Deploys) -> JsonObject:
    """`restored` reads it back."""
    machines = deploys.machines
    return {
        **readers.taken(deploys, DEPLOYS),
        "known": [readers.flat(release) for release in deploys.known],
        "seen": [release.version for release in deploys.seen],
        "machines": None if machines is None else [readers.flat(each) for each in machines],
        "current": _flat(deploys.current),
        "put_back": _flat(deploys.put_back),
        **deploys.as_json(),
    }


def restored(kept: Json, at: float) -> Deploys:
    """`kept` is from `at`. Raises Odd where it does not look like it."""
    deploys = Deploys()
    readers.put(deploys, DEPLOYS, kept)
    rows = readers.items(readers.member(kept, "known"))
    deploys.known = tuple(readers.made(Release, row) for row in rows)
    by_version = {release.version: release for release in deploys.known}
    seen = [whole(version) for version in readers.items(readers.member(kept, "seen"))]
    deploys.seen = tuple(by_version[version] for version in seen if version in by_version)
    machines = readers.member(kept, "machines")
    if machines is not None:
        deploys.machines = tuple(readers.made(Machine, row) for row in readers.items(machines))
    put_back = readers.member(kept, "put_back")
    if put_back is not None:
        # The same object on purpose: that is how it is told from a release with a record.
        deploys.put_back = deploys.current = readers.made(Release, put_back)
    elif (current := readers.member(kept, "current")) is not None:
        deploys.current = readers.made(Release, current)
    deploys.restore(kept)
    refuse_future(at, deploys.releases_at, deploys.machines_at)
    return deploys


def _flat(release: Release | None) -> Json:
    return None if release is None else readers.flat(release)
