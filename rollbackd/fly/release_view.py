"""What a release record says, from REST or GraphQL, as the core's `Release`. Pure."""

from __future__ import annotations

import hashlib
import json

from rollbackd.core.model import JsonObject, Release, ReleaseStatus
from rollbackd.fly.json_shape import object_at, text_at, whole_at, without_nothing
from rollbackd.fly.machine_view import epoch_of

_STATUS = {status.value: status for status in ReleaseStatus}


def release_view(record: JsonObject, *, content: str, commit: str = "") -> Release:
    """An unknown status counts as pending: neither a good goal nor a failed deploy."""
    return Release(
        version=whole_at(record, "version") or 0,
        image=text_at(record, "image_ref") or text_at(record, "imageRef"),
        status=_STATUS.get(text_at(record, "status").lower(), ReleaseStatus.PENDING),
        content=content,
        created_at=epoch_of(text_at(record, "created_at") or text_at(record, "createdAt")),
        id=text_at(record, "id"),
        author=text_at(record, "user") or text_at(record, "user", "email"),
        commit=commit,
    )


def recipe_of(record: JsonObject) -> str:
    """Image and app config in one word, "" where the record does not carry the app config."""
    definition = object_at(record, "configDefinition")
    image = (text_at(record, "imageRef") or text_at(record, "image_ref")).partition("@")[0]
    if not definition or not image:
        return ""
    text = json.dumps([image, without_nothing(definition)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
