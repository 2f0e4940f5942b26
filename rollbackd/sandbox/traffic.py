"""Load at a set rate through the proxy, bounded; it counts and judges nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rollbackd.sandbox.objects import FlyApp
from rollbackd.sandbox.proxy import Proxy
from rollbackd.sandbox.upstream import Message
from rollbackd.sandbox.world import World

IN_FLIGHT_MOST = 100
PATIENCE_SECONDS = 5.0
FAILED_FROM = 500


@dataclass(slots=True, kw_only=True)
class Flow:
    """One app's load and what became of it."""

    app: str
    rate: float = 0.0
    path: str = "/"
    sent: int = 0
    served: int = 0
    failed: int = 0
    skipped: int = 0
    in_flight: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    task: asyncio.Task[None] | None = None

    def wire(self) -> dict[str, Any]:
        names = ("app", "rate", "path", "sent", "served", "failed", "skipped")
        return {name: getattr(self, name) for name in names} | {"statuses": dict(self.statuses)}


class Traffic:
    def __init__(self, world: World, proxy: Proxy) -> None:
        self.world = world
        self.proxy = proxy
        self.flows: dict[str, Flow] = {}

    def flow(self, app: str) -> Flow:
        return self.flows.setdefault(app, Flow(app=app))

    def set(self, app: FlyApp, *, rate: float, path: str = "/") -> Flow:
        """Requests a second from now on; 0 ends it, the counts stay."""
        flow = self.flow(app.name)
        flow.rate, flow.path = rate, path
        if rate > 0 and (flow.task is None or flow.task.done()):
            flow.task = self.world.begin(self._drive(app, flow))
        return flow

    async def _drive(self, app: FlyApp, flow: Flow) -> None:
        due = time.monotonic()
        while flow.rate > 0:
            due = max(due + 1 / flow.rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if flow.in_flight >= IN_FLIGHT_MOST:
                flow.skipped += 1
                continue
            flow.sent += 1
            flow.in_flight += 1
            self.world.begin(self._one(app, flow))

    async def _one(self, app: FlyApp, flow: Flow) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self.proxy.handle(app, Message(target=flow.path))
            status = str(answer.status)
        except TimeoutError:
            status = "timeout"
        finally:
            flow.in_flight -= 1
        flow.statuses[status] += 1
        if status == "timeout" or int(status) >= FAILED_FROM:
            flow.failed += 1
        else:
            flow.served += 1
