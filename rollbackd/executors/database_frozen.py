"""What was agreed to be reversed, as JSON and back: texts, states, locks. Pure."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import Json, JsonObject
from rollbackd.executors.plan_hash import digest
from rollbackd.postgres.agreed import Reversal
from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.outcome import State
from rollbackd.postgres.words import Applied, Fingerprint, Reverse

_APPLIED = ("version", "name", "order", "checksum", "failed", "applied_at", "table", "before")
_REVERSE = ("text", "where", "line", "transactional", "sha256")


def as_json(reversal: Reversal) -> JsonObject:
    """Everything but `rows_lost`, which moves while the app writes: see `measured`."""
    steps: list[Json] = [
        {name: getattr(step, name) for name in _REVERSE} | {"applied": _applied(step.applied)}
        for step in reversal.steps
    ]
    return {
        "steps": steps,
        "before": _state(reversal.before),
        "after": _state(reversal.after),
        "locks": dict(reversal.locks),
        "expected": _packed(reversal.expected),
        "left": [*reversal.left],
    }


def sum_of(frozen: JsonObject) -> str:
    """What a plan binds an approval to."""
    return digest({name: value for name, value in frozen.items() if name != "expected"})


def from_json(frozen: Json, sum_wanted: str, rows_lost: JsonObject) -> Reversal:
    """Raises PlanRefused where it is not what was agreed to."""
    if not isinstance(frozen, dict) or sum_of(frozen) != sum_wanted:
        raise PlanRefused(
            "what was agreed to be reversed is not what is kept of it", hint="make a new plan"
        )
    raw: Any = frozen  # the sum says that it is ours
    return Reversal(
        steps=tuple(
            Reverse(applied=_row(step["applied"]), **{name: step[name] for name in _REVERSE})
            for step in raw["steps"]
        ),
        before=_stood(raw["before"]),
        after=_stood(raw["after"]),
        locks=dict(raw["locks"]),
        rows_lost={table: int(str(rows)) for table, rows in rows_lost.items()},
        expected=_unpacked(raw["expected"]),
        left=tuple(raw.get("left", ())),
    )


def _state(state: State) -> JsonObject:
    return {"schema": state.schema, "applied": [_applied(one) for one in state.applied]}


def _stood(raw: Any) -> State:
    return State(schema=raw["schema"], applied=tuple(_row(one) for one in raw["applied"]))


def _applied(one: Applied) -> JsonObject:
    return {"tool": one.tool.value} | {name: getattr(one, name) for name in _APPLIED}


def _row(raw: Any) -> Applied:
    return Applied(tool=MigrationTool(raw["tool"]), **{name: raw[name] for name in _APPLIED})


def _packed(found: Fingerprint | None) -> Json:
    if found is None:
        return None
    rows = [[kind, name, made] for (kind, name), made in sorted(found.objects.items())]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode())).decode()


def _unpacked(kept: Any) -> Fingerprint | None:
    """Only for telling a difference: where it cannot be read none is told."""
    if not isinstance(kept, str):
        return None
    try:
        rows = json.loads(zlib.decompress(base64.b64decode(kept)))
        return made_of({(str(kind), str(name)): str(made) for kind, name, made in rows})
    except (ValueError, TypeError, zlib.error):
        return None
