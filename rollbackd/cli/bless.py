"""`rollbackd bless`: a person vouches for a release."""

from __future__ import annotations

from rollbackd.cli.options import AsJson
from rollbackd.cli.saying import By, Named, Reason, Version, say


def bless(
    target: Named, version: Version, *, reason: Reason, by: By = "", json: AsJson = False
) -> None:
    """Call a release good, whatever was seen of it: it may be gone back to."""
    say("bless", target, version, reason=reason, by=by, json=json)
