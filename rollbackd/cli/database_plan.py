"""The database's part of a plan, for people: steps, what they cost, what stays different."""

from __future__ import annotations

from rollbackd.cli import show
from rollbackd.cli.client import objects
from rollbackd.core.model import Json, JsonObject

_MOST = 8  # lines of one kind; --json has all
_SIGNS = (("lost", "-"), ("extra", "+"), ("changed", "~"))
_COSTS = {
    "safe": "nothing is lost",
    "lossy": "rows or columns are lost",
    "security": "it opens what was closed",
    "non_transactional": "it cannot be taken back as a whole",
    "unknown": "nobody can tell what it costs",
}


def database_part(plan: JsonObject) -> None:
    """Nothing where the plan leaves the database alone."""
    part = plan.get("database")
    if not isinstance(part, dict):
        return
    harm = str(part.get("harm"))
    show.line("")
    show.line(f"database: {harm}, {_COSTS.get(harm, 'look below')}", style="bold")
    show.line(f"  {_order(objects(plan.get('steps')))}")
    for number, step in enumerate(objects(part.get("steps")), start=1):
        show.line(f"  {number}. {_migration(step)}")
        show.line(f"     reversed by {step.get('where')}")
        if step.get("transactional") is False:
            show.line("     outside of a transaction, by itself")
    _block("why", _list(part.get("reasons")))
    _block("lost for good", _lost(part))
    _block("what it changes", _changes(part.get("changes")))
    residue = part.get("residue")
    if residue is None:
        show.line("  left over: not known, the good release's schema was never observed")
    else:
        _block("left over, beside the good release's schema", _changes(residue) or ["nothing"])
    snapshot = "a dump is made and read back first" if part.get("snapshot") else "none is needed"
    show.line(f"  snapshot: {snapshot}")
    asks = f"needed, by hash {plan.get('hash')}" if plan.get("asks") else "not needed"
    show.line(f"  approval: {'of no use, it is refused' if plan.get('refuses') else asks}")
    show.line("")


def said_above(plan: JsonObject, note: str) -> bool:
    """Whether the database's part has said it already, in its own words."""
    part = plan.get("database")
    if not isinstance(part, dict) or not note.startswith("database: "):
        return False
    text = note.removeprefix("database: ")
    harm = str(part.get("harm")).replace("_", " ")
    return text in _list(part.get("reasons")) or text.startswith(
        ("lost: ", "stays behind: ", f"{harm}, rehearsed")
    )


def queries(plan: JsonObject) -> None:
    """What a person can run in psql once it is over."""
    part = plan.get("database")
    lines = _list(part.get("verify")) if isinstance(part, dict) else []
    if lines:
        show.line("To see for yourself, in psql:", style="bold")
    for each in lines:
        show.line(f"  {each}")


def _order(steps: list[JsonObject]) -> str:
    """Where the app stands meanwhile, read off the steps themselves."""
    kinds = [str(step.get("kind")) for step in steps]
    first = kinds.index("database_reverse") if "database_reverse" in kinds else -1
    machines = [at for at, kind in enumerate(kinds) if kind == "machine"]
    if not machines and "stop_machine" in kinds:
        return "the app is stopped, the database goes back, the release that runs starts again"
    if not machines:
        return "the database alone: the release that runs stays"
    if "stop_machine" in kinds:
        return "the app is stopped, the database goes back, the good release starts"
    if first > machines[-1]:
        return "the app goes back first, the database after it"
    return "the database goes back while the app runs"


def _lost(part: JsonObject) -> list[Json]:
    lines: list[Json] = []
    columns, rows = part.get("columns_lost"), part.get("rows_lost")
    if isinstance(rows, dict):
        lines += [
            f"{count:,} row{'s' if count != 1 else ''} of {table}"
            for table, count in sorted(rows.items())
            if isinstance(count, int)
        ]
    if isinstance(columns, dict):
        for table, names in sorted(columns.items()):
            found = [str(name) for name in _list(names)]
            lines.append(f"column{'s' if len(found) > 1 else ''} {', '.join(found)} of {table}")
    return lines


def _changes(difference: Json) -> list[Json]:
    if not isinstance(difference, dict):
        return []
    return [f"{sign} {line}" for key, sign in _SIGNS for line in _list(difference.get(key))]


def _block(title: str, lines: list[Json]) -> None:
    if not lines:
        return
    show.line(f"  {title}:")
    for each in lines[:_MOST]:
        show.line(f"    {each}")
    if len(lines) > _MOST:
        show.line(f"    and {len(lines) - _MOST} more (--json has all)")


def _migration(step: JsonObject) -> str:
    version, name = str(step.get("version")), str(step.get("name") or "")
    known = name and name not in version
    return f"{step.get('tool')} {version}{f' {name}' if known else ''}"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
