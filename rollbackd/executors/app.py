"""Rolls a Fly app back: image, app config and machine configs of the good release.

Plans and carries out single steps; order, journal and retries are the runner's. Never destroys
a machine, never breaks somebody's lease, never takes the last serving machine out of traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, assert_never

from rollbackd.core.errors import ConfigError, NotFound, PlanRefused, RollbackdError, Stopped
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.ports import Observation, Seen, Store
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.app_fence import Fence
from rollbackd.executors.app_guard import with_guard
from rollbackd.executors.app_invariants import Invariants
from rollbackd.executors.app_looks import Looks
from rollbackd.executors.app_machine import MachineUpdate
from rollbackd.executors.app_plan import make_plan
from rollbackd.executors.app_record import ReleaseRecord
from rollbackd.executors.app_traffic import Traffic, cordoned_by
from rollbackd.executors.app_words import Kind, kind_of
from rollbackd.fly.json_shape import list_at, text_at
from rollbackd.fly.platform import FlyPlatform
from rollbackd.plugins import DatabaseAccess, ExecutorContext


class AppExecutor:
    """Fits `core.ports.Executor` for one target's app."""

    kind: ClassVar[str] = "app"

    def __init__(
        self,
        platform: FlyPlatform,
        store: Store,
        target: TargetPolicy,
        database: DatabaseAccess | None = None,
    ) -> None:
        self._platform = platform
        self._store = store
        self._target = target
        self._database = database
        self._record = ReleaseRecord(platform, store)
        self._traffic = Traffic(platform)
        self._fence = Fence(platform)
        self._looks = Looks(platform, store)
        self._invariants = Invariants(
            database, target.database.invariants if target.database else ()
        )
        self._machine = MachineUpdate(platform, store, self._record, self._traffic)

    @classmethod
    def build(cls, context: ExecutorContext) -> AppExecutor:
        if not isinstance(context.platform, FlyPlatform):
            raise ConfigError(
                f"target {context.target.name} has a plan with the step app, but no fly: app",
                hint="add `fly: {app: …}` to the target",
            )
        return cls(context.platform, context.store, context.target, context.database)

    async def plan(self, decision: RollBack) -> Plan:
        plan = await make_plan(self._platform, self._store, self._target, decision)
        return await with_guard(
            plan, self._target, self._database, self._store, decision.good.content
        )

    async def still_applies(self, plan: Plan) -> None:
        self._refuse_other_app(plan)
        await self._record.still_newest(plan)

    async def observe(
        self,
        plan: Plan,
        step: Step,
        results: Mapping[int, JsonObject],  # noqa: ARG002 -- all is read back from Fly
    ) -> Observation:
        match kind_of(step):
            case Kind.RECORD:
                return await self._record.observe(plan)
            case Kind.STATUS:
                return await self._record.observe_status(plan, text_at(step.params, "status"))
            case Kind.MACHINE:
                return await self._machine.observe(plan, step)
            case Kind.CORDON:
                return await self._observe_cordon(plan, text_at(step.params, "machine"))
            case Kind.STOP:
                return await self._fence.observe(text_at(step.params, "machine"), plan)
            case _:
                return Observation(seen=Seen.NOT_DONE)  # a look, or safe to send twice

    async def apply(
        self,
        plan: Plan,
        step: Step,
        results: Mapping[int, JsonObject],  # noqa: ARG002 -- all is read back from Fly
    ) -> JsonObject:
        kind = kind_of(step)
        match kind:
            case Kind.SAY | Kind.NOTIFY | Kind.PROVE | Kind.REPORT:
                return {}
            case Kind.BACKUP:
                return await self._looks.backup(plan)
            case Kind.LOGS:
                return await self._looks.logs(plan, step)
            case Kind.CORDON | Kind.STOP:
                return await self._keep_out(plan, step)
            case Kind.RECORD:
                return await self._record.write(plan)
            case Kind.STATUS:
                return await self._record.set_status(plan, text_at(step.params, "status"))
            case Kind.MACHINE:
                return await self._machine.apply(plan, step)
            case Kind.VERIFY:
                return await self._looks.verify(plan)
            case Kind.SMOKE | Kind.INVARIANTS:
                smoke = kind is Kind.SMOKE
                return await (self._looks.smoke(step) if smoke else self._invariants.ask())
            case Kind.WATCH:
                return await self._looks.watch(plan, step)
            case Kind.UNCORDON:
                machines = [str(name) for name in list_at(step.params, "machines")]
                return {"given_back": list(await self._traffic.restore(plan, machines))}
            case _:
                assert_never(kind)

    async def _keep_out(self, plan: Plan, step: Step) -> JsonObject:
        machine = text_at(step.params, "machine")
        if step.kind == Kind.STOP:
            return await self._fence.stop(plan, machine)
        await self._traffic.stop(plan, machine)
        return {}

    async def let_go(self, plan: Plan) -> Sequence[str]:
        self._refuse_other_app(plan)
        lines = await self._traffic.let_go(plan)
        try:
            closed = await self._record.set_status(plan, "failed", error="rollback ended early")
        except Stopped:
            raise
        except RollbackdError as error:  # nothing of it is held: it says running for ever
            return [*lines, f"the release record was left open: {error.message}"]
        return [*lines, *([] if "degraded" in closed else ["the release record says failed"])]

    def _refuse_other_app(self, plan: Plan) -> None:
        """The configuration may name another app by now; the plan is about this one alone."""
        planned = text_at(plan.settings, "app")
        if planned and planned != self._platform.app:
            raise PlanRefused(
                f"this rollback is about {planned}, and {plan.target} is {self._platform.app} now",
                hint=f"name {planned} again to let it go on; cordons and leases: let-go.sh",
            )

    async def _observe_cordon(self, plan: Plan, machine: str) -> Observation:
        try:
            found = await self._platform.client.get_machine(self._platform.app, machine)
        except NotFound:
            return Observation(seen=Seen.GONE, detail=f"machine {machine} is not there")
        if cordoned_by(found, plan) and found.get("cordoned") is True:
            return Observation(seen=Seen.DONE)
        return Observation(seen=Seen.NOT_DONE)
