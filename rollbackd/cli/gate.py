"""`rollbackd gate`: for CI: may this commit go out?"""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target

EX_REFUSED = 1


def gate(
    target: Target = None,
    *,
    sha: Annotated[str, typer.Option("--sha", help="Git commit that is to be deployed.")],
    json: AsJson = False,
) -> None:
    """May this commit go out? Exit 1 where a release of it is quarantined, with the reason."""
    with Daemon() as daemon:
        name = daemon.pick(target)
        answer = daemon.get(target_path(name, "/gate"), sha=sha)
    if json:
        show.as_json(answer)
    else:
        word = "may go out" if answer.get("ok") else "must not go out"
        show.line(f"{answer.get('commit')} {word} to {name}: {answer.get('why')}")
    if answer.get("ok") is not True:
        raise typer.Exit(EX_REFUSED)
