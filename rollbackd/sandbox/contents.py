"""Reads and normalises the opaque machine config; keys it does not know pass untouched."""

from __future__ import annotations

import copy
from typing import Any

from rollbackd.sandbox.durations import as_text
from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.images import OVERRIDE, Image, parse_image
from rollbackd.sandbox.objects import Config, Machine

DEFAULT_PORT = 8080
DURATIONS = ("interval", "timeout", "grace_period")
AUTOSTOP = {"off": False, "stop": True}


def accept(config: object) -> Config:
    """The config as Fly would store it, or 400."""
    if not isinstance(config, dict):
        raise FlyError(400, "invalid_argument: config is required")
    if not isinstance(config.get("image"), str) or not config["image"]:
        raise FlyError(400, "invalid_argument: config.image is required")
    for key in ("metadata", "env"):
        _only_strings(config.get(key), key)
    kept = copy.deepcopy(config)
    for service in kept.get("services") or []:
        service["autostop"] = AUTOSTOP.get(service.get("autostop"), service.get("autostop", False))
        service.setdefault("force_instance_key", None)
    for check in _all_checks(kept):
        check.update({key: as_text(check[key]) for key in DURATIONS if key in check})
    kept.setdefault("guest", {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256})
    kept.setdefault("init", {})
    return kept


def _only_strings(values: object, key: str) -> None:
    if values is None:
        return
    if not isinstance(values, dict):
        raise FlyError(400, f"json: cannot unmarshal into Go struct field config.{key}")
    for value in values.values():
        if not isinstance(value, str):
            kind = "bool" if isinstance(value, bool) else "number"
            text = f"json: cannot unmarshal {kind} into Go struct field config.{key} of type string"
            raise FlyError(400, text)


def _all_checks(config: Config) -> list[dict[str, Any]]:
    checks = list((config.get("checks") or {}).values())
    for service in config.get("services") or []:
        checks += service.get("checks") or []
    return checks


def refuse_moved_volumes(old: Config, new: Config) -> None:
    """The path may change, the volumes may not."""
    before = sorted(mount.get("volume", "") for mount in old.get("mounts") or [])
    after = sorted(mount.get("volume", "") for mount in new.get("mounts") or [])
    if before != after:
        raise FlyError(400, "invalid_argument: volume attachments of a machine cannot be changed")


def image_of(machine: Machine) -> Image:
    return parse_image(machine.config["image"], app=machine.app)


def internal_port(config: Config) -> int:
    for service in config.get("services") or []:
        if service.get("internal_port"):
            return int(service["internal_port"])
    for check in (config.get("checks") or {}).values():
        if check.get("port"):
            return int(check["port"])
    return DEFAULT_PORT


def listens_where_told(config: Config) -> bool:
    """False when `PORT` in the environment is not the port the services point at."""
    wanted = internal_port(config)
    return str((config.get("env") or {}).get("PORT", wanted)) == str(wanted)


def behaviour_of(machine: Machine) -> str:
    """What the environment orders wins over the image: a bad config on a good image."""
    ordered = (machine.config.get("env") or {}).get(OVERRIDE)
    return str(ordered) if ordered else image_of(machine).behaviour


def autostop_of(config: Config) -> str:
    """`off`, `stop` or `suspend`."""
    for service in config.get("services") or []:
        wanted = service.get("autostop")
        if wanted:
            return "suspend" if wanted == "suspend" else "stop"
    return "off"


def autostart_of(config: Config) -> bool:
    return any(service.get("autostart") for service in config.get("services") or [])


def least_running(config: Config) -> int:
    services = config.get("services") or []
    return max((int(service.get("min_machines_running") or 0) for service in services), default=0)
