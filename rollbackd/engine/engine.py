"""The one loop. It alone reads the inbox and writes the states, so nothing is locked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from rollbackd.core.decide import decide
from rollbackd.core.errors import ImageMissing, RollbackdError
from rollbackd.core.facts import (
    Fact,
    ReleasesSeen,
    RollbackEnded,
    RollbackSwitched,
    TargetFact,
    Tick,
)
from rollbackd.core.model import Decision, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.ports import Clock, Store
from rollbackd.core.proof import GAP_SECONDS, Proof, Proved
from rollbackd.core.round import mass_of
from rollbackd.core.runbook import Journal
from rollbackd.core.snapshot import Snapshot
from rollbackd.core.state import TargetState
from rollbackd.core.view import target_view
from rollbackd.engine.arrivals import meet
from rollbackd.engine.heard import Heard
from rollbackd.engine.keeping import DURABLE, Keeping, Recalled
from rollbackd.engine.local_time import local_minutes
from rollbackd.engine.memory import Memory
from rollbackd.engine.orders import Orders
from rollbackd.engine.proposals import Proposals
from rollbackd.engine.proving import Proving
from rollbackd.engine.recorder import Recorder, says_something_new
from rollbackd.engine.runner import Runner
from rollbackd.engine.undertakings import Undertakings
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

LATE_SECONDS: Final = 1.0  # what a tick of a regression trigger waits for its last samples


@dataclass(kw_only=True)
class Engine:
    """Facts in, one recorded decision per target and tick out."""

    clock: Clock
    store: Store
    runner: Runner
    recorder: Recorder
    metrics: Metrics
    policy: Policy
    inbox: asyncio.Queue[Fact]
    states: dict[TargetName, TargetState] = field(default_factory=dict)
    decisions: dict[TargetName, Decision] = field(default_factory=dict)
    turned_at: float | None = None  # monotonic seconds of the newest tick
    _proving: Proving = field(default_factory=Proving)
    heard: Heard = field(default_factory=Heard)
    memory: Memory = field(init=False)
    _recalled: Recalled = field(default_factory=Recalled)
    _keeping: Keeping = field(init=False)
    _rollbacks: Undertakings = field(init=False)
    _orders: Orders = field(init=False)
    proposals: Proposals = field(init=False)

    def __post_init__(self) -> None:
        self._orders = Orders(self.metrics)
        self._keeping = Keeping(self.store, self.metrics)
        self.memory = Memory(self.clock, self._keeping)
        self._rollbacks = Undertakings(runner=self.runner, refused=self._note_refusal)
        self.proposals = Proposals(
            clock=self.clock, undertakings=self._rollbacks, publish=self.publish
        )

    async def remember(self) -> None:
        """Rebuild the states from what the store kept."""
        await self.recall(self.policy)
        self.adopt(self.policy)

    async def recall(self, policy: Policy) -> None:
        """Read what is kept of the targets that `adopt` of this policy will add."""
        names = policy.targets.keys() - self.states.keys()
        self._recalled = await self._keeping.recall(names, states=True)

    async def anew(self) -> Callable[[], None]:
        """Read what is kept fact by fact. What is returned begins to watch anew with it: call it
        at once, for what is heard before it counts for nothing after it.
        """
        policy = None
        while policy is not self.policy:  # a reload came in between
            policy = self.policy
            recalled = await self._keeping.recall(policy.targets.keys(), states=False)
        return lambda: self._begin_anew(recalled)

    def _begin_anew(self, recalled: Recalled) -> None:
        ledgers = {name: state.ledger.as_json() for name, state in self.states.items()}
        # The ledgers hold what was learned while it was read.
        self._recalled = replace(recalled.by(self.clock.now()), ledgers=ledgers)
        self.states = {}
        self.adopt(self.policy)

    async def run(self) -> None:
        """Finish what a crash cut short, then turn until cancelled."""
        async with asyncio.TaskGroup() as rollbacks:
            self._rollbacks.gather(rollbacks)
            await self.resume()
            while True:
                await self.turn(await self.inbox.get())

    async def resume(self) -> None:
        """Go on with every rollback that is unfinished and that nobody here is at."""
        for journal in await self.store.unfinished():
            self._rollbacks.resume(journal, self.policy.mode_ceiling)

    async def turn(self, fact: Fact) -> None:
        """Take one fact in; on a tick, decide for every target."""
        if isinstance(fact, Tick):
            await self._tick(fact.at)
        elif fact.target in self.states:
            await self._take_in(fact)

    async def take(self, fact: TargetFact) -> None:
        """A person's fact: on disk and applied when this returns."""
        await self._keeping.keep_order(fact)
        self._let_in(fact)

    def publish(self, fact: Fact) -> None:
        self.inbox.put_nowait(fact)

    def adopt(self, policy: Policy) -> None:
        """Go on under another policy. What did not change keeps its windows; a running rollback
        keeps its own plan anyway.
        """
        now = self.clock.now()
        self.policy, before = policy, self.states
        self.states = {
            name: before.get(name) or TargetState(target, now)
            for name, target in policy.targets.items()
        }
        for name in policy.targets.keys() & before.keys():
            self.states[name].carry(policy.targets[name], now)
        for gone in before.keys() - self.states.keys():
            self.decisions.pop(gone, None)
            self._proving.give_up(gone)
        recalled, self._recalled = self._recalled, Recalled()
        fresh = {name: self.states[name] for name in self.states.keys() - before.keys()}
        self.memory.revive(fresh, recalled, self._apply)

    async def prove(self, target: TargetName, rollback: RollbackId) -> Proved:
        """Wait until the windows say whether the rollback helped."""
        if target not in self.states:  # taken out of the configuration meanwhile
            return Proved(outcome=RollbackOutcome.RECOVERED_UNPROVEN)
        if not self._proving.begun(target):  # resumed: another process saw the switch
            self._begin_proof(target, rollback, self.clock.now())
        return await self._proving.wait(target)

    async def order(self, decision: RollBack) -> Journal:
        """A rollback a person asked for: same journal, same runner."""
        frozen = self.proposals.frozen(self.states[decision.target], decision)
        self._orders.note(decision)
        journal = await self._rollbacks.order(decision, self.store.record(decision), frozen)
        self.metrics.decided(decision)
        return journal

    def judge(self, name: TargetName) -> Decision:
        """What follows from what is known at this moment."""
        now = self.clock.now()
        return decide(
            self.policy, self.states[name], now, mass_failing=self.failing_in_mass(name, now)
        )

    def failing_in_mass(self, name: TargetName, now: float) -> bool:
        """Whether it broke together with so many others that its release is not to blame."""
        return name in mass_of(self.policy, self.states, self.decisions, (name,), now).failing

    @property
    def control_ok(self) -> bool:
        """Whether our own connectivity works, as far as any target's control tells."""
        return all(state.control_ok for state in self.states.values())

    async def release(self, journal: Journal, *, by: str) -> None:
        """Let one that holds go on: what was begun and cannot be begun again must have an end."""
        self._rollbacks.refuse_second(journal.plan.target)
        began = self.states[journal.plan.target].rollbacks.begun(journal.plan.rollback)
        if began is not None:  # from now on it runs again, and users are judged after it
            await self.take(replace(began, at=self.clock.now(), automatic=False))
        self._rollbacks.release(journal, by=by)

    def snapshot(self) -> Snapshot:
        now = self.clock.now()
        views = tuple(target_view(s, self.policy, now) for _, s in sorted(self.states.items()))
        return Snapshot(
            at=now, targets=views, control_ok=self.control_ok, config_hash=self.policy.hash
        )

    async def _take_in(self, fact: TargetFact) -> None:
        state = self.states[fact.target]
        news = isinstance(fact, ReleasesSeen) and fact.releases != state.releases
        if news or isinstance(fact, DURABLE):
            await self._keeping.keep(fact)
        self._let_in(fact)

    def _let_in(self, fact: TargetFact) -> None:
        if fact.target in self.states:  # else a reload took it away meanwhile
            self._orders.count(fact)
            self.heard.note(fact)
            if isinstance(fact, ReleasesSeen):
                meet(self.states[fact.target], fact, self.metrics, self._apply)
            else:
                self._apply(fact)

    def _apply(self, fact: TargetFact) -> None:
        self._orders.remember(fact)
        match fact:
            case RollbackSwitched(target=target, rollback=rollback, at=at):
                self._begin_proof(target, rollback, at)
            case RollbackEnded(target=target, rollback=rollback):
                running = self.states[target].rollbacks.running
                if running is None or running.rollback == rollback:
                    self._proving.end(target)
            case _:
                pass
        self.memory.tell(self.states[fact.target], fact)

    async def _tick(self, now: float) -> None:
        self.turned_at = self.clock.monotonic()
        self.heard.tick(now)
        windows = (w for target in self.policy.targets.values() for w in target.safety.windows)
        minutes = local_minutes({window.tz for window in windows}, now)
        await self._keeping.catch_up()
        for state in self.states.values():
            state.local_minutes = minutes
            state.advance(now - LATE_SECONDS)
        mass = mass_of(self.policy, self.states, self.decisions, self.states, now)
        for name, state in list(self.states.items()):
            if self.states.get(name) is not state:
                continue  # a reload took it away while another one was judged
            began = self.clock.monotonic()
            await self._judge(name, now, mass=name in mass.failing)
            self.metrics.evaluated(name, self.clock.monotonic() - began)
            if name in self.states:  # else a reload took it away meanwhile
                await self._keeping.keep_ledger(name, self.states[name].ledger)

    async def _judge(self, name: TargetName, now: float, *, mass: bool) -> None:
        decision = decide(self.policy, self.states[name], now, mass_failing=mass)
        self._orders.count_transitions(self.decisions.get(name), decision)
        if isinstance(decision, RollBack) and name in self._rollbacks:
            return  # begun a moment ago; its RollbackStarted is still in the inbox
        before = self.decisions.get(name)
        self.decisions[name] = decision
        self._proving.look(name, decision.verdicts, now)
        self.proposals.look(self.policy, self.states[name], decision, mass=mass)
        if isinstance(decision, RollBack):
            await self._begin(decision)
        elif says_something_new(before, decision):
            self.recorder.put(decision)
        self.metrics.decided(decision)

    async def _begin(self, decision: RollBack) -> None:
        if not await self._keeping.record(decision):
            return  # on disk before anything is touched
        log.warning(
            events.ROLLBACK_DECIDED,
            target=decision.target,
            rollback=decision.id,
            trigger=decision.trigger,
            bad=decision.bad.version,
            good=decision.good.version,
            why=decision.why,
        )
        self._orders.note(decision)
        state = self.states[decision.target]
        self._rollbacks.begin(decision, self.proposals.frozen(state, decision))

    def _note_refusal(self, decision: RollBack, error: RollbackdError) -> None:
        self.proposals.ask_where(decision, error)
        log.warning(
            events.ROLLBACK_NOT_BEGUN, rollback=decision.id, error=error.message, hint=error.hint
        )
        state = self.states.get(decision.target)
        if isinstance(error, ImageMissing) and state is not None:
            state.missing_images.add(decision.good.image)

    def _begin_proof(self, target: TargetName, rollback: RollbackId, switched_at: float) -> None:
        began = self.states[target].rollbacks.begun(rollback)
        proof = Proof(
            trigger=self._orders.trigger(rollback),
            after=self.policy.targets[target].after,
            switched_at=switched_at,
            undo=bool(began and began.undoes),
            gap_seconds=max(GAP_SECONDS, 3 * self.policy.tick_seconds),
        )
        self._proving.begin(target, proof)
