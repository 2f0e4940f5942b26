"""What a machine's JSON says, as the core's `Machine`. Pure: no call, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollbackd.core.model import JsonObject, Machine
from rollbackd.fly.config_restore import OP, OP_RELEASE
from rollbackd.fly.json_shape import list_at, object_at, objects_at, text_at, whole_at

MARK = "rollbackd "  # every lease description of ours begins with it
_NOT_OURS = ("fly_app_release_command", "fly_app_test_machine_command", "fly_app_console")
_GONE = frozenset({"destroyed", "destroying", "replaced", "migrated"})
_COMPAT = "bg_deployments_compat"  # fakes that Fly inserts for its own compatibility
_UP_SECONDS = 60.0  # up this long after its last exit: no crash loop any more
_BOOT_MOST_SECONDS = 600.0  # a check that turned green later says nothing about the boot


def managed(machine: JsonObject) -> bool:
    """Whether deploys look after this machine: not a console, not a release command."""
    if text_at(machine, "state") in _GONE:
        return False
    metadata = object_at(config_of(machine), "metadata")
    group = text_at(metadata, "fly_process_group")
    if not reachable(machine) and not metadata:
        return True  # its config is hidden: better reported than forgotten
    return text_at(metadata, "fly_platform_version") == "v2" and not group.startswith(_NOT_OURS)


def config_of(machine: JsonObject) -> JsonObject:
    return object_at(machine, "config") or object_at(machine, "incomplete_config")


def reachable(machine: JsonObject) -> bool:
    return text_at(machine, "host_status") in {"", "ok"}


def group_of(machine: JsonObject) -> str:
    return text_at(config_of(machine), "metadata", "fly_process_group") or "app"


def release_of(machine: JsonObject) -> int | None:
    return whole_at(config_of(machine), "metadata", "fly_release_version")


def version_of(machine: JsonObject) -> str:
    """The machine's own version; `instance_id` is its former name."""
    return text_at(machine, "version") or text_at(machine, "instance_id")


def leftover(machine: JsonObject) -> str:
    """What an unfinished deploy left behind, for people; "" for an ordinary machine."""
    metadata = object_at(config_of(machine), "metadata")
    if text_at(metadata, "fly_canary") == "true":
        return "a canary left by a failed deploy"
    if text_at(metadata, "fly_bluegreen_deployment_tag") == "safe_to_destroy":
        return "an old machine left by a blue-green deploy"
    return ""


def critical_checks(machine: JsonObject) -> int:
    return sum(1 for check in own_checks(machine) if text_at(check, "status") == "critical")


def own_checks(machine: JsonObject) -> list[JsonObject]:
    checks = objects_at(machine, "checks")
    return [check for check in checks if not text_at(check, "name").startswith(_COMPAT)]


def has_checks(config: JsonObject) -> bool:
    services = objects_at(config, "services")
    return bool(object_at(config, "checks")) or any(list_at(s, "checks") for s in services)


def health_paths_of(config: JsonObject) -> list[str]:
    """The paths of its GET checks over HTTP, those of services first."""
    checks = [
        c for service in objects_at(config, "services") for c in objects_at(service, "checks")
    ]
    checks += [object_at(check) for check in object_at(config, "checks").values()]
    gets = [c for c in checks if text_at(c, "type") == "http" and _is_get(c)]
    return [text_at(check, "path") for check in gets if text_at(check, "path").startswith("/")]


