"""The app config of a release (fly.toml as JSON) and the machine config flyctl makes of it."""

from __future__ import annotations

import copy
from typing import Any

from rollbackd.sandbox.objects import Config, FlyApp, Release

PLATFORM_ENV = ("FLY_PROCESS_GROUP", "PRIMARY_REGION")
FLYCTL_VERSION = "0.4.111"


def default_config(*, image: str, region: str, port: int, autostop: bool) -> Config:
    """What a web app on Fly usually looks like: one service with one http check."""
    service: dict[str, Any] = {
        "protocol": "tcp",
        "internal_port": port,
        "autostop": autostop,
        "autostart": True,
        "min_machines_running": 1,
        "ports": [
            {"port": 80, "handlers": ["http"], "force_https": True},
            {"port": 443, "handlers": ["http", "tls"]},
        ],
        "checks": [
            {
                "type": "http",
                "interval": "15s",
                "timeout": "2s",
                "grace_period": "10s",
                "method": "GET",
                "path": "/healthz",
            }
        ],
        "force_instance_key": None,
    }
    return {
        "image": image,
        "env": {"PORT": str(port), "FLY_PROCESS_GROUP": "app", "PRIMARY_REGION": region},
        "init": {},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
        "services": [service],
        "restart": {"policy": "on-failure", "max_retries": 10},
        "metrics": {"port": 9091, "path": "/metrics"},
    }


def definition_of(app: FlyApp, config: Config) -> Config:
    """The fly.toml that leads to this machine config."""
    env = {k: v for k, v in (config.get("env") or {}).items() if k not in PLATFORM_ENV}
    guest = config.get("guest") or {}
    definition: Config = {
        "app": app.name,
        "primary_region": app.region,
        "env": env,
        "services": [_toml_service(service) for service in config.get("services") or []],
        "vm": [{"cpu_kind": guest.get("cpu_kind", "shared"), "cpus": guest.get("cpus", 1)}],
    }
    for key in ("checks", "metrics"):
        if config.get(key):
            value = copy.deepcopy(config[key])
            definition[key] = [value] if key == "metrics" else value
    return definition


SERVICE_WORDS = {"autostop": "auto_stop_machines", "autostart": "auto_start_machines"}


def _toml_service(service: dict[str, Any]) -> dict[str, Any]:
    shown = {SERVICE_WORDS.get(key, key): copy.deepcopy(value) for key, value in service.items()}
    shown.pop("force_instance_key", None)
    checks = shown.pop("checks", None) or []
    for kind in ("http", "tcp"):
        found = [check for check in checks if check.get("type", "tcp") == kind]
        if found:
            shown[f"{kind}_checks"] = [
                {key: value for key, value in check.items() if key != "type"} for check in found
            ]
    shown["processes"] = ["app"]
    return shown


def _machine_service(service: dict[str, Any]) -> dict[str, Any]:
    """The other way round."""
    words = {toml: wire for wire, toml in SERVICE_WORDS.items()}
    shown = {words.get(key, key): copy.deepcopy(value) for key, value in service.items()}
    shown.pop("processes", None)
    checks = list(shown.pop("checks", None) or [])
    for kind in ("http", "tcp"):
        checks += [{"type": kind} | check for check in shown.pop(f"{kind}_checks", None) or []]
    if checks:
        shown["checks"] = checks
    return shown


def merge_definition(
    known: Config,
    *,
    env: dict[str, str | None] | None,
    services: list[dict[str, Any]] | None,
    checks: dict[str, Any] | None,
    guest: dict[str, Any] | None,
) -> Config:
    """A null in `env` removes the variable; everything else given replaces."""
    merged = dict(known.get("env") or {}) | (env or {})
    known["env"] = {key: value for key, value in merged.items() if value is not None}
    if services is not None:
        known["services"] = [_toml_service(service) for service in services]
    if checks is not None:
        known["checks"] = checks
    if guest is not None:
        known["vm"] = [guest]
    return known


def config_for_update(
    app: FlyApp, current: Config, release: Release, guest: dict[str, Any] | None
) -> Config:
    """The current config, overwritten from the definition as flyctl overwrites it.

    Foreign metadata stays, also the operation id of a past rollback: flyctl keeps it too.
    """
    definition = release.definition or {}
    config = copy.deepcopy(current)
    group = (config.get("metadata") or {}).get("fly_process_group", "app")
    platform = {"FLY_PROCESS_GROUP": group, "PRIMARY_REGION": app.region}
    config["env"] = dict(definition.get("env") or {}) | platform
    config["services"] = [_machine_service(s) for s in definition.get("services") or []]
    config["checks"] = copy.deepcopy(definition.get("checks") or {})
    if guest is not None:
        config["guest"] = guest
    config["image"] = release.image_ref
    config["metadata"] = dict(config.get("metadata") or {}) | {
        "fly_platform_version": "v2",
        "fly_process_group": group,
        "fly_release_id": release.id,
        "fly_release_version": str(release.version),
        "fly_flyctl_version": FLYCTL_VERSION,
    }
    return config
