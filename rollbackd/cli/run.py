"""`rollbackd run`: the daemon, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        Path | None, typer.Option("--config", help="Directory of the YAML files.")
    ] = None,
) -> None:
    """Run the daemon. Everything else comes from the ROLLBACKD_* variables."""
    # Imported here: the daemon is the whole house, and `--help` must not wait for it.
    from rollbackd import daemon  # noqa: PLC0415
    from rollbackd.config.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    if config is not None:
        settings = settings.model_copy(update={"config": config})
    raise typer.Exit(daemon.run(settings))