def _is_get(check: JsonObject) -> bool:
    return text_at(check, "method").upper() in {"", "GET"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    owner: str
    ours: bool
    expires_at: float | None


def lease_on(machine: JsonObject, now: float) -> LeaseSeen | None:
    """The lease that is on the machine now; one that ran out is none."""
    lease = object_at(machine, "lease")
    expires_at = whole_at(lease, "expires_at")
    if not lease or (expires_at is not None and expires_at <= now):
        return None
    return LeaseSeen(
        owner=text_at(lease, "owner") or "unknown",
        ours=text_at(lease, "description").startswith(MARK),
        expires_at=None if expires_at is None else float(expires_at),
    )


def view(machine: JsonObject, *, content: str, now: float) -> Machine:
    """The machine as the core wants it."""
    config, lease = config_of(machine), lease_on(machine, now)
    events = _events(machine)
    started_at = _started_at(machine, events)
    return Machine(
        id=text_at(machine, "id"),
        state=text_at(machine, "state"),
        group=group_of(machine),
        content=content,
        release_version=release_of(machine),
        version=version_of(machine),
        region=text_at(machine, "region"),
        critical_checks=critical_checks(machine),
        crash_looping=crash_looping(machine, now),
        started_at=started_at,
        boot_seconds=_boot_seconds(machine, events, started_at),
        cordoned=machine.get("cordoned") is True,
        reachable=reachable(machine),
        standby=bool(list_at(config, "standbys")),
        autostop=any(_autostops(service) for service in objects_at(config, "services")),
        lease_owner=lease.owner if lease else None,
        lease_ours=lease is not None and lease.ours,
        op_id=_op_id(object_at(config, "metadata")),
        private_ip=text_at(machine, "private_ip"),
    )


def _op_id(metadata: JsonObject) -> str | None:
    """Our operation's id, unless somebody deployed since: a deploy carries our marks along."""
    meant = text_at(metadata, OP_RELEASE)
    if meant and meant != text_at(metadata, "fly_release_version"):
        return None
    return text_at(metadata, OP) or None


def crash_looping(machine: JsonObject, now: float) -> bool:
    """The newest exit since the last update was no stop, was not the first, and nobody asked."""
    events = _events(machine)
    for event in events:
        if text_at(event, "type") in {"update", "launch"}:
            return False
        if text_at(event, "type") != "exit":
            continue
        exited = object_at(event, "request", "exit_event")
        restarts = whole_at(event, "request", "restart_count") or 0
        crashed = (
            exited.get("requested_stop") is not True
            and exited.get("restarting") is True
            and restarts > 1
            and text_at(exited, "exit_code") not in {"", "0"}
        )
        return crashed and not _up_for_long(machine, events, now)
    return False


def crashed_with(machine: JsonObject) -> str:
    """The exit code of the newest exit since the last update that nobody asked for, else ""."""
    for event in _events(machine):
        if text_at(event, "type") in {"update", "launch"}:
            return ""
        exited = object_at(event, "request", "exit_event")
        if text_at(event, "type") == "exit" and exited.get("requested_stop") is not True:
            code = text_at(exited, "exit_code")
            return "" if code == "0" else code
    return ""


def meant_to_run(machine: JsonObject) -> bool:
    """Whether it runs, or would if its release did not crash: flyctl would leave that one down."""
    resting = text_at(machine, "state") in {"stopped", "suspended", "created"}
    standby = bool(list_at(config_of(machine), "standbys"))
    return not standby and (not resting or bool(crashed_with(machine)))


def _up_for_long(machine: JsonObject, events: Sequence[JsonObject], now: float) -> bool:
    started_at = _started_at(machine, events)
    return started_at is not None and now - started_at >= _UP_SECONDS


def _events(machine: JsonObject) -> list[JsonObject]:
    """Newest first, whatever order they came in."""
    return sorted(objects_at(machine, "events"), key=_at, reverse=True)


def _at(event: JsonObject) -> float:
    return (whole_at(event, "timestamp") or 0) / 1000


def _started_at(machine: JsonObject, events: Sequence[JsonObject]) -> float | None:
    if text_at(machine, "state") != "started":
        return None
    for event in events:
        if text_at(event, "type") == "start" and text_at(event, "status") == "started":
            return _at(event)
    return None


def _boot_seconds(
    machine: JsonObject, events: Sequence[JsonObject], started_at: float | None
) -> float | None:
    """From the launch, update or start that began the boot until it ran and its checks passed."""
    if started_at is None:
        return None
    begun = [
        _at(event)
        for event in events
        if _at(event) <= started_at
        and (
            text_at(event, "type") in {"launch", "update"}
            or text_at(event, "status") in {"starting", "created"}
        )
    ]
    if not begun:
        return None
    passed = [_passed_at(check) for check in own_checks(machine)]
    ready = [at for at in passed if started_at <= at <= started_at + _BOOT_MOST_SECONDS]
    return max([started_at, *ready]) - begun[0]


def _passed_at(check: JsonObject) -> float:
    if text_at(check, "status") != "passing":
        return 0.0
    return epoch_of(text_at(check, "updated_at")) or 0.0


def _autostops(service: JsonObject) -> bool:
    return service.get("autostop") not in (None, False, "off", "")


def epoch_of(text: str) -> float | None:
    """RFC 3339 as epoch seconds; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
