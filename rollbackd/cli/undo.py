"""`rollbackd undo`: a rollback was a false alarm; the release it took away is put back."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.options import AsJson
from rollbackd.cli.ordering import By, Reason, Rollback, order, said


def undo(rollback: Rollback, *, reason: Reason, by: By = "", json: AsJson = False) -> None:
    """Put the release back that was rolled back from, and do not blame it any more."""
    body = {"reason": said(reason, "undoing")}
    answer = order("rollbacks", rollback, "undo", {**body}, by=by)
    if json:
        show.as_json(answer)
        return
    back = f"v{answer.get('to_version')} is put back"
    show.line(f"rollback {answer.get('rollback')} began: {back} (rollbackd history --steps)")
