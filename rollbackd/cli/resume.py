"""`rollbackd resume`: end a pause."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.cli.ordering import By


def resume(
    target: Target = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    by: By = "",
    json: AsJson = False,
) -> None:
    """End a pause."""
    with Daemon(by=by) as daemon:
        name = daemon.pick(target)
        answer = daemon.post(target_path(name, "/resume"), {"reason": reason} if reason else {})
    if json:
        show.as_json(answer)
        return
    show.line(f"{name} is watched and acted on again")
