"""`rollbackd approve`: let what is proposed be done, by the plan that was shown."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.options import AsJson
from rollbackd.cli.ordering import By, Proposal, order
from rollbackd.core.model import JsonObject


def approve(
    proposal: Proposal,
    *,
    seen: Annotated[str, typer.Option("--hash", help="Only if its plan still has this hash.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    by: By = "",
    json: AsJson = False,
) -> None:
    """Approve a proposed rollback. Every gate is asked again; exit 1 where one holds it."""
    asked: JsonObject = {}
    if seen:
        asked["hash"] = seen
    if reason.strip():
        asked["reason"] = reason.strip()
    answer = order("proposals", proposal, "approve", asked, by=by)
    if json:
        show.as_json(answer)
    elif answer.get("result") == "began":
        show.line(f"rollback {answer.get('rollback')} began: rollbackd history --steps follows it")
    else:
        show.line(f"held: {answer.get('reason')}: {answer.get('why')}")
        show.line(f"the approval stands until {show.clock_time(answer.get('stands_until'))}")
    if answer.get("result") != "began":
        raise typer.Exit(1)
