"""No reachable state with a stale effect: whatever order two processes are moved, frozen, killed
and replaced in, and whoever deploys meanwhile, no call of a deposed one lands late.
"""

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rollbackd.clock import FakeClock
from rollbackd.core.runbook import Journal, RollbackState
from rollbackd.engine.going_on import MOST_RESUMES
from rollbackd.stores.sqlite import SqliteStore
from tests.faults.stateful_model import CALL, MUTATIONS, Life, Target
from tests.support_rollback import decision

EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "40"))
MEMORY = Path("/dev/shm")  # the disk has tests of its own; this one opens many files
MOST_MOVES = 500  # a whole rollback has some fifty boundaries


class Stale(AssertionError):
    """An effect or a line came too late, or twice."""


class Processes(RuleBasedStateMachine):
    """At most two at a time; a third comes when one of them is gone."""

    fenced: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.place = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.clock = FakeClock(100.0)
        self.target = Target(fenced=self.fenced)
        self.lines: list[int] = []
        self.lives: list[Life] = []

    @property
    def there(self) -> list[Life]:
        return [life for life in self.lives if not life.over]

    @property
    def moving(self) -> list[Life]:
        return [life for life in self.there if not life.frozen]

    @property
    def frozen(self) -> list[Life]:
        return [life for life in self.there if life.frozen]

    @initialize()
    def first(self) -> None:
        self._start()

    @precondition(lambda self: self.moving)
    @rule(which=st.integers(0, 1), times=st.sampled_from([1, 1, 1, 2, 5, 12]))
    def move(self, which: int, times: int) -> None:
        life = self.moving[which % len(self.moving)]
        for _ in range(times):
            if not life.over:
                self._run(life.move())
                self.nothing_stale()

    @precondition(lambda self: self.moving)
    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        self._run(self.moving[which % len(self.moving)].crash())

    @precondition(lambda self: self.moving)
    @rule(which=st.integers(0, 1), calls=st.integers(0, 3))
    def freeze(self, which: int, calls: int) -> None:
        """Where it is, or at the worst moment: its next call but so many."""
        life = self.moving[which % len(self.moving)]
        for _ in range(calls):
            self._to_a_call(life)
        life.frozen = True

    @precondition(lambda self: self.frozen)
    @rule(which=st.integers(0, 1))
    def thaw(self, which: int) -> None:
        self.frozen[which % len(self.frozen)].frozen = False

    @precondition(lambda self: not self.moving and len(self.there) < 2)
    @rule()
    def another_takes_over(self) -> None:
        self._start()

    @precondition(lambda self: self.target.effects and not self.target.deployed)
    @rule(really=st.booleans())
    def somebody_deploys(self, really: bool) -> None:
        if really:
            self.target.deploy()

    @rule(seconds=st.sampled_from([1.0, 40.0, 700.0, 2000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def nothing_stale(self) -> None:
        effects = self.target.effects
        _sorted("a phase came after a later one's", [effect.phase for effect in effects])
        _sorted("a deposed process reached the target", [effect.life for effect in effects])
        _sorted("a deposed process wrote", self.lines)
        _once("applied twice", [effect.seq for effect in effects])
        if any(effect.deployed for effect in effects):
            raise Stale("an effect over somebody's deploy")

    def teardown(self) -> None:
        """Whoever has the rollback finishes; then all who slept wake up and find it done."""
        try:
            if not self.lives:
                return
            if self.lives[-1].over or self.lives[-1].frozen:
                self._start()
            for life in reversed(self.lives):
                self._to_its_end(life)
            self._ended_well()
        finally:
            for life in self.there:
                self._run(life.crash())
            self.loop.close()
            self.place.cleanup()

    def _ended_well(self) -> None:
        journal, broken_at = self._run(self._look())
        assert journal is not None
        assert broken_at is None
        done = [effect.seq for effect in self.target.effects]
        if journal.state is RollbackState.SUCCEEDED:
            assert done == MUTATIONS
            return
        assert journal.state in {RollbackState.HOLDING, RollbackState.SUPERSEDED}
        poisoned = len(self.lives) > MOST_RESUMES + 1
        assert self.target.deployed or poisoned, "it was lost for no reason"

    async def _look(self) -> tuple[Journal | None, int | None]:
        store = SqliteStore(Path(self.place.name), self.clock, read_only=True)
        await store.open()
        try:
            return await store.journal(decision().id), await store.record_broken_at()
        finally:
            await store.close()

    def _to_its_end(self, life: Life) -> None:
        for _ in range(MOST_MOVES):
            if life.over:
                return
            self._run(life.move())
            self.nothing_stale()
        raise AssertionError("it goes round in circles")

    def _to_a_call(self, life: Life) -> None:
        while not life.over:
            self._run(life.move())
            self.nothing_stale()
            if life.gate.at == CALL:
                return

    def _start(self) -> None:
        number = len(self.lives) + 1
        life = Life(number, Path(self.place.name), self.clock, self.target, self.lines)
        self._run(life.start())
        self.lives.append(life)

    def _run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(what)


class Unfenced(Processes):
    """The target takes whatever version a call expects."""

    fenced = False


def _sorted(what: str, values: list[int]) -> None:
    if values != sorted(values):
        raise Stale(f"{what}: {values}")


def _once(what: str, values: list[int]) -> None:
    if len(values) != len(set(values)):
        raise Stale(f"{what}: {values}")


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0)  # of 700 examples
def test_no_state_can_be_reached_in_which_an_effect_is_stale() -> None:
    run_state_machine_as_test(Processes, settings=SETTINGS)


def test_without_the_targets_fence_there_is_one() -> None:
    as_ever = settings(
        SETTINGS, max_examples=200, derandomize=True, phases=[Phase.generate], print_blob=False
    )
    with pytest.raises(Stale):
        run_state_machine_as_test(Unfenced, settings=as_ever)
