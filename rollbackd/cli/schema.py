"""`rollbackd schema`: the JSON Schema of the YAML files, generated from the models."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of rollback-monitoring.yml."""
    import json  # noqa: PLC0415

    from rollbackd.config.schema import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(), indent=2))
