"""The monitor phase: watches in slices, and keeps on disk how much of the time is done.

Who is killed loses one slice at most, and time in which nobody looked counts for nothing. What is
seen is judged by the executor alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from rollbackd.core.model import JsonObject
from rollbackd.core.runbook import Phase, Step
from rollbackd.engine.walk import Walk

SLICE_SECONDS: Final = 5.0
_WATCHED: Final = "watched_seconds"


def monitored_seconds(step: Step) -> float | None:
    """For how long the step watches; None where it watches for no given time."""
    seconds = step.params.get("seconds")
    if step.phase is not Phase.MONITOR or isinstance(seconds, bool):
        return None
    return float(seconds) if isinstance(seconds, int | float) else None


async def monitor(
    walk: Walk, step: Step, seconds: float, watch: Callable[[Step], Awaitable[JsonObject]]
) -> JsonObject:
    """What is left of it, slice by slice; `watch` gets the step with the seconds of one slice."""
    kept = walk.row(step).result.get(_WATCHED, 0.0)
    watched = float(kept) if isinstance(kept, int | float) else 0.0
    while True:
        part = max(min(SLICE_SECONDS, seconds - watched), 0.0)
        result = await watch(replace(step, params={**step.params, "seconds": part}))
        watched += part
        if watched >= seconds:
            return {**result, "seconds": seconds}
        await walk.checkpoint(step, {_WATCHED: watched})
