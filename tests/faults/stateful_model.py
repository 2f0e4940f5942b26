"""Two processes over one state directory and one target, moved by hand from boundary to boundary.

Store, runner and stop switch are the daemon's own; the target is a model. A process that is not
moved is frozen, wherever it is: the worst moment, between the last look at the lock and the call,
is a boundary as any other. Every call is guarded by a version here, as Fly guards the update of a
machine; what Fly does not guard so, ADR 20 names.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollbackd.clock import FakeClock
from rollbackd.core.errors import RollbackdError, Superseded, VersionConflict
from rollbackd.core.model import JsonObject, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import SHOP, decision
from tests.support_runner import Crash

# What is done to which machine. The first one is touched in three phases: an effect of the first
# that lands after the last is an outage made by the safety tool.
SHAPE = (
    (Phase.CHECKLIST, "notify", ""),
    (Phase.STOP_TRAFFIC, "update", "m1"),
    (Phase.EXECUTE, "update", "m1"),
    (Phase.EXECUTE, "update", "m2"),
    (Phase.VERIFY, "verify", ""),
    (Phase.RESTORE_TRAFFIC, "update", "m1"),
    (Phase.POST_VERIFICATION, "prove", ""),
)
MUTATIONS = [seq for seq, (_, _, machine) in enumerate(SHAPE, start=1) if machine]
CALL = "before call"  # checked, and not sent yet


@dataclass(frozen=True)
class Effect:
    life: int
    seq: int
    phase: int  # its rank
    deployed: bool  # somebody had deployed by then


@dataclass
class Machine:
    version: int = 0
    marks: set[str] = field(default_factory=set)  # operations whose content it has


@dataclass
class Target:
    """Machines whose updates carry the version they expect; `fenced` False takes any."""

    fenced: bool = True
    machines: dict[str, Machine] = field(default_factory=lambda: {"m1": Machine(), "m2": Machine()})
    effects: list[Effect] = field(default_factory=list)
    refused: int = 0
    deployed: bool = False

    def update(self, life: int, step: Step) -> None:
        machine = self.machines[str(step.params["machine"])]
        if self.fenced and machine.version != step.params["version"]:
            self.refused += 1
            raise VersionConflict(f"{step.name}: it is at {machine.version}")
        machine.version += 1
        machine.marks.add(step.op_key)
        rank = list(Phase).index(step.phase)
        self.effects.append(Effect(life, step.seq, rank, self.deployed))

    def observe(self, step: Step) -> Observation:
        machine = self.machines[str(step.params["machine"])]
        if step.op_key in machine.marks:
            return Observation(seen=Seen.DONE)
        if machine.version <= int(str(step.params["version"])):  # behind: ours are still to come
            return Observation(seen=Seen.NOT_DONE)
        return Observation(seen=Seen.CHANGED, detail=f"it is at {machine.version}")

    def deploy(self) -> None:
        self.deployed = True
        for machine in self.machines.values():
            machine.version += 100
            machine.marks.clear()


@dataclass
class Gate:
    """Where a process stands still until it is moved."""

    dead: bool = False
    at: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: asyncio.Future[None] | None = None

    async def pass_by(self, at: str) -> None:
        if not self.dead:
            self.at = at
            self._waiting = asyncio.get_running_loop().create_future()
            self.arrived.set()
            await self._waiting
        if self.dead:
            raise Crash

    def open(self) -> None:
        self.arrived.clear()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class GatedStore(SqliteStore):
    gate: Gate
    lines: list[int]  # which life wrote, in order
    life: int

    async def _write(self, work: Any, **more: Any) -> Any:
        await self.gate.pass_by("before write")
        answer = await super()._write(work, **more)
        self.lines.append(self.life)
        await self.gate.pass_by("after write")
        return answer


@dataclass
class ModelExecutor:
    life: int
    gate: Gate
    store: GatedStore
    target: Target

    async def plan(self, of: RollBack) -> Plan:
        return Plan(
            rollback=of.id,
            target=of.target,
            name=of.plan,
            from_version=of.bad.version,
            to_version=of.good.version,
            steps=tuple(_steps(of.id)),
            parallel=1,
            deadline_at=1e12,
            hash="abcd",
            settings={"step_deadline_seconds": 30},
        )

    async def still_applies(self, plan: Plan) -> None:
        await self.gate.pass_by("look")
        if self.target.deployed:
            raise Superseded("v44 appeared")

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        await self.gate.pass_by("look")
        return self.target.observe(step)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        self.store.check_ours(step.name)
        await self.gate.pass_by(CALL if step.mutates else "look")
        if step.mutates:
            self.target.update(self.life, step)
            await self.gate.pass_by("after call")
        return {}

    async def let_go(self, plan: Plan) -> Sequence[str]:
        return []


def _steps(rollback: RollbackId) -> list[Step]:
    """Each update knows the version the ones before it will have left."""
    steps, versions = [], {"m1": 0, "m2": 0}
    for seq, (phase, kind, machine) in enumerate(SHAPE, start=1):
        params: dict[str, Any] = {}
        if machine:
            params = {"machine": machine, "version": versions[machine]}
            versions[machine] += 1
        steps.append(
            Step(
                seq=seq,
                phase=phase,
                kind=kind,
                name=f"{kind} {seq}",
                params=params,
                op_key=f"rb:{rollback}:{seq}:abcd",
                mutates=bool(machine),
            )
        )
    return steps


@dataclass
class Life:
    """One process, from its start to its end or death."""

    number: int
    directory: Path
    clock: FakeClock
    target: Target
    lines: list[int]
    frozen: bool = False
    outcome: RollbackOutcome | None = None
    gate: Gate = field(default_factory=Gate)
    task: asyncio.Task[None] = field(init=False)

    async def start(self) -> None:
        """Take the directory, by force where its holder is frozen; stop at the first boundary."""
        store = GatedStore(self.directory, self.clock)
        store.gate, store.lines, store.life = self.gate, self.lines, self.number
        await store.stand_by(lambda _: None)
        await store.open()
        self.task = asyncio.create_task(self._live(store))
        await self._arrive()

    @property
    def over(self) -> bool:
        return self.task.done()

    async def move(self) -> None:
        """On to its next boundary, or its end."""
        self.gate.open()
        await self._arrive()

    async def crash(self) -> None:
        self.gate.dead = True
        self.gate.open()
        await self.task

    async def _arrive(self) -> None:
        arrived = asyncio.create_task(self.gate.arrived.wait())
        await asyncio.wait({arrived, self.task}, return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if self.task.done():
            self.task.result()  # what it did not expect is a failure of the test

    async def _live(self, store: GatedStore) -> None:
        executor = ModelExecutor(self.number, self.gate, store, self.target)
        runner = Runner(
            clock=self.clock,
            store=store,
            executor_for=lambda _: executor,
            publish=lambda _: None,
            prove=_proved,
            stop=StopSwitch(self.directory),
            events=lambda event, words: None,
        )
        try:
            left = list(await store.unfinished())
            if not left and not await store.history(SHOP, 1):
                left = [await runner.begin(decision())]
            for one in left:
                self.outcome = await runner.carry_out(one)
        except* (Crash, RollbackdError):
            pass  # dead, or deposed before it began
        finally:
            await store.close()


async def _proved(_target: TargetName, _rollback: RollbackId) -> Proved:
    return Proved(outcome=RollbackOutcome.RECOVERED)
