"""`rollbackd schema`: the JSON Schema of the YAML files, generated from the models."""

from __future__ import annotations

import enum
from typing import Annotated

import typer


class File(enum.StrEnum):
    MONITORING = "monitoring"
    ALERTS = "alerts"
    LOGGING = "logging"


def schema(
    file: Annotated[File, typer.Argument(help="Which of the YAML files.")] = File.MONITORING,
) -> None:
    """Print the JSON Schema of a YAML file, as an editor wants it."""
    from rollbackd.config.json_schema import schemas, text  # noqa: PLC0415 -- loads every plugin

    typer.echo(text(schemas()[f"rollback-{file}.schema.json"]), nl=False)
