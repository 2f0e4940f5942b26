"""`rollbackd unquarantine`: a person takes a quarantine back."""

from __future__ import annotations

from rollbackd.cli.options import AsJson
from rollbackd.cli.saying import By, Named, Reason, Version, say


def unquarantine(
    target: Named, version: Version, *, reason: Reason, by: By = "", json: AsJson = False
) -> None:
    """Take a quarantine back: what is known of the release is unknown again."""
    say("unquarantine", target, version, reason=reason, by=by, json=json)
