"""`rollbackd reject`: what is proposed is not done, and not asked again for this release."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.options import AsJson
from rollbackd.cli.ordering import By, Proposal, Reason, order, said


def reject(proposal: Proposal, *, reason: Reason, by: By = "", json: AsJson = False) -> None:
    """Reject a proposed rollback: it is not asked again for this release."""
    body = {"reason": said(reason, "rejecting")}
    answer = order("proposals", proposal, "reject", {**body}, by=by)
    if json:
        show.as_json(answer)
        return
    show.line(f"{answer.get('proposal')} is rejected; by hand it can still be done")
