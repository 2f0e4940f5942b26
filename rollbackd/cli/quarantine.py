"""`rollbackd quarantine`: a person says that a release must not come back."""

from __future__ import annotations

from rollbackd.cli.options import AsJson
from rollbackd.cli.saying import By, Named, Reason, Version, say


def quarantine(
    target: Named, version: Version, *, reason: Reason, by: By = "", json: AsJson = False
) -> None:
    """Never go back to a release; alert where it, or its commit, is deployed again."""
    say("quarantine", target, version, reason=reason, by=by, json=json)
