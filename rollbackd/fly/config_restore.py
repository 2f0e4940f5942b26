"""Edits on a machine's config as opaque JSON: what a rollback brings back, what it leaves alone.

What the release decides comes from the good release; what a person or the platform decides for
this one machine (size, volumes, standby, schedule, DNS) stays as it is. Pure.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping

from rollbackd.core.model import Json, JsonObject
from rollbackd.fly.json_shape import object_at, objects_at, text_at, without_nothing

KEPT = (
    "guest", "size", "mounts", "volumes", "standbys", "schedule", "auto_destroy", "dns", "metadata",
)  # fmt: skip
OP = "rollbackd_op"
OP_RELEASE = "rollbackd_release"  # deploys keep foreign metadata: the op counts for this one only
CORDON = "rollbackd_cordon"
STOPPED = "rollbackd_stopped"
_OWN_ENV = "FLY_"  # FLY_PROCESS_GROUP, FLY_STANDBY_FOR: about the machine, not the release
_SHOWN = frozenset(
    {"autostart", "autostop", "force_https", "grace_period", "image", "internal_port", "interval",
     "max_retries", "min_machines_running", "policy", "port", "protocol", "timeout", "type"}
)  # fmt: skip


def restored(
    current: JsonObject, good: JsonObject, *, image: str, marks: Mapping[str, str]
) -> JsonObject:
    """`good`'s config for the machine that has `current` now, with the image pinned."""
    config = copy.deepcopy(good)
    for key in KEPT:
        config.pop(key, None)
        if key in current:
            config[key] = copy.deepcopy(current[key])
    _set_image(config, {text_at(good, "image"), text_at(current, "image")}, image)
    env: JsonObject = {k: v for k, v in object_at(good, "env").items() if not _about_machine(k)}
    env |= {k: v for k, v in object_at(current, "env").items() if _about_machine(k)}
    if env or "env" in good or "env" in current:
        config["env"] = env
    return _marked(config, marks)


def reimaged(
    current: JsonObject, *, image: str, marks: Mapping[str, str], env: JsonObject | None = None
) -> JsonObject:
    """`current` with only the image (and, where it is known, the environment) of the good release.

    For a release whose machine config nobody kept. `env` is that of its app config.
    """
    config = copy.deepcopy(current)
    _set_image(config, {text_at(current, "image")}, image)
    if env is not None:
        now = object_at(current, "env")
        kept = {k: v for k, v in now.items() if _about_machine(k) or k == "PRIMARY_REGION"}
        config["env"] = {**kept, **{k: v for k, v in env.items() if not _about_machine(k)}}
    return _marked(config, marks)


def fingerprint(config: JsonObject) -> str:
    """A hash of what the release decided; the image and what is `KEPT` do not count."""
    own = text_at(config, "image")
    counted = {k: copy.deepcopy(v) for k, v in config.items() if k not in KEPT and k != "image"}
    _set_image(counted, {own}, ".")
    counted.pop("image", None)
    env = object_at(counted, "env")
    counted["env"] = {k: v for k, v in env.items() if not _about_machine(k)}
    for service in objects_at(counted, "services"):
        stop = service.get("autostop")  # Fly takes words and answers booleans for two of them
        service["autostop"] = {"off": None, "stop": True, False: None}.get(stop, stop)  # type: ignore[arg-type]  # any scalar may be asked for
    text = json.dumps(without_nothing(counted), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(before: JsonObject, after: JsonObject) -> tuple[str, ...]:
    """What changes, for people. Values of env, files, commands and headers are never shown."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    lines = []
    for path in sorted(old.keys() | new.keys()):
        if path.startswith("metadata.") or old.get(path) == new.get(path):
            continue
        if path not in old:
            lines.append(f"{path}: added{_value(path, new[path], ' ')}")
        elif path not in new:
            lines.append(f"{path}: removed")
        elif _value(path, new[path], ""):
            lines.append(f"{path}: {old[path]} -> {new[path]}")
        else:
            lines.append(f"{path}: changed")
    return tuple(lines)


def _value(path: str, value: Json, before: str) -> str:
    hidden = any(word in path for word in ("env.", "files", "headers"))
    shown = not hidden and path.rpartition(".")[2] in _SHOWN
    return f"{before}{value}" if shown else ""


def _leaves(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, entry in enumerate(value):
            yield from _leaves(entry, f"{path}[{index}]")
    elif value not in (None, {}, []):
        yield path, value


def _about_machine(name: str) -> bool:
    return name.startswith(_OWN_ENV)


def _set_image(config: JsonObject, replaced: set[str], image: str) -> None:
    """Put `image` in, also in every container and file that carries one of `replaced`."""
    bare = {ref.partition("@")[0] for ref in replaced if ref}
    config["image"] = image
    for container in objects_at(config, "containers"):
        ref = text_at(container, "image")
        if ref == "." or ref.partition("@")[0] in bare:
            container["image"] = image
    for holder in (config, *objects_at(config, "containers")):
        for file in objects_at(holder, "files"):
            if text_at(file, "image_config").partition("@")[0] in bare:
                file["image_config"] = image


def _marked(config: JsonObject, marks: Mapping[str, str]) -> JsonObject:
    config["metadata"] = {**object_at(config, "metadata"), **marks}
    return config
