"""Which git commit a machine runs, where its deploy or its image says so. Pure.

The environment speaks first: it is set per deploy, while a label may come from a base image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rollbackd.core.model import JsonObject
from rollbackd.fly.json_shape import object_at, text_at

ENVIRONMENT: Final = (
    "GIT_SHA", "GIT_COMMIT", "COMMIT_SHA", "SOURCE_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA",
)  # fmt: skip
LABELS: Final = ("GH_SHA", "org.opencontainers.image.revision")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


def commit_of(machine: JsonObject) -> str:
    """Of a machine as the API lists it; "" where nothing tells."""
    config = object_at(machine, "config") or object_at(machine, "incomplete_config")
    labels = object_at(machine, "image_ref", "labels")
    return commit_in(config) or next(_commits(labels, LABELS), "")


def commit_in(config: JsonObject) -> str:
    """Of a machine's config alone; "" where its environment does not tell."""
    return next(_commits(object_at(config, "env"), ENVIRONMENT), "")


def _commits(words: JsonObject, names: tuple[str, ...]) -> Iterator[str]:
    """Only what looks like a commit: the value is shown, and must not be somebody's secret."""
    for name in names:
        text = text_at(words, name).strip().lower()
        if _COMMIT.fullmatch(text):
            yield text
