"""A look at a target that is in peace, without the words: cheap enough for every sample.

Two equal glances mean the same decision but for its numbers, so what skips quiet moments needs to
decide only where the glance is another one.
"""

from __future__ import annotations

from typing import TypeAlias

from rollbackd.core.model import Json, TriggerState
from rollbackd.core.observed import Place
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.rules import Regression, Severity, Signal, Trigger
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge, state_of

Told: TypeAlias = tuple[TriggerState, Json]
Glance: TypeAlias = tuple[bool, tuple[Told, ...]]

SILENT = frozenset({TriggerState.NO_DATA, TriggerState.ERROR})


def glance(target: TargetPolicy, state: TargetState, now: float) -> Glance | None:
    """None where a trigger that acts is breached: then gates are asked, and every moment counts."""
    critical = [t for t in target.triggers if t.severity is Severity.CRITICAL]
    told = []
    for trigger in critical or target.triggers:
        standing = state_of(trigger, state, now)
        if standing is TriggerState.BREACHED and critical:
            return None
        told.append((standing, _reason(trigger, state, now) if standing in SILENT else None))
    settling = state.suppressed > 0 and state.deploys.settling(now, target.safety)
    return settling, tuple(told)


def _reason(trigger: Trigger, state: TargetState, now: float) -> Json:
    """What tells one kind of silence from another."""
    if isinstance(trigger.rule, Signal):
        watch = state.watches[Place(trigger.name, veto=False, at=0)]
        return [watch.refused_at is not None, watch.asleep, watch.missed]
    if isinstance(trigger.rule, Regression):
        return None  # it has one kind of silence
    return judge(trigger, state, now).evidence.get("reason")
