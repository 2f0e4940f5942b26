"""What can be said of data on the command line, and the data's part of a plan for people."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from rollbackd.cli import show
from rollbackd.core.errors import UsageError
from rollbackd.core.model import Json, JsonObject, Restore

PLAN: Final = "data"
ANSWER_SECONDS: Final = 900.0  # a plan of data restores the snapshot beside, and counts
_MOST: Final = 20
_WAYS: Final = {
    "rows": "rows of these tables, nothing else",
    "over": "every table is emptied and filled in one transaction; the schema stays",
    "swap": "made beside it, then the two change names; the database of now stays, renamed",
}
_COUNTS: Final = {
    "new": "written since: lost",
    "other": "changed: go back",
    "gone": "gone: come back",
}

Snapshot = Annotated[
    str, typer.Option("--snapshot", help="Of which snapshot; rollbackd snapshots lists them.")
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", help="Only this table; may be given again. Default: all data."),
]
Missing = Annotated[
    bool, typer.Option("--missing-only", help="Only rows that are gone come back; none is lost.")
]
Common = Annotated[
    bool, typer.Option("--common-columns", help="Leave out columns that are gone since.")
]


def wished(
    snapshot: str, tables: list[str] | None, *, missing: bool, common: bool
) -> Restore | None:
    """None where nothing is said of data. UsageError where it is only half said."""
    if not (snapshot or tables or missing or common):
        return None
    if (missing or common) and not tables:
        raise UsageError("only single tables can come back in part", hint="name them: --table")
    return Restore(snapshot=snapshot, tables=tuple(tables or ()), missing=missing, common=common)


def fields(restore: Restore) -> JsonObject:
    """As the daemon is asked."""
    asked: JsonObject = {"missing": restore.missing, "common": restore.common}
    if restore.snapshot:
        asked["snapshot"] = restore.snapshot
    if restore.tables:
        asked["tables"] = list(restore.tables)
    return asked


def headline(plan: JsonObject) -> str:
    """From which release to which; of data alone the release stays."""
    bad, good = plan.get("from_version"), plan.get("to_version")
    where = f"v{bad} stays" if bad == good else f"v{bad} -> v{good}"
    return f"{plan.get('target')}: {where}, plan {plan.get('name')}"


def question(name: str, plan: JsonObject) -> str:
    """What a person says yes to."""
    bad, good = plan.get("from_version"), plan.get("to_version")
    if bad == good:
        return f"Stop {name}, put its data back, start it again?"
    return f"Roll {name} back from v{bad} to v{good}?"


def said_above(plan: JsonObject, note: str) -> bool:
    """Whether the data's part has said it already."""
    return isinstance(plan.get("data"), dict) and note.startswith("data: ")


def data_part(plan: JsonObject) -> None:
    """Nothing where the plan leaves the data alone."""
    part = plan.get("data")
    if not isinstance(part, dict):
        return
    show.line("")
    show.line(f"data: from snapshot {part.get('snapshot')}", style="bold")
    show.line(f"  {_WAYS.get(str(part.get('way')), part.get('way'))}")
    found, words = part.get("tables"), dict(_COUNTS)
    if part.get("missing") is True:  # what was written since stays
        words = {"gone": _COUNTS["gone"]}
    rows = [
        (table, *(one.get(word) for word in words))
        for table, one in sorted(found.items() if isinstance(found, dict) else ())
        if isinstance(one, dict) and any(one.get(word) for word in words)
    ]
    if rows:
        heads = ("table", *words.values())
        show.table(heads, rows[:_MOST])
    else:
        show.line("  no row of them would change")
    if len(rows) > _MOST:
        show.line(f"  and {len(rows) - _MOST} more tables (--json has all)")
    _block("nobody counted, their columns differ", part.get("uncounted"))
    _block("columns left out", part.get("left_out"))
    _block("stays as it is now", part.get("stays"))
    _block("will be as it was", part.get("returns"))
    if part.get("history"):
        show.line(f"  the migration history goes back: {part['history']}")
    show.line("  what is there now is kept in a snapshot first")
    show.line(f"  approval: needed, by hash {plan.get('hash')}")
    show.line("")


def _block(title: str, lines: Json) -> None:
    if isinstance(lines, list) and lines:
        show.line(f"  {title}:")
        for each in lines[:_MOST]:
            show.line(f"    {each}")
