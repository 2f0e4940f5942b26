"""The hash a plan is approved by: over all that it does and rests on, and not over when. Pure."""

from __future__ import annotations

import hashlib
import json

from rollbackd.core.runbook import Plan


def plan_hash(plan: Plan) -> str:
    """The same plan made a minute later has the same hash: the rollback's own id, which is in the
    names of what is kept for it, does not count.
    """
    steps = [
        (step.seq, step.phase, step.kind, step.name, step.params, step.mutates)
        for step in plan.steps
    ]
    whole = [steps, plan.settings, plan.parallel, plan.name, plan.asks]
    return digest(json.dumps(whole, sort_keys=True).replace(plan.rollback, "*"))


def digest(value: object) -> str:
    """16 hex digits of SHA-256 over a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
