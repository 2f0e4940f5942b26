"""`rollbackd pause`: hold automatic rollbacks, with an end, an author and a reason."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.cli.ordering import By
from rollbackd.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_PART = re.compile(r"([0-9.]+)([smhd])")


def pause(
    target: Target = None,
    *,
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1h30m.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    by: By = "",
    json: AsJson = False,
) -> None:
    """Hold automatic rollbacks for a while. A pause always ends."""
    seconds = duration(length)
    if not reason.strip():
        raise UsageError("a pause needs a reason", hint='--reason "migrating the database"')
    with Daemon(by=by) as daemon:
        name = daemon.pick(target)
        answer = daemon.post(
            target_path(name, "/pause"), {"seconds": seconds, "reason": reason.strip()}
        )
    if json:
        show.as_json(answer)
        return
    until = answer.get("paused_until")
    show.line(f"{name} is paused until {show.clock_time(until)} ({show.ago(until)})")


def duration(text: str) -> float:
    """`1h30m` as seconds. Raises UsageError: a bare number says no unit."""
    if not _DURATION.fullmatch(text):
        raise UsageError(f"{text!r} is not a duration", hint="write 30m, 2h or 1h30m")
    return sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
