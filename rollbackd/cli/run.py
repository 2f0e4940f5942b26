"""`rollbackd run`: the daemon, until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
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
    with _in_a_hurry():
        from rollbackd import daemon  # noqa: PLC0415
        from rollbackd.config.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    if config is not None:
        settings = settings.model_copy(update={"config": config})
    raise typer.Exit(daemon.run(settings))


@contextlib.contextmanager
def _in_a_hurry() -> Iterator[None]:
    """A rollback may be waiting for the end of these imports: they take a quarter less time.

    Nothing that they make is ever garbage. structlog and httpx import Rich where there is one, to
    paint tracebacks and a command line of their own, and the daemon paints nothing.
    """
    gc.disable()
    painter = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own word for: not to be had
    try:
        yield
    finally:
        del sys.modules["rich"]
        if painter is not None:
            sys.modules["rich"] = painter
        gc.freeze()
        gc.enable()
