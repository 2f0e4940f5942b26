"""What a rollback by hand needs where no daemon is alive: store, platform, executor and runner.

Holds the lock of the state directory, so no daemon begins meanwhile. Watches nothing and judges
no trigger: what it did is never called proved.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Self

from prometheus_client import CollectorRegistry

from rollbackd import __version__
from rollbackd.config.load import Loaded
from rollbackd.config.settings import Settings
from rollbackd.core.errors import PlanRefused, UsageError
from rollbackd.core.facts import Fact, MachinesSeen, ReleasesSeen, TargetFact
from rollbackd.core.model import (
    JsonObject,
    Restore,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
)
from rollbackd.core.ports import Clock, Executor
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Journal, Plan
from rollbackd.core.state import TargetState
from rollbackd.daemon import tokens
from rollbackd.daemon.hearing import Hearing
from rollbackd.daemon.parts import Maker
from rollbackd.daemon.tenure import Tenure
from rollbackd.engine import going_on
from rollbackd.engine.desk import asked_for
from rollbackd.engine.engine import Engine
from rollbackd.engine.recorder import Recorder
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.engine.walk import Tell
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry.metrics import Metrics


class Hands(AbstractAsyncContextManager["Hands"]):
    """The rooms a person works with, as long as the `async with` lasts."""

    def __init__(self, *, settings: Settings, loaded: Loaded, clock: Clock, tell: Tell) -> None:
        own_app = os.environ.get("FLY_APP_NAME") or None
        metrics = Metrics(CollectorRegistry(), version=__version__)
        self._clock = clock
        self._store = SqliteStore(settings.state, clock)
        self._stop = StopSwitch(settings.state)
        self._maker = Maker(
            settings=settings,
            own_app=own_app,
            clock=clock,
            store=self._store,
            meter=Hearing(metrics),
            permit=Tenure(store=self._store, stop=self._stop, clock=clock).may_send,
        )
        self._parts = self._maker.make(loaded)
        tokens.refuse_own_app(self._parts.platforms, own_app)
        self._told: list[TargetFact] = []
        self._runner = Runner(
            clock=clock,
            store=self._store,
            executor_for=self._executor_for,
            publish=self._told.append,
            prove=_unproven,
            stop=self._stop,
            events=tell,
        )
        self._engine = Engine(
            clock=clock,
            store=self._store,
            runner=self._runner,
            recorder=Recorder(self._store),
            metrics=metrics,
            policy=loaded.policy,
            inbox=asyncio.Queue[Fact](),
        )

    async def __aenter__(self) -> Self:
        """Take the directory and remember. Raises Rejected when a daemon has it."""
        try:
            await self._store.open()
            await self._engine.remember()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def pick(self, target: str | None) -> TargetName:
        """The target asked for, or the only one there is."""
        names = sorted(self._engine.states)
        if target is None and len(names) == 1:
            return names[0]
        if target is None or target not in names:
            said = "which target?" if target is None else f"no target {target!r}"
            raise UsageError(said, hint=f"name one of: {', '.join(names)}")
        return TargetName(target)

    async def decide(
        self,
        name: TargetName,
        *,
        to: int | None,
        plan: str | None,
        reason: str,
        by: str,
        to_migration: str = "",
        restore: Restore | None = None,
    ) -> RollBack:
        """What a person asked for, from what is remembered and what the platform shows now."""
        state = await self._look(name)
        return asked_for(
            self._engine.policy, state, self._clock.now(), to=to, plan=plan, reason=reason, by=by,
            to_migration=to_migration, restore=restore,
        )  # fmt: skip

    async def _look(self, name: TargetName) -> TargetState:
        platform = self._parts.platforms.get(name)
        if platform is None:
            raise PlanRefused(f"target {name} has no fly: app", hint="there is nothing to ask")
        at = self._clock.now()
        machines = await platform.machines()
        releases = await platform.releases()
        await self._engine.turn(MachinesSeen(target=name, at=at, machines=machines))
        await self._engine.turn(ReleasesSeen(target=name, at=at, releases=releases))
        return self._engine.states[name]

    async def plan(self, decision: RollBack) -> Plan:
        """What would be done. Touches nothing."""
        return await self._runner.dry_run(decision)

    async def left_behind(self, name: TargetName) -> Journal | None:
        """The rollback of this target that a daemon left in the middle, if there is one."""
        left = (j for j in await self._store.unfinished() if j.plan.target == name)
        return next((j for j in left if not going_on.waits_for_a_person(j)), None)

    async def carry_out(self, decision: RollBack) -> JsonObject:
        """Begin it and walk it to its end; what stood still for a person is ended first."""
        self._stop.check(f"rollback of {decision.target}")
        for journal in await self._store.unfinished():
            if journal.plan.target == decision.target:
                await self._runner.abort(
                    journal.plan.rollback, by=decision.requested_by, reason=decision.why
                )
        await self._store.record(decision)
        return await self.go_on(await self._runner.begin(decision))

    async def go_on(self, journal: Journal) -> JsonObject:
        """Walk it to its end, or until it holds; what became of it, as the history has it."""
        self._stop.check(f"rollback of {journal.plan.target}")
        try:
            await self._runner.carry_out(journal)
        finally:
            await self._keep_told()
        end = await self._store.past(journal.plan.rollback)
        assert end is not None, "its journal was walked a moment ago"
        return end

    async def _keep_told(self) -> None:
        # The journal has the beginning and the end already; this adds when traffic was switched.
        told, self._told[:] = list(self._told), []
        for fact in told:
            await self._store.keep(fact)

    def _executor_for(self, target: TargetName) -> Executor:
        executor = self._parts.executors.get(target)
        if executor is None:
            raise PlanRefused(f"target {target} has nothing that could roll it back")
        return executor

    async def _close(self) -> None:
        await self._parts.close()
        await self._maker.close()
        await self._store.close()


async def _unproven(_target: TargetName, _rollback: RollbackId) -> Proved:
    """Nobody watched: its machines are well, and more is not known."""
    return Proved(outcome=RollbackOutcome.RECOVERED_UNPROVEN)
