"""What `approve`, `reject`, `abort` and `undo` share: an id, a reason, and who says so."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from rollbackd.cli.client import Daemon, in_path
from rollbackd.core.errors import UsageError
from rollbackd.core.model import JsonObject

Proposal: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="Of the proposal, or its target.")
]
Rollback: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="Of the rollback: rollbackd history lists them.")
]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
By: TypeAlias = Annotated[
    str, typer.Option("--by", help="Who says so, where it is not you.", show_default=False)
]


def order(kind: str, name: str, word: str, body: JsonObject, *, by: str) -> JsonObject:
    """Send it; `kind` is proposals or rollbacks."""
    with Daemon(by=by) as daemon:
        return daemon.post(f"/api/v1/{kind}/{in_path(name)}/{word}", body)


def said(reason: str, word: str) -> str:
    """The reason. Raises UsageError where it says nothing."""
    if not reason.strip():
        raise UsageError(f"{word} needs a reason", hint='--reason "we looked at it together"')
    return reason.strip()
