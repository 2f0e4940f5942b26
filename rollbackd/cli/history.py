"""`rollbackd history`: what was done, newest first, step by step when asked."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import offline, show
from rollbackd.cli.client import Daemon, DaemonGone, objects
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.model import JsonObject


def history(
    target: Target = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    steps: Annotated[bool, typer.Option("--steps", help="Every step of each rollback.")] = False,
    json: AsJson = False,
) -> None:
    """What was done. Without TARGET: of all targets."""
    answer = _ask(target, limit)
    if json:
        show.as_json(answer)
        return
    rollbacks = objects(answer.get("rollbacks"))
    if not rollbacks:
        show.line("nothing was rolled back yet")
    elif steps:
        for each in rollbacks:
            _steps(each)
    else:
        _table(rollbacks)
    _would_have(objects(answer.get("would_have")))


def _table(rollbacks: list[JsonObject]) -> None:
    rows = [
        (
            show.clock_time(each.get("started_at")),
            each.get("id"),
            _versions(each),
            each.get("trigger") or "by hand",
            each.get("outcome") or each.get("state"),
            _took(each),
        )
        for each in rollbacks
    ]
    show.table(("started", "id", "releases", "trigger", "outcome", "took"), rows)


def _would_have(found: list[JsonObject]) -> None:
    """What only the mode kept from being done: was it right?"""
    if not found:
        return
    show.line("")
    show.line("Would have acted, had the mode let it:", style="bold")
    for each in found:
        asks = ", after asking a person" if each.get("asks") else ""
        versions = f"v{each.get('version')} -> v{each.get('to_version')}"
        held = f"{each.get('held_by')}{asks}"
        show.line(f"  {show.clock_time(each.get('at'))}  {each.get('target')} {versions}, {held}")
        show.line(f"    {each.get('why')}")


def _ask(target: str | None, limit: int) -> JsonObject:
    try:
        with Daemon() as daemon:
            wanted = {"target": target} if target else {}
            return daemon.get("/api/v1/rollbacks", limit=limit, **wanted)
    except DaemonGone as gone:
        answer = offline.read(gone, offline.history_of(target, limit))
        show.note(f"{gone.message}: read from the journal")
        return answer


def _steps(rollback: JsonObject) -> None:
    outcome = rollback.get("outcome") or rollback.get("state")
    show.line(f"{rollback.get('id')}  {_versions(rollback)}  {outcome}", style="bold")
    show.line(f"  {rollback.get('requested_by') or 'rollbackd'}: {rollback.get('reason') or '-'}")
    rows = [
        (
            step.get("seq"),
            step.get("phase"),
            step.get("name"),
            step.get("state"),
            _took(step),
            step.get("error") or "",
        )
        for step in objects(rollback.get("steps"))
    ]
    show.table(("#", "phase", "step", "state", "took", "error"), rows)
    show.line("")


def _versions(rollback: JsonObject) -> str:
    return f"v{rollback.get('from_version')} -> v{rollback.get('to_version')}"


def _took(row: JsonObject) -> str:
    began, ended = row.get("started_at"), row.get("finished_at")
    if isinstance(began, int | float) and isinstance(ended, int | float):
        return show.span(max(0.0, ended - began))
    return "-"
