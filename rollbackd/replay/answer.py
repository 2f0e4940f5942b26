"""A replayed decision as one line of JSON, the same to the byte on every run and every Python."""

from __future__ import annotations

import json

from rollbackd.core.model import Decision, Json, JsonObject
from rollbackd.telemetry import shapes


def answer(decision: Decision) -> JsonObject:
    """The decision in the words of the replay (docs/replay.md)."""
    told = shapes.decision(decision)
    assert told is not None, "only None has no shape"
    return {
        "at": moment(decision.at),
        "target": decision.target,
        "decision": told["kind"],
        "reason": told["reason"],
        "trigger": told["trigger"],
        "from": told["from_version"],
        "to": told["to_version"],
        "evidence": told["evidence"],
    }


def line(row: JsonObject) -> str:
    """Keys sorted, floats as Python writes them, nothing that JSON does not know."""
    return json.dumps(row, sort_keys=True, allow_nan=False, separators=(", ", ": "))


def moment(at: float) -> Json:
    """Whole seconds without a point behind them."""
    return int(at) if at == int(at) else at
