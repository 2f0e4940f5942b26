"""Writes what is made from the models: the JSON Schemas and docs/thresholds.md (`make docs`)."""

from pathlib import Path

from rollbackd.config.json_schema import schemas, text
from rollbackd.config.reference import reference

ROOT = Path(__file__).parents[1]


def main() -> None:
    for name, schema in schemas().items():
        (ROOT / "config" / name).write_text(text(schema))
    (ROOT / "docs" / "thresholds.md").write_text(reference())


if __name__ == "__main__":
    main()
