"""`rollbackd rollback`: by hand, through the daemon's own journal and runner.

It shows the plan, asks on a terminal, and follows the steps until the end. With no daemon alive
it is done here (`cli.by_hand`): an emergency does not need one.
"""

from __future__ import annotations

import enum
import sys
from functools import partial
from typing import Annotated

import typer

from rollbackd.cli import restoring, show
from rollbackd.cli.by_hand import Wish, roll_back
from rollbackd.cli.client import Daemon, DaemonGone, objects, target_path
from rollbackd.cli.database_plan import database_part, queries, said_above
from rollbackd.cli.follow import follow
from rollbackd.cli.options import AsJson, Target
from rollbackd.cli.ordering import By
from rollbackd.core.errors import UsageError
from rollbackd.core.model import JsonObject


class Kind(enum.StrEnum):
    BUG = "bug"
    SECURITY = "security"
    DATA = "data"
    USER_IMPACT = "user-impact"


def rollback(
    target: Target = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    to: Annotated[
        str | None, typer.Option("--to", help="Release to go back to: 41 or v41.")
    ] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Plan of the YAML.")] = None,
    to_migration: Annotated[
        str, typer.Option("--to-migration", help="The newest migration that stays.")
    ] = "",
    plan_hash: Annotated[
        str, typer.Option("--plan-hash", help="Approve the plan of this hash, and no other.")
    ] = "",
    snapshot: restoring.Snapshot = "",
    table: restoring.Tables = None,
    missing_only: restoring.Missing = False,
    common_columns: restoring.Common = False,
    kind: Annotated[Kind, typer.Option("--class", help="What kind of trouble.")] = Kind.BUG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow it.")] = False,
    by: By = "",
    json: AsJson = False,
) -> None:
    """Put an earlier release back, by hand."""
    if not reason.strip():
        raise UsageError("a rollback needs a reason", hint='--reason "checkout fails"')
    asked: JsonObject = {"reason": reason.strip(), "class": str(kind), "dry_run": True}
    restore = restoring.wished(snapshot, table, missing=missing_only, common=common_columns)
    if restore is not None:
        plan = plan or restoring.PLAN
        asked |= restoring.fields(restore)
    if to is not None:
        asked["to"] = version(to)
    if plan is not None:
        asked["plan"] = plan
    if to_migration:
        asked["to_migration"] = to_migration
    wish = Wish(
        target=target,
        to=None if to is None else version(to),
        plan=plan,
        reason=f"{kind}: {reason.strip()}",
        by=by,
        dry_run=dry_run,
        json=json,
        confirm=partial(_confirmed, yes=yes, plan_hash=plan_hash),
        to_migration=to_migration,
        restore=restore,
        print_plan=partial(_print_plan, json=json),
    )
    raise typer.Exit(_by_the_daemon(asked, wish, no_wait=no_wait))


def _by_the_daemon(asked: JsonObject, wish: Wish, *, no_wait: bool) -> int:
    """The exit code. Where no daemon answers we do it ourselves, if we may wait for the end."""
    seconds = restoring.ANSWER_SECONDS
    with Daemon(by=wish.by) as daemon:
        try:
            name = daemon.pick(wish.target)
            path = target_path(name, "/rollback")
            planned = daemon.post(path, asked, seconds=seconds)
        except DaemonGone as gone:
            if no_wait:
                raise
            return roll_back(gone, wish)
        if wish.dry_run:
            _print_plan(planned, json=wish.json)
            return 1 if planned.get("refuses") else 0
        wish.confirm(name, planned)
        if planned.get("asks"):  # bound to what was seen: another plan is refused
            asked["plan_hash"] = planned.get("hash")
        begun = daemon.post(path, {**asked, "dry_run": False}, seconds=seconds)
        if no_wait:
            _print_begun(begun, json=wish.json)
            return 0
        held = bool(begun.get("held"))
        code = follow(daemon, str(begun.get("rollback")), json=wish.json, held=held)
        if not wish.json:
            queries(planned)
        return code


def version(text: str) -> int:
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len("999999999"):
        raise UsageError(f"{text!r} is not a release", hint="rollbackd releases lists them")
    return int(digits)


def _confirm(name: str, planned: JsonObject) -> None:
    """Ask on a terminal. Without one nobody can answer, so --yes has to say it."""
    if not _someone_there():
        raise UsageError("nobody is there to confirm", hint="add --yes, or look with --dry-run")
    _print_plan(planned, json=False)
    if not typer.confirm(restoring.question(name, planned)):
        raise typer.Exit(1)


def _confirmed(name: str, planned: JsonObject, *, yes: bool, plan_hash: str) -> None:
    """Raises where nobody said yes. Of a plan that only a person may approve, --yes is not enough
    said: nobody knows what it will be when that is typed.
    """
    if planned.get("refuses"):
        hint = "look with --dry-run"
        raise UsageError(f"it is not done: {planned['refuses']}", hint=hint)
    found = str(planned.get("hash", ""))
    if plan_hash and plan_hash != found:
        raise UsageError(f"the plan is {found} now, not {plan_hash}", hint="look with --dry-run")
    if plan_hash:
        return
    if not yes:
        _confirm(name, planned)
    elif planned.get("asks"):
        raise UsageError(
            f"--yes does not approve this plan: {planned['asks']}",
            hint=f"look with --dry-run, then --plan-hash {found}",
        )


def _someone_there() -> bool:
    return sys.stdin.isatty()


def _print_plan(plan: JsonObject, *, json: bool) -> None:
    if json:
        show.as_json(plan)
        return
    show.line(restoring.headline(plan), style="bold")
    if plan.get("refuses"):
        show.line(f"  refused: {plan['refuses']}", style="bold")
    elif plan.get("asks"):
        show.line(f"  needs approval: {plan['asks']} (plan hash {plan.get('hash')})")
    database_part(plan)
    restoring.data_part(plan)
    notes = plan.get("notes")
    for note in notes if isinstance(notes, list) else []:
        if not said_above(plan, str(note)) and not restoring.said_above(plan, str(note)):
            show.line(f"  {note}")
    rows = [
        (step.get("seq"), step.get("phase"), step.get("name"), step.get("mutates"))
        for step in objects(plan.get("steps"))
    ]
    show.table(("#", "phase", "step", "changes something"), rows)


def _print_begun(begun: JsonObject, *, json: bool) -> None:
    if json:
        show.as_json(begun)
        return
    show.line(f"rollback {begun.get('rollback')} begun: rollbackd history --steps follows it")
