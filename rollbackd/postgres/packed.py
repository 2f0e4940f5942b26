"""A fingerprint as one short text, for a manifest or a blob, and back."""

from __future__ import annotations

import base64
import json
import zlib

from rollbackd.core.model import Json
from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.words import Fingerprint


def packed(found: Fingerprint) -> str:
    """Base64 of compressed JSON: some 10 bytes an object."""
    rows = [[kind, name, made] for (kind, name), made in sorted(found.objects.items())]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode(), 6)).decode()


def unpacked(kept: Json) -> Fingerprint | None:
    """None where there is none, or none that can be read."""
    if not isinstance(kept, str):
        return None
    try:
        rows = json.loads(zlib.decompress(base64.b64decode(kept)))
        return made_of({(str(kind), str(name)): str(made) for kind, name, made in rows})
    except (ValueError, TypeError, zlib.error):
        return None
