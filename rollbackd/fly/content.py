"""What "the same release" means on Fly: image digest and the configs of its process groups. Pure.

The names of content are compared, quarantined and kept, so the same input must give the same
name in every version of this program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from rollbackd.core.model import JsonObject
from rollbackd.fly.json_shape import text_at
from rollbackd.fly.machine_view import config_of


def content_name(image: str, groups: Mapping[str, str]) -> str:
    """`image` is a digest (or, while none is known, a ref); `groups` config hashes by group."""
    if not groups:
        return image
    text = json.dumps(dict(sorted(groups.items())), separators=(",", ":"))
    return f"{image}+config:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def image_of(machine: JsonObject) -> str:
    """The digest a machine runs, or its image ref while Fly does not say the digest."""
    digest = text_at(machine, "image_ref", "digest")
    return digest or digest_or_ref(text_at(config_of(machine), "image"))


def digest_or_ref(ref: str) -> str:
    """`sha256:…` of a pinned ref, else the ref itself."""
    return ref.partition("@")[2] or ref


def pin(ref: str, digest: str) -> str:
    return f"{ref.partition('@')[0]}@{digest}" if digest else ref
