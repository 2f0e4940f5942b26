"""`rollbackd database`: how the database was while each release was well, newest first."""

from __future__ import annotations

from rollbackd.cli import offline, show
from rollbackd.cli.client import objects
from rollbackd.cli.options import AsJson, Target
from rollbackd.core.model import Json, JsonObject


def database(target: Target = None, *, json: AsJson = False) -> None:
    """What the ledger knows. The arrow marks what a rollback to that release would go by."""
    answer = offline.asked_of(
        target,
        "/database",
        offline.database_of(target),
        lambda _: "as last kept",
    )
    if json:
        show.as_json(answer)
        return
    found = objects(answer.get("observed"))
    if not found:
        show.line(f"Nothing was observed of the database of {answer.get('target')} yet.")
        show.note("it is, once a release is well: rollbackd status says how it is")
        return
    rows = [
        (
            "->" if each.get("answers") else " ",
            f"v{each.get('version')}",
            show.ago(each.get("since")),
            show.ago(each.get("at")),
            len(objects(each.get("migrations"))),
            _newest(each),
            str(each.get("schema"))[:8],
        )
        for each in found
    ]
    show.table(("", "release", "since", "last seen", "migrations", "newest", "schema"), rows)
    for each in found:
        _more(each)


def _more(each: JsonObject) -> None:
    """What came with it, what was left half done, and how many rows its critical tables had."""
    version = f"v{each.get('version')}"
    came = [_name(one) for one in objects(each.get("came"))]
    if came:
        show.line(f"{version} came with {', '.join(came)}")
    for one in objects(each.get("migrations")):
        if one.get("failed"):
            show.line(f"{version}: {one.get('tool')} did not finish {_name(one)}", style="bold")
    rows = each.get("rows")
    if isinstance(rows, dict) and rows:
        counted = ", ".join(f"{table} {count:,}" for table, count in _counts(rows))
        show.line(f"{version} had rows: {counted}")


def _counts(rows: JsonObject) -> list[tuple[str, int]]:
    return [(table, count) for table, count in sorted(rows.items()) if isinstance(count, int)]


def _newest(each: JsonObject) -> Json:
    applied = objects(each.get("migrations"))
    return _name(applied[-1]) if applied else None


def _name(migration: JsonObject) -> str:
    return "_".join(filter(None, (str(migration.get("version")), str(migration.get("name") or ""))))
