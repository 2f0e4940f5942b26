"""Whether the state directory stands on ground that lasts. A Fly machine's own disk does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollbackd.core.errors import ConfigError


def refuse_ephemeral(
    state: Path, *, allowed: bool, environ: Mapping[str, str], root: Path = Path("/")
) -> None:
    """Raise ConfigError where a journal on Fly would be gone with the next start."""
    if allowed or not environ.get("FLY_MACHINE_ID"):
        return
    there = next(each for each in (state, *state.absolute().parents) if each.exists())
    if there.stat().st_dev != root.stat().st_dev:
        return
    raise ConfigError(
        f"{state} is on the machine's own disk, which Fly empties at every start",
        hint="mount a volume there (fly.toml [mounts]), or set ROLLBACKD_ALLOW_EPHEMERAL=1",
    )
