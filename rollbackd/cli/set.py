"""`rollbackd set`: another mode for a while, with an author and a reason."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson
from rollbackd.cli.ordering import By, Reason, said
from rollbackd.cli.pause import duration
from rollbackd.core.errors import UsageError
from rollbackd.core.model import JsonObject


def set(  # noqa: A001 -- the command's name
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Which target.")],
    setting: Annotated[
        str, typer.Argument(metavar="mode=MODE", help="mode=observe, mode=approve or mode=auto.")
    ],
    *,
    reason: Reason,
    length: Annotated[
        str, typer.Option("--for", help="How long: 30m, 2h. What is less careful needs it.")
    ] = "",
    by: By = "",
    json: AsJson = False,
) -> None:
    """Set the mode for a while, at most what ROLLBACKD_MODE allows."""
    name, equals, mode = setting.partition("=")
    if name != "mode" or not equals:
        raise UsageError(f"{setting!r} is nothing that can be set", hint="mode=observe")
    asked: JsonObject = {"mode": mode, "reason": said(reason, "setting the mode")}
    if length:
        asked["seconds"] = duration(length)
    with Daemon(by=by) as daemon:
        answer = daemon.post(target_path(target, "/set"), asked)
    if json:
        show.as_json(answer)
        return
    until = answer.get("until")
    end = f" until {show.clock_time(until)} ({show.ago(until)})" if until else ""
    show.line(f"{target} is in mode {answer.get('mode')}{end}, configured {answer['configured']}")
