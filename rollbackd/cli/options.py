"""The arguments that commands share, declared once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Target: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="TARGET", help="May be left out when there is only one.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")]
