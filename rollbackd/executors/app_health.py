"""What a machine has come to after its update. Pure: judges one look at one machine."""

from __future__ import annotations

import enum

from rollbackd.core.model import JsonObject
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.machine_view import (
    config_of,
    crash_looping,
    crashed_with,
    has_checks,
    own_checks,
    view,
)

_UP_SECONDS = 5.0  # without any check, having stayed up this long is all there is to see


class Standing(enum.StrEnum):
    WAITING = "waiting"
    HEALTHY = "healthy"
    BROKEN = "broken"


def standing(machine: JsonObject, now: float) -> tuple[Standing, str]:
    """How a machine that should run stands, and why. `broken` will not heal by waiting."""
    state = text_at(machine, "state")
    if state == "failed":
        return Standing.BROKEN, "its state is failed"
    if crash_looping(machine, now):
        return Standing.BROKEN, "it crashes again and again"
    if state in {"stopped", "suspended"}:
        return _not_running(machine, state)
    if state != "started":
        return Standing.WAITING, f"its state is {state}"
    if has_checks(config_of(machine)):
        return _checked(machine)
    started_at = view(machine, content="", now=now).started_at
    if started_at is not None and now - started_at < _UP_SECONDS:
        return Standing.WAITING, "it started a moment ago"
    return Standing.HEALTHY, "it stays up"


def _not_running(machine: JsonObject, state: str) -> tuple[Standing, str]:
    code = crashed_with(machine)
    if code:
        return Standing.WAITING, f"it exited with code {code}"  # its restart policy may bring it
    if view(machine, content="", now=0).autostop:
        return Standing.HEALTHY, f"autostop has it {state}"
    return Standing.WAITING, f"its state is {state}"


def _checked(machine: JsonObject) -> tuple[Standing, str]:
    checks = own_checks(machine)
    if not checks:
        return Standing.WAITING, "no check has reported yet"
    open_checks = [text_at(c, "name") for c in checks if text_at(c, "status") != "passing"]
    if open_checks:
        return Standing.WAITING, f"not passing: {', '.join(open_checks)}"
    return Standing.HEALTHY, "all checks pass"
