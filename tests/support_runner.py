"""A platform in memory that survives what kills the daemon, and an executor over it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rollbackd.clock import FakeClock
from rollbackd.core.errors import PlanRefused, RollbackdError, Superseded
from rollbackd.core.facts import TargetFact
from rollbackd.core.model import JsonObject, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Phase, Plan, Step
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import step

Shape = Sequence[tuple[Phase, str]]
LOOKS = frozenset({"notify", "verify", "test", "monitor", "watch", "prove", "report"})
MACHINES: Shape = ((Phase.EXECUTE, "update"),) * 3
SHORT: Shape = (
    (Phase.CHECKLIST, "notify"),
    (Phase.EXECUTE, "update"),
    (Phase.EXECUTE, "update"),
    (Phase.POST_VERIFICATION, "prove"),
)
WHOLE: Shape = (
    (Phase.CHECKLIST, "notify"),
    (Phase.STOP_TRAFFIC, "cordon"),
    (Phase.EXECUTE, "release"),
    *MACHINES,
    (Phase.VERIFY, "verify"),
    (Phase.MONITOR, "monitor"),
    (Phase.RESTORE_TRAFFIC, "uncordon"),
    (Phase.POST_VERIFICATION, "prove"),
    (Phase.REPORT, "report"),
)


class Crash(Exception):
    """The process died here."""


@dataclass
class World:
    """What the platform holds. `effects` is every mutation that took effect, in order."""

    effects: list[Step] = field(default_factory=list)
    looks: list[Step] = field(default_factory=list)
    in_hand: list[int] = field(default_factory=list)
    most_in_hand: int = 0
    changed: set[int] = field(default_factory=set)  # steps whose object somebody else changed
    gone: set[int] = field(default_factory=set)
    newer_release: bool = False
    let_go: int = 0

    def applied(self, one: Step) -> bool:
        return any(effect.op_key == one.op_key for effect in self.effects)


Hook = Callable[[str, Step], Any]


@dataclass
class FakeExecutor:
    """`hook(moment, step)` is called before and after every effect, look and read-back, and may
    raise what a platform would; a coroutine it returns is awaited."""

    world: World
    shape: Shape = WHOLE
    parallel: int = 1
    deadline_at: float = 1e12
    hook: Hook = lambda moment, step: None
    refuses: bool = False
    watch_seconds: float = 0.0  # of a step of kind watch
    undoes: bool = False  # letting go undoes what stopped traffic
    dies_letting_go: bool = False
    keeps: list[RollbackdError] = field(default_factory=list)  # why nothing is let go, at a time

    async def plan(self, decision: RollBack) -> Plan:
        if self.refuses:
            raise PlanRefused("no image")
        steps = tuple(
            self._for_its_time(step(decision.id, seq, phase, kind, mutates=kind not in LOOKS))
            for seq, (phase, kind) in enumerate(self.shape, start=1)
        )
        return Plan(
            rollback=decision.id,
            target=decision.target,
            name=decision.plan,
            from_version=decision.bad.version,
            to_version=decision.good.version,
            steps=steps,
            parallel=self.parallel,
            deadline_at=self.deadline_at,
            hash="abcd",
            settings={"step_deadline_seconds": 30},
        )

    def _for_its_time(self, one: Step) -> Step:
        if one.kind != "watch":
            return one
        return replace(one, params={**one.params, "seconds": self.watch_seconds})

    async def still_applies(self, plan: Plan) -> None:
        await self._at("still_applies", plan.steps[0])
        if self.world.newer_release:
            raise Superseded("v44 appeared")

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        await self._at("observe", step)
        if step.seq in self.world.gone:
            return Observation(seen=Seen.GONE, detail="host unreachable")
        if step.seq in self.world.changed:
            return Observation(seen=Seen.CHANGED, detail="by ann")
        if self.world.applied(step):
            return Observation(seen=Seen.DONE, result=_result(step))
        return Observation(seen=Seen.NOT_DONE)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        self.world.in_hand.append(step.seq)
        self.world.most_in_hand = max(self.world.most_in_hand, len(self.world.in_hand))
        try:
            await self._at("before", step)
            (self.world.effects if step.mutates else self.world.looks).append(step)
            await self._at("after", step)
        finally:
            self.world.in_hand.remove(step.seq)
        return _result(step)

    async def let_go(self, plan: Plan) -> Sequence[str]:
        self.world.let_go += 1
        if self.dies_letting_go:
            self.dies_letting_go = False
            raise Crash
        if self.keeps:
            raise self.keeps.pop(0)
        if self.undoes:
            stopped = [one for one in self.world.effects if one.phase is Phase.STOP_TRAFFIC]
            self.world.effects = [one for one in self.world.effects if one not in stopped]
        return ["let go of m1"]

    async def _at(self, moment: str, one: Step) -> None:
        answer = self.hook(moment, one)
        if answer is not None:
            await answer


def _result(one: Step) -> JsonObject:
    if one.kind == "release":
        return {"release_version": 43}
    return {"machine": one.params.get("machine", "")}


@dataclass
class House:
    """A store and a runner over one directory and one world; `crash()` and open another."""

    directory: Path
    executor: FakeExecutor
    clock: FakeClock = field(default_factory=lambda: FakeClock(100.0))
    outcome: RollbackOutcome = RollbackOutcome.RECOVERED
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    facts: list[TargetFact] = field(default_factory=list)
    proofs: int = 0

    async def open(self, store: SqliteStore | None = None) -> None:
        self.store = store or SqliteStore(self.directory, self.clock)
        await self.store.open()
        self.stop = StopSwitch(self.directory)
        self.runner = Runner(
            clock=self.clock,
            store=self.store,
            executor_for=lambda target: self.executor,
            publish=self.facts.append,
            prove=self.prove,
            stop=self.stop,
            events=lambda event, words: self.told.append((event, words)),
        )

    async def close(self) -> None:
        await self.store.close()

    async def prove(self, target: TargetName, rollback: RollbackId) -> Proved:
        self.proofs += 1
        now = self.clock.now()
        return Proved(outcome=self.outcome, recovered_at=now - 3, proved_at=now)

    async def run(self, decision: RollBack) -> RollbackOutcome:
        return await self.runner.carry_out(await self.runner.begin(decision))

    async def resume(self) -> list[RollbackOutcome]:
        """What a fresh process does at its start."""
        return [await self.runner.carry_out(one) for one in await self.store.unfinished()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [words for event, words in self.told if event == name]


def failing(at: str, seq: int, *errors: RollbackdError) -> Hook:
    """Raise these errors one after the other at that moment of that step, then nothing."""
    left = list(errors)

    def hook(moment: str, one: Step) -> None:
        if moment == at and one.seq == seq and left:
            raise left.pop(0)

    return hook
