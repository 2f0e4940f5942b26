"""What the step `data` asks of its plan and target. Findings only."""

from __future__ import annotations

from typing import Final

from rollbackd.config.scope import Scope
from rollbackd.core.policy import PlanPolicy, Traffic

_STEP: Final = "data"
_ALONE: Final = ("database", "pitr")


def judge(made: PlanPolicy, scope: Scope, *, has_database: bool, has_fly: bool) -> None:
    """`scope` stands at the plan."""
    steps = made.steps
    at = scope.into("steps", steps.index(_STEP))
    if not has_database:
        hint = 'add database: {url: "${DATABASE_URL}"} to the target'
        at.error("a step data, and the target has no database:", hint)
    if not has_fly:
        at.error("a step data, and the target has no fly:", "only a stopped app writes nothing")
    if made.traffic is not Traffic.STOP:
        scope.error(
            f"traffic {made.traffic}: the app would write while its data is put back",
            "write traffic: stop",
        )
    if "app" in steps and steps.index("app") < steps.index(_STEP):
        scope.error("the good release would run while its data is put back", "steps: [data, app]")
    for other in _ALONE:
        if other in steps:
            scope.error(f"data and {other} in one plan", "a plan changes a database in one way")
