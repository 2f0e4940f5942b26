"""The calls on a project's database that a restore needs. One function a call; none tries twice.

Restoring a *backup* is `restore-pitr`; the endpoint named `/restore` only wakes a paused project
and is not called. Source: the Management API's OpenAPI (operation ids beside each call).
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Final

from rollbackd.core.errors import TemporaryError, Unauthorized
from rollbackd.core.model import Json, JsonObject
from rollbackd.supabase.client import SupabaseClient, project_path

_LOOK_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 60.0


class ProjectStatus(enum.StrEnum):
    """What a project is doing; the last word of a restore is ACTIVE_HEALTHY or RESTORE_FAILED."""

    INACTIVE = "INACTIVE"
    ACTIVE_HEALTHY = "ACTIVE_HEALTHY"
    ACTIVE_UNHEALTHY = "ACTIVE_UNHEALTHY"
    COMING_UP = "COMING_UP"
    UNKNOWN = "UNKNOWN"
    GOING_DOWN = "GOING_DOWN"
    INIT_FAILED = "INIT_FAILED"
    REMOVED = "REMOVED"
    RESTORING = "RESTORING"
    UPGRADING = "UPGRADING"
    PAUSING = "PAUSING"
    RESTORE_FAILED = "RESTORE_FAILED"
    RESTARTING = "RESTARTING"
    PAUSE_FAILED = "PAUSE_FAILED"
    RESIZING = "RESIZING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """`earliest` and `latest`: between which moments PITR can go back, epoch seconds."""

    pitr: bool
    earliest: int | None
    latest: int | None


async def status(client: SupabaseClient, project: str) -> ProjectStatus:
    """`v1-get-project`. A status that is not in the document counts as UNKNOWN."""
    found = _object(await client.send("GET", project_path(project), within_seconds=_LOOK_SECONDS))
    said = found.get("status")
    return ProjectStatus(said) if said in set(ProjectStatus) else ProjectStatus.UNKNOWN


async def backups(client: SupabaseClient, project: str) -> Backups:
    """`v1-list-all-backups`."""
    path = f"{project_path(project)}/database/backups"
    found = _object(await client.send("GET", path, within_seconds=_LOOK_SECONDS))
    physical = found.get("physical_backup_data")
    dates = physical if isinstance(physical, dict) else {}
    return Backups(
        pitr=found.get("pitr_enabled") is True,
        earliest=_whole(dates.get("earliest_physical_backup_date_unix")),
        latest=_whole(dates.get("latest_physical_backup_date_unix")),
    )


async def restore_to(client: SupabaseClient, project: str, at: int) -> None:
    """`v1-restore-pitr-backup`, to a moment in epoch seconds. The answer only says that it was
    taken; the whole project is offline until `status` says otherwise. Never send it twice.
    """
    path = f"{project_path(project)}/database/backups/restore-pitr"
    # A number, as the schema says; the guide's example sends a string.
    body: Json = {"recovery_time_target_unix": int(at)}
    await client.send("POST", path, body=body, within_seconds=_WRITE_SECONDS)


async def migrations(client: SupabaseClient, project: str) -> tuple[str, ...] | None:
    """`v1-list-migration-history`: applied versions. None where this token may not ask, since the
    call is for partners only: the history table itself tells the same.
    """
    path = f"{project_path(project)}/database/migrations"
    try:
        answer = await client.send("GET", path, within_seconds=_LOOK_SECONDS)
    except Unauthorized:
        return None
    parsed = _json(answer)
    rows = parsed if isinstance(parsed, list) else []
    return tuple(str(row["version"]) for row in rows if isinstance(row, dict) and "version" in row)


async def read_only(client: SupabaseClient, project: str) -> bool:
    """`v1-get-readonly-mode-status`: whether Supabase refuses writes (a full disk), and nobody has
    lifted that for the moment.
    """
    path = f"{project_path(project)}/readonly"
    found = _object(await client.send("GET", path, within_seconds=_LOOK_SECONDS))
    return found.get("enabled") is True and found.get("override_enabled") is not True


def _json(answer: bytes) -> Json:
    try:
        parsed: Json = json.loads(answer)
    except ValueError:
        raise TemporaryError("the Management API: the answer is not JSON") from None
    return parsed


def _object(answer: bytes) -> JsonObject:
    parsed = _json(answer)
    if not isinstance(parsed, dict):
        raise TemporaryError("the Management API: the answer is no object")
    return parsed


def _whole(value: Json) -> int | None:
    """A number, or one written as a string."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
