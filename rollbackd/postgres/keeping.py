"""Where a target's snapshots lie, and making one more: verified, and the oldest gone after it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import ConfigError
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.ports import Clock
from rollbackd.postgres import snapshot, snapshot_files
from rollbackd.postgres.snapshot_files import Snapshot

Journal = Callable[[str], Awaitable[None]]


def directory(policy: DatabasePolicy, state: Path | None) -> Path:
    """ConfigError where nothing may be kept."""
    if policy.snapshots.directory:
        return Path(policy.snapshots.directory)
    if state is None:
        raise ConfigError("there is no directory for a snapshot", hint="snapshot: {directory: …}")
    return state / "snapshots"


async def keep(
    url: SecretStr,
    policy: DatabasePolicy,
    *,
    directory: Path,
    clock: Clock,
    label: str,
    spare: frozenset[Path] = frozenset(),
) -> Snapshot:
    """With the schemas of the migration history. Raises what `snapshot.take` does; `spare` stays
    whatever its age.
    """
    owner = next(path for path in (directory, *directory.parents) if path.exists()).stat()
    made = await snapshot.take(
        url,
        directory=directory,
        schemas=policy.schemas,
        limit_seconds=policy.snapshots.limit_seconds,
        clock=clock,
        label=label,
        tools_of=policy.histories,
    )
    if os.geteuid() == 0:  # over `fly ssh console`: the daemon must be able to read it
        for path in (directory, made.path, made.path.with_suffix(".json")):
            os.chown(path, owner.st_uid, owner.st_gid)
    kept, now = policy.snapshots.keep, clock.now()
    snapshot_files.prune(directory, keep=kept, now=now, spare=spare | {made.path}, target=label)
    return made


def listed(directory: Path, target: str) -> list[JsonObject]:
    """Those of a target, newest first, for people and scripts. None is read here: a restore reads
    all of it.
    """
    return [_shape(one) for one in reversed(snapshot_files.of(directory, target))]


def _shape(one: Snapshot) -> JsonObject:
    manifest = one.manifest
    schemas: list[Json] = [*manifest.schemas]
    return {
        "snapshot": one.id,
        "at": manifest.taken_at,
        "database": manifest.origin.database,
        "postgres": manifest.origin.major,
        "schemas": schemas,
        "tables": len(manifest.rows),
        "rows": sum(manifest.rows.values()),
        "bytes": manifest.size,
    }
