"""Reads values out of opaque JSON. What has another shape counts as absent, never as an error."""

from __future__ import annotations

from collections.abc import Sequence

from rollbackd.core.model import Json, JsonObject


def object_at(value: Json, *path: str) -> JsonObject:
    """The object at `path`, empty where it is missing or not an object."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def list_at(value: Json, *path: str) -> Sequence[Json]:
    """The list at `path`, empty where it is missing or not a list."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def objects_at(value: Json, *path: str) -> list[JsonObject]:
    """The objects of the list at `path`; what is not an object is left out."""
    return [entry for entry in list_at(value, *path) if isinstance(entry, dict)]


def text_at(value: Json, *path: str) -> str:
    """The string at `path`, "" where it is missing; numbers become text."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, dict | list) else str(value)


def whole_at(value: Json, *path: str) -> int | None:
    """The whole number at `path`, also where it is written as a string."""
    text = text_at(value, *path)
    return int(text) if text.isascii() and text.isdigit() else None


def without_nothing(value: Json) -> Json:
    """`value` without nulls and empty containers, at every depth: absent and empty are one."""
    if isinstance(value, dict):
        cleaned = {key: without_nothing(entry) for key, entry in value.items()}
        return {key: entry for key, entry in cleaned.items() if entry not in (None, {}, [])}
    if isinstance(value, list):
        return [without_nothing(entry) for entry in value]
    return value
