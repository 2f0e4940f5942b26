"""`rollbackd abort`: end a rollback that stands still, or has changed nothing yet."""

from __future__ import annotations

import typer

from rollbackd.cli import show
from rollbackd.cli.options import AsJson
from rollbackd.cli.ordering import By, Reason, Rollback, order, said


def abort(rollback: Rollback, *, reason: Reason, by: By = "", json: AsJson = False) -> None:
    """End a rollback that holds, or that has changed nothing yet; exit 1 where it goes on."""
    body = {"reason": said(reason, "aborting")}
    answer = order("rollbacks", rollback, "abort", {**body}, by=by)
    held = answer.get("held")
    if json:
        show.as_json(answer)
    elif held:
        show.line(f"{answer.get('id')} is {answer.get('state')}; still held: {held}")
    else:
        show.line(f"{answer.get('id')} is {answer.get('state')}: what it held is let go")
    if held:
        raise typer.Exit(1)
