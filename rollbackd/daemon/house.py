"""Wires everything together and keeps it so across reloads. The only file that knows everybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import Any

import structlog

from rollbackd.clock import SystemClock
from rollbackd.config.load import Loaded, content_hash
from rollbackd.config.settings import Settings
from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.core.facts import Fact
from rollbackd.core.model import TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.ports import Executor
from rollbackd.daemon import tokens
from rollbackd.daemon.ceilings import Ceilings
from rollbackd.daemon.hearing import Hearing
from rollbackd.daemon.looking import Looking
from rollbackd.daemon.observing import Observing
from rollbackd.daemon.parts import Maker
from rollbackd.daemon.siblings import Siblings
from rollbackd.daemon.tenure import Tenure
from rollbackd.daemon.timekeeper import Timekeeper
from rollbackd.daemon.vitals import DaemonVitals
from rollbackd.engine.desk import Desk
from rollbackd.engine.engine import Engine
from rollbackd.engine.heard import Heard
from rollbackd.engine.recorder import Recorder
from rollbackd.engine.reloader import Reloader
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.engine.ticking import ticks
from rollbackd.stores.record import SqliteRecord
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics
from rollbackd.web.auth import Tokens
from rollbackd.web.private import private_app
from rollbackd.web.public import metrics_app
from rollbackd.web.server import Listener

log = structlog.get_logger()

SOCKET = "rollbackd.sock"
FUTURE_SECONDS = 5.0


class House:
    """The daemon's rooms: `open`, run `tasks`, `drain`, `close`."""

    def __init__(
        self, *, settings: Settings, clock: SystemClock, metrics: Metrics, loaded: Loaded
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._own_app = os.environ.get("FLY_APP_NAME") or None
        self._inbox: asyncio.Queue[Fact] = asyncio.Queue()
        self._hearing = Hearing(metrics)
        self._soon: set[asyncio.Task[str]] = set()
        self._store = SqliteStore(settings.state, clock)
        self._stop = StopSwitch(settings.state)
        self._tenure = Tenure(store=self._store, stop=self._stop, clock=clock)
        self._maker = self._make_maker()
        self._parts = self._maker.make(loaded)
        tokens.refuse_own_app(self._parts.platforms, self._own_app)
        self._siblings = Siblings(clock=clock, environ=os.environ, changed=self._cap)
        self._ceilings = Ceilings(
            platforms=lambda: self._parts.platforms,
            beside=lambda: self._siblings.why,
            apply=self._cap,
        )
        self._recorder = Recorder(self._store)
        self._record = SqliteRecord(settings.state, keep_seconds=settings.record_seconds)
        self._heard = Heard(clock, self._record if settings.record_seconds else None)
        self._engine = self._make_engine(loaded.policy)
        self._looking = Looking(
            clock=clock,
            metrics=metrics,
            parts=self._parts,
            states=lambda: self._engine.states,
            publish=self._publish,
        )
        self._reloader = self._make_reloader()
        self._desk = self._make_desk()
        self._listeners = self._make_listeners()
        self._timekeeper = Timekeeper(
            clock=clock,
            states=lambda: list(self._engine.states.values()),
            record=self._record_jump,
            anew=self._engine.anew,
        )
        self._observing = Observing(self._clock, self._store, self._engine, self._loaded)

    @property
    def addresses(self) -> list[str]:
        return [listener.address for listener in self._listeners]

    @property
    def busy(self) -> bool:
        """The disk has not answered yet."""
        return self._store.busy

    async def open(self) -> None:
        """Take the state directory, remember, listen. Nothing is looked at before this."""
        await self._tenure.begin()
        await self._engine.remember()
        await self._siblings.look()  # before anything could be decided
        self._metrics.adopt(self._engine.policy)
        self._metrics.show(self._engine.snapshot)
        self._metrics.reloaded("success", "start", self._clock.now())
        await self._tenure.listen(self._listeners)
        doubtful = [n for n, s in self._engine.states.items() if not s.control_ok]
        self._looking.start(self._parts, doubtful)

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs side by side until the end, by name."""
        return {
            "engine": self._engine.run(),
            "recorder": self._recorder.run(),
            "ticks": ticks(
                self._clock, lambda: self._engine.policy.tick_seconds, self._engine.publish
            ),
            "memory": self._engine.memory.run(lambda: self._engine.states),
            "heard": self._heard.run(),
            "observing": self._observing.run(),
            "reloader": self._reloader.run(),
            "ceilings": self._ceilings.run(),
            "siblings": self._siblings.run(),
            "timekeeper": self._timekeeper.run(),
            "tenure": self._tenure.run(),
            **self._looking.tasks(),
        }

    async def drain(self) -> None:
        """No new looks, the call in hand ends, what is queued is written."""
        for reload in self._soon:
            reload.cancel()
        await self._looking.stop()
        await self._engine.runner.drain()
        await self._recorder.flush()
        await self._engine.memory.write(self._engine.states, everything=True)
        await self._heard.flush()
        with contextlib.suppress(TemporaryError):
            await self._store.record_line(
                "hand_over", {"left": len(await self._store.unfinished())}
            )

    async def close(self) -> None:
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        await self._parts.close()
        await self._maker.close()
        await self._record.close()
        await self._store.close()

    def reload_soon(self, cause: str) -> None:
        task = asyncio.create_task(self._reloader.reload(cause))
        self._soon.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[str]) -> None:
        self._soon.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a refused configuration is told by the reloader: this is a bug
            log.error(events.CONFIG_REFUSED, error=type(error).__name__, exc_info=error)

    async def _adopt(self, loaded: Loaded) -> None:
        # The new parts are made first: whatever fails leaves the old ones at work.
        parts = self._maker.make(loaded)
        tokens.refuse_own_app(parts.platforms, self._own_app)
        await self._engine.recall(loaded.policy)
        old, self._parts = self._parts, parts
        self._ceilings.ask_anew(old.platforms)
        self._engine.adopt(self._ceilings.capped(loaded.policy))
        await self._engine.resume()  # what a target that came back had left
        self._metrics.adopt(self._engine.policy)
        self._looking.adopt(parts)
        await old.close()

    async def _record_jump(self, seconds: float) -> None:
        with contextlib.suppress(TemporaryError):
            await self._store.record_line("clock_jumped", {"seconds": round(seconds, 1)})

    def _loaded(self) -> Loaded:
        return self._parts.loaded

    def _publish(self, fact: Fact) -> None:
        # A look that began before the clock was set back would keep out all that come after it.
        if fact.at <= self._clock.now() + FUTURE_SECONDS:
            self._inbox.put_nowait(fact)

    def _cap(self) -> None:
        policy = self._ceilings.capped(self._parts.loaded.policy)
        if policy != self._engine.policy:
            self._engine.adopt(policy)

    def _executor_for(self, target: TargetName) -> Executor:
        if target not in self._parts.executors:
            raise PermanentError(
                f"{target} is not in the configuration",
                hint="put it back under its old name: its rollback goes on then",
            )
        return self._parts.executors[target]

    def _app_of(self, target: TargetName) -> str:
        platform = self._parts.platforms.get(target)
        return platform.app if platform else ""

    async def _prove(self, target: TargetName, rollback: Any) -> Any:
        return await self._engine.prove(target, rollback)

    def _make_maker(self) -> Maker:
        return Maker(
            settings=self._settings,
            own_app=self._own_app,
            clock=self._clock,
            store=self._store,
            meter=self._hearing,
            permit=self._tenure.may_send,
        )

    def _make_engine(self, policy: Policy) -> Engine:
        runner = Runner(
            clock=self._clock,
            store=self._store,
            executor_for=self._executor_for,
            publish=self._inbox.put_nowait,
            prove=self._prove,
            stop=self._stop,
            events=self._hearing.tell,
        )
        return Engine(
            clock=self._clock,
            store=self._store,
            runner=runner,
            recorder=self._recorder,
            metrics=self._metrics,
            policy=self._ceilings.capped(policy),
            inbox=self._inbox,
            heard=self._heard,
        )

    def _make_reloader(self) -> Reloader:
        return Reloader(
            clock=self._clock,
            metrics=self._metrics,
            settings=self._settings,
            adopt=self._adopt,
            hash=content_hash(self._settings.config),
        )

    def _make_desk(self) -> Desk:
        return Desk(
            clock=self._clock,
            engine=self._engine,
            store=self._store,
            reloader=self._reloader,
            apps=self._app_of,
            started_at=self._clock.now(),
        )

    def _make_listeners(self) -> list[Listener]:
        settings = self._settings
        given = Tokens(
            ro=settings.token_ro.get_secret_value() if settings.token_ro else "",
            rw=settings.token_rw.get_secret_value() if settings.token_rw else "",
        )
        count = self._metrics.http_request
        vitals = DaemonVitals(self._clock, self._engine, lambda: self._reloader.error)
        return [
            Listener(metrics_app(self._metrics, vitals, count=count), settings.metrics_listen),
            Listener(private_app(self._desk, tokens=given, count=count), settings.listen),
            Listener(
                private_app(self._desk, tokens=Tokens(), count=count, trusted=True),
                settings.state / SOCKET,
                ours=True,
            ),
        ]
