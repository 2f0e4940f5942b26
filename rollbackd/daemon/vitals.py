"""Whether the daemon lives. Asks neither Fly nor the target nor the disk: a restart heals none."""

from __future__ import annotations

from collections.abc import Callable

from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Clock
from rollbackd.engine.engine import Engine

TURNING_SECONDS = 30.0  # or three ticks, whichever is longer


class DaemonVitals:
    """Fits `web.surface.Vitals`. `problem` is the newest refused configuration, or empty."""

    def __init__(self, clock: Clock, engine: Engine, problem: Callable[[], str]) -> None:
        self._clock = clock
        self._engine = engine
        self._problem = problem
        self._born_at = clock.monotonic()

    def turning(self) -> tuple[bool, str]:
        last = self._engine.turned_at
        age = self._clock.monotonic() - (self._born_at if last is None else last)
        limit = max(3 * self._engine.policy.tick_seconds, TURNING_SECONDS)
        return age <= limit, f"the loop turned {age:.1f} s ago"

    def ready(self) -> tuple[bool, JsonObject]:
        looked = self._engine.turned_at is not None
        revived = self._engine.memory.revived
        problem = self._problem()
        parts: JsonObject = {
            "loop": looked,
            "state": revived,
            "targets": len(self._engine.states),
            "control_ok": self._engine.control_ok,
            "config_ok": not problem,
            "config_error": problem or None,
        }
        return looked and revived, parts
