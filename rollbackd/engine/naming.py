"""How orders name releases and commits. Raises UsageError where there is no such thing."""

from __future__ import annotations

import re
from typing import Final

from rollbackd.core.errors import UsageError
from rollbackd.core.model import Release
from rollbackd.core.state import TargetState

_COMMIT: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_LISTED: Final = 5


def commit_named(sha: str) -> str:
    """A git commit, in full or cut short. Raises UsageError for anything else."""
    if not _COMMIT.fullmatch(sha):
        raise UsageError(f"{sha!r} is no git commit", hint="7 to 64 hexadecimal digits")
    return sha.lower()


def known_release(state: TargetState, version: int) -> Release:
    """Raises UsageError where there is none of this version."""
    found = next((r for r in state.deploys.known if r.version == version), None)
    if found is None:
        newest = ", ".join(f"v{r.version}" for r in state.deploys.known[:_LISTED]) or "none yet"
        raise UsageError(f"{state.name} has no release v{version}", hint=f"newest: {newest}")
    return found
