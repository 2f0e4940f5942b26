"""The release records of every app: made, moved on, listed. They move no machine."""

from __future__ import annotations

from typing import Any

from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.objects import Config, FlyApp, Release
from rollbackd.sandbox.world import World

STRATEGIES = frozenset({"BLUEGREEN", "CANARY", "IMMEDIATE", "ROLLING", "ROLLING_ONE", "SIMPLE"})
STATUSES = frozenset({"pending", "running", "complete", "failed", "interrupted"})


def create(
    world: World,
    app: FlyApp,
    *,
    image: str,
    strategy: str,
    definition: Config | None,
    user: str,
    description: str = "Release",
) -> Release:
    """Not idempotent, as on Fly: the same request twice makes two releases."""
    if strategy.upper() not in STRATEGIES:
        raise FlyError(422, f"strategy {strategy!r} is not one of {', '.join(sorted(STRATEGIES))}")
    newest = app.newest_release()
    now = world.now()
    release = Release(
        id=world.ids.release(),
        app=app.name,
        version=newest.version + 1 if newest else 1,
        status="pending",
        strategy=strategy.upper(),
        image_ref=image,
        definition=definition,
        user=user,
        created_at=now,
        updated_at=now,
        description=description,
    )
    app.releases.append(release)
    world.record(
        "release.create",
        app=app.name,
        image=image,
        release_id=release.id,
        op_id=op_of(definition),
    )
    return release


def update(
    world: World, release: Release, *, status: str, metadata: dict[str, Any] | None
) -> Release:
    if status not in STATUSES:
        raise FlyError(422, f"status {status!r} is not one of {', '.join(sorted(STATUSES))}")
    release.status = status
    release.stable = status == "complete"
    release.updated_at = world.now()
    if metadata is not None:
        release.metadata = metadata
    world.record(
        "release.update",
        app=release.app,
        image=release.image_ref,
        release_id=release.id,
        op_id=op_of(metadata),
    )
    return release


def find(world: World, release_id: str) -> Release | None:
    every = (release for app in world.apps.values() for release in app.releases)
    return next((release for release in every if release.id == release_id), None)


def unordered(app: FlyApp, limit: int) -> list[Release]:
    """The newest `limit`, in an order nobody may rely on."""
    newest = sorted(app.releases, key=lambda release: release.version, reverse=True)[:limit]
    return newest[1::2] + newest[::2]


def op_of(words: dict[str, Any] | None) -> str | None:
    """Our operation id, wherever in the free-form part a client put it."""
    if not words:
        return None
    for key in ("rollbackd_op", "op_id"):
        if isinstance(words.get(key), str):
            return str(words[key])
    inner = [words[key] for key in ("rollbackd", "metadata") if isinstance(words.get(key), dict)]
    return next((found for found in map(op_of, inner) if found), None)
