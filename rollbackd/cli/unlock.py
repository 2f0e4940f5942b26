"""`rollbackd unlock`: end a lock-out, with an author and a reason."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.cli.ordering import By
from rollbackd.core.errors import UsageError


def unlock(
    target: Target = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    by: By = "",
    json: AsJson = False,
) -> None:
    """Allow automatic rollbacks again after one that failed or did not help."""
    if not reason.strip():
        raise UsageError("unlocking needs a reason", hint='--reason "the database is back"')
    with Daemon(by=by) as daemon:
        name = daemon.pick(target)
        answer = daemon.post(target_path(name, "/unlock"), {"reason": reason.strip()})
    if json:
        show.as_json(answer)
        return
    ended = answer.get("ended")
    also = "".join(f"; {each} is ended" for each in ended) if isinstance(ended, list) else ""
    show.line(f"{name} is unlocked{also}")
