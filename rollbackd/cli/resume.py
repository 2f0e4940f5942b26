"""`rollbackd resume`: end a pause, with an author and a reason."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.cli.ordering import By, Reason, said
from rollbackd.core.model import JsonObject


def resume(
    target: Target = None,
    *,
    reason: Reason,
    by: By = "",
    json: AsJson = False,
) -> None:
    """End a pause before its time."""
    asked: JsonObject = {"reason": said(reason, "resuming")}
    with Daemon(by=by) as daemon:
        name = daemon.pick(target)
        answer = daemon.post(target_path(name, "/resume"), asked)
    if json:
        show.as_json(answer)
        return
    show.line(f"{name} is watched and acted on again")
