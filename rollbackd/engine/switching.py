"""Tells that the last machine runs the good release again: from here on users are judged anew."""

from __future__ import annotations

from collections.abc import Callable

from rollbackd.core.facts import RollbackSwitched, TargetFact
from rollbackd.engine.ending import nothing_reached, release_version, switched_at
from rollbackd.engine.steps import StandStill
from rollbackd.engine.walk import Walk
from rollbackd.telemetry import events


def tell_switched(walk: Walk, publish: Callable[[TargetFact], None]) -> None:
    """Once a process: the store keeps it once, and a successor cannot know it was told. Raises
    StandStill where nothing was switched.
    """
    at = switched_at(walk.rows)
    if at is None or walk.switched:
        return
    if nothing_reached(walk.rows):
        raise StandStill("not one machine could be reached", hint="is the platform well?")
    walk.switched = True
    version = release_version(walk.rows)
    walk.tell(events.TRAFFIC_SWITCHED, version=version)
    plan = walk.plan
    publish(
        RollbackSwitched(
            target=plan.target, at=at, rollback=plan.rollback, version=version, app=plan.moves_app
        )
    )
