"""All that looks at the targets beside the loop: probes, releases and machines, the past."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from rollbackd.core.facts import Fact
from rollbackd.core.model import TargetName
from rollbackd.core.ports import Clock
from rollbackd.core.state import TargetState
from rollbackd.daemon.parts import Parts
from rollbackd.engine.backfill import Backfill
from rollbackd.engine.look import Looker
from rollbackd.engine.looplag import LoopLag
from rollbackd.engine.poller import Poller
from rollbackd.engine.watcher import Watcher
from rollbackd.telemetry.metrics import Metrics


class Looking:
    """`start` once, `adopt` after each reload, `stop` first of all."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        parts: Parts,
        states: Callable[[], Mapping[TargetName, TargetState]],
        publish: Callable[[Fact], None],
    ) -> None:
        self._lag = LoopLag(clock, metrics)
        self._looker = Looker(clock, self._lag, metrics)
        self._backfill = Backfill(clock=clock, states=states, publish=publish)
        self._poller = Poller(clock=clock, looker=self._looker, metrics=metrics, publish=publish)
        self._watcher = Watcher(clock=clock, platforms=parts.platforms, publish=publish)

    def start(self, parts: Parts, doubtful: Iterable[TargetName]) -> None:
        """`doubtful`: the targets whose control look had failed last."""
        self._looker.doubt(doubtful)
        self._poller.start()
        self.adopt(parts)

    def adopt(self, parts: Parts) -> None:
        self._watcher.platforms = parts.platforms
        self._backfill.adopt(parts.watched)
        self._poller.adopt(parts.watched)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "loop lag": self._lag.run(),
            "backfill": self._backfill.run(),
            "watcher": self._watcher.run(),
        }

    async def stop(self) -> None:
        await self._poller.stop()
