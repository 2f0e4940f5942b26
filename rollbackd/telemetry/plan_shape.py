"""A frozen plan in the words of the API, the database's part too. Shows no parameter of a step."""

from __future__ import annotations

import math

from rollbackd.core.model import Json, JsonObject
from rollbackd.core.runbook import Plan


def plan(frozen: Plan) -> JsonObject:
    """What a rollback would do, step by step; the answer of a dry run."""
    return {
        "name": frozen.name,
        "target": frozen.target,
        "from_version": frozen.from_version,
        "to_version": frozen.to_version,
        "deadline_at": frozen.deadline_at if math.isfinite(frozen.deadline_at) else None,
        "hash": frozen.hash,
        "notes": list[Json](frozen.notes), "asks": frozen.asks, "refuses": frozen.refuses,
        "steps": [
            {"seq": s.seq, "phase": str(s.phase), "kind": s.kind, "name": s.name,
             "mutates": s.mutates}
            for s in frozen.steps
        ],
        "database": _told(frozen, "database_"), "data": _told(frozen, "data_"),
    }  # fmt: skip


def _told(frozen: Plan, word: str) -> JsonObject | None:
    """What of it concerns the database, as it is told to people; None where nothing does."""
    found = (step.params.get("told") for step in frozen.steps if step.kind.startswith(word))
    return next((told for told in found if isinstance(told, dict)), None)
