"""The state of one sandbox and its settings; it serves nothing and starts nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from rollbackd.sandbox.errors import app_not_found, machine_not_found
from rollbackd.sandbox.ids import Ids, rfc3339_precise
from rollbackd.sandbox.objects import Config, Effect, FlyApp, Machine, Token, TokenKind

EVENTS_KEPT = 50
LOGS_KEPT = 1000
EFFECTS_KEPT = 100_000

INSIDE = "inside"  # the platform itself or the deploy simulator, not a client over HTTP
request_id: ContextVar[str] = ContextVar("request_id", default=INSIDE)


@dataclass(slots=True, kw_only=True)
class Settings:
    """`check_seconds` and `grace_seconds` cap what the machine configs ask for."""

    boot_seconds: float = 5.0
    stop_seconds: float = 0.05
    check_seconds: float = 1.0
    grace_seconds: float = 10.0
    smoke_seconds: float = 0.5
    restart_seconds: float = 0.5
    scrape_seconds: float = 1.0
    lag_seconds: float = 0.0
    wait_blind_seconds: float = 0.02
    rate_limits: bool = True
    split_proxy: bool = False


class World:
    """Everything there is. Only the modules beside it change it, in one event loop."""

    def __init__(self, *, seed: int, settings: Settings, org: str = "sandbox") -> None:
        self.chance = random.Random(seed)
        self.ids = Ids(self.chance)
        self.settings = settings
        self.org = org
        self.apps: dict[str, FlyApp] = {}
        self.tokens: dict[str, Token] = {}
        self.effects: list[Effect] = []
        self.clock_offset = 0.0
        self.closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return time.time() + self.clock_offset

    def app(self, name: str) -> FlyApp:
        if name not in self.apps:
            raise app_not_found()
        return self.apps[name]

    def machine(self, app: str, machine_id: str) -> Machine:
        machine = self.app(app).machines.get(machine_id)
        if machine is None:
            raise machine_not_found()
        return machine

    def add_token(self, secret: str, kind: TokenKind, *, app: str | None = None) -> Token:
        """The same rights with and without the macaroon prefix, so both schemes can be tried."""
        token = Token(secret=secret, kind=kind, app=app)
        self.tokens[secret] = token
        self.tokens[f"fm2_{secret}"] = token
        return token

    def event(
        self, machine: Machine, kind: str, status: str, *, source: str, **request: Any
    ) -> None:
        entry: dict[str, Any] = {
            "id": self.ids.ulid(self.now()),
            "type": kind,
            "status": status,
            "source": source,
            "timestamp": int(self.now() * 1000),
        }
        if request:
            entry["request"] = request
        machine.events.insert(0, entry)
        del machine.events[EVENTS_KEPT:]
        machine.updated_at = self.now()
        machine.wake()

    def log(self, app: FlyApp, message: str, *, machine: str = "", level: str = "info") -> None:
        attributes = {
            "timestamp": rfc3339_precise(self.now()),
            "message": message,
            "level": level,
            "instance": machine,
            "region": app.region,
            "meta": {},
        }
        entry = {"id": self.ids.ulid(self.now()), "type": "log", "attributes": attributes}
        app.logs.append(entry)
        del app.logs[:-LOGS_KEPT]

    def record(
        self,
        action: str,
        *,
        app: str,
        machine: str | None = None,
        config: Config | None = None,
        op_id: str | None = None,
        image: str | None = None,
        release_id: str | None = None,
        nonce: str | None = None,
    ) -> None:
        metadata = (config or {}).get("metadata") or {}
        client = request_id.get() != INSIDE
        effect = Effect(
            seq=len(self.effects) + 1,
            at=self.now(),
            app=app,
            machine=machine,
            action=action,
            op_id=(op_id or metadata.get("rollbackd_op")) if client else None,
            image=image or (config or {}).get("image"),
            release_id=release_id or metadata.get("fly_release_id"),
            nonce=nonce or None,
            request_id=request_id.get(),
        )
        assert len(self.effects) < EFFECTS_KEPT, "the effects log is full: this is no test any more"
        self.effects.append(effect)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run in the background, with the sandbox as the only owner."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self.closing.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
