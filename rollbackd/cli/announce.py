"""`rollbackd announce`: for CI, before a deploy: whose it is, and of which commit."""

from __future__ import annotations

from typing import Annotated

import typer

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, target_path
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.model import JsonObject


def announce(
    target: Target = None,
    *,
    sha: Annotated[str, typer.Option("--sha", help="Git commit that will be deployed.")],
    actor: Annotated[str, typer.Option("--actor", help="Who deploys.", show_default=False)] = "",
    url: Annotated[str, typer.Option("--url", help="Of the pipeline.", show_default=False)] = "",
    json: AsJson = False,
) -> None:
    """Say that a deploy is coming; the next release within half an hour is taken for it."""
    with Daemon() as daemon:
        name = daemon.pick(target)
        asked: JsonObject = {"sha": sha, "actor": actor or None, "url": url or None}
        answer = daemon.post(target_path(name, "/announce"), asked)
    if json:
        show.as_json(answer)
        return
    show.line(f"{name} expects commit {answer.get('commit')} by {answer.get('by')}")
    if answer.get("ok") is False:
        show.note(f"careful: {answer.get('why')}; rollbackd gate would refuse it")
