"""The schema guard of an app rollback: an image that may not fit the database as it is today is put
back only where a person agreed to it. It changes nothing.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Final

from rollbackd.core.policy import PlanPolicy, TargetPolicy
from rollbackd.core.ports import Store
from rollbackd.core.runbook import Plan
from rollbackd.executors.plan_hash import plan_hash
from rollbackd.plugins import DatabaseAccess

_SCHEMAS_GO_BACK: Final = frozenset({"database", "pitr"})


async def with_guard(
    plan: Plan, target: TargetPolicy, database: DatabaseAccess | None, store: Store, content: str
) -> Plan:
    """The plan, asking where the image of `content` may not run on today's schema."""
    policy = target.database
    if policy is None or database is None or _goes_back_first(target.plans[plan.name]):
        return plan
    if importlib.util.find_spec("psycopg") is None:
        return plan
    from rollbackd.postgres.observations import Observations  # noqa: PLC0415 -- needs the extra
    from rollbackd.postgres.schema_guard import guarded, in_short  # noqa: PLC0415 -- as above

    found = await guarded(database, policy, Observations(store, target.name), content)
    notes = [f"database: {note}" for note in found.notes]
    if found.reasons:
        notes += [f"schema guard: {reason}" for reason in found.reasons]
        notes.append("schema guard: a plan with the step database gives it its schema back")
    asks = "; ".join(filter(None, (plan.asks, in_short(found))))
    made = replace(plan, asks=asks, notes=(*plan.notes, *notes))
    return replace(made, hash=plan_hash(made))


def _goes_back_first(policy: PlanPolicy) -> bool:
    """Whether the schema of now is gone by then. Rows that come back leave it as it is, but for a
    database that is replaced: then this tells too much, to somebody who is asked anyway.
    """
    steps = policy.steps
    return "app" not in steps or not _SCHEMAS_GO_BACK.isdisjoint(steps[: steps.index("app")])
