"""`rollbackd version`: the version, and nothing that takes time."""

from __future__ import annotations

import typer

from rollbackd import __version__
from rollbackd.cli.options import AsJson


def version(*, json: AsJson = False) -> None:
    """Print the version."""
    typer.echo(f'{{"version": "{__version__}"}}' if json else f"rollbackd {__version__}")
