"""The hash a plan is approved by: over all that it does and rests on, and not over when. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from rollbackd.core.runbook import Plan
from rollbackd.executors.app_words import Kind

MEASURED: Final = "measured"  # of a step's parameters: what moves while the app writes
TOLD: Final = "told"  # the same for people, with the rows and reasons of now
_SAID: Final = frozenset({Kind.SAY, Kind.NOTIFY})


def plan_hash(plan: Plan) -> str:
    """The same plan made a minute later has the same hash: neither the rollback's own id counts,
    which is in the names of what is kept for it, nor what is only said.
    """
    steps = [
        (
            *(step.phase, step.kind, step.name, step.mutates),
            {name: value for name, value in step.params.items() if name not in {MEASURED, TOLD}},
        )
        for step in plan.steps
        if step.kind not in _SAID
    ]
    whole = [steps, plan.settings, plan.parallel, plan.name, bool(plan.asks)]
    return digest(json.dumps(whole, sort_keys=True).replace(plan.rollback, "*"))


def digest(value: object) -> str:
    """16 hex digits of SHA-256 over a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
