"""What `bless`, `quarantine` and `unquarantine` share: a release, a reason, and who says so."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.rollback import version as version_of
from rollbackd.core.errors import UsageError
from rollbackd.core.model import JsonObject

Named: TypeAlias = Annotated[str, typer.Argument(metavar="TARGET", help="Which target.")]
Version: TypeAlias = Annotated[str, typer.Argument(metavar="VERSION", help="41 or v41.")]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
By: TypeAlias = Annotated[
    str, typer.Option("--by", help="Who says so, where it is not you.", show_default=False)
]


def say(word: str, target: str, version: str, *, reason: str, by: str, json: bool) -> None:
    """Send the order and print the release's standing before and after it."""
    number = version_of(version)
    if not reason.strip():
        raise UsageError(f"{word} needs a reason", hint='--reason "we looked at it together"')
    with Daemon(by=by) as daemon:
        asked: JsonObject = {"version": number, "reason": reason.strip()}
        answer = daemon.post(target_path(target, f"/{word}"), asked)
    if json:
        show.as_json(answer)
        return
    was, now = answer.get("was"), answer.get("standing")
    show.line(f"{target} v{number} is {now}" + ("" if was == now else f", it was {was}"))
