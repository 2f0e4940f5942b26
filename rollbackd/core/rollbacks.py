"""What is remembered of a target's rollbacks: which runs, which were, what is spent."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias, assert_never

from rollbackd.core.asked import Proposed, Withdrawn
from rollbackd.core.facts import (
    Approved,
    Rejected,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
)
from rollbackd.core.marks import Marks
from rollbackd.core.model import RollbackId, RollbackOutcome
from rollbackd.core.policy import Safety

RETRIES: Final = 3  # of a rollback that failed before it touched anything
RETRY_SECONDS: Final = 5.0  # after the first refusal, doubled with each
RETRY_AT_MOST_SECONDS: Final = 60.0
KEPT: Final = 1000
LOCKING: Final = frozenset(
    {RollbackOutcome.FAILED, RollbackOutcome.NOT_RECOVERED, RollbackOutcome.HOLDING}
)

Answer: TypeAlias = Approved | Rejected | Proposed | Withdrawn


class Rollbacks:
    """The rollbacks of one target, and what people said about them."""

    def __init__(self) -> None:
        self.running: RollbackStarted | None = None
        self.newest: RollbackStarted | None = None  # whether it runs, holds or is over
        self.switched_at: float | None = None
        self.ended_at: float | None = None
        self.refusals = 0  # in a row: ended before anything was touched
        self.refused_at: float | None = None
        self.refused_why = ""
        self.automatic_at: deque[float] = deque(maxlen=KEPT)
        self.spent = Marks()  # rolled back from automatically: never again
        self.locked_out = False
        self.locked_why = ""
        self.approval: Approved | None = None
        self.proposal: Proposed | None = None
        self.rejected: dict[RollbackId, str] = {}  # by whom, and why
        self._starts: dict[int, int] = {}  # automatic ones, by bad version

    def start(self, fact: RollbackStarted) -> None:
        self.running, self.switched_at = fact, None
        self.approval = self.proposal = None
        self.newest = fact
        if fact.automatic:
            self.spent.add(fact.bad)
            self.automatic_at.append(fact.at)
            self._starts[fact.bad.version] = self._starts.get(fact.bad.version, 0) + 1

    def begun(self, rollback: RollbackId) -> RollbackStarted | None:
        """How the newest rollback began, if it is this one."""
        return self.newest if self.newest and self.newest.rollback == rollback else None

    def switch(self, fact: RollbackSwitched) -> RollbackStarted | None:
        """The rollback that was switched, if it is the one that runs."""
        if self.running is None or self.running.rollback != fact.rollback:
            return None
        self.switched_at = fact.at
        return self.running

    def end(self, fact: RollbackEnded) -> None:
        started = self.running
        if started is not None and started.rollback != fact.rollback:
            return
        self.running = None
        if fact.outcome in LOCKING:
            self.locked_out, self.locked_why = True, _locking(fact)
        if fact.outcome is RollbackOutcome.CANCELLED and started is None:
            return  # a person ended what stood still: it came to rest when it began to hold
        if fact.outcome is not RollbackOutcome.FAILED_BEFORE_EFFECT:
            self.ended_at, self.refusals, self.refused_why = fact.at, 0, ""
            return
        self.refusals, self.refused_at = self.refusals + 1, fact.at
        self.refused_why = fact.detail
        if started is not None:
            self._not_done(started)

    def hear(self, fact: Answer) -> None:
        """What was proposed, and what became of it."""
        match fact:
            case Proposed():
                self.proposal = fact
            case Withdrawn():
                self.proposal = self.approval = None
            case Approved():
                self.approval = fact
                self.rejected.pop(fact.rollback, None)
            case Rejected():
                self.proposal = self.approval = None
                said = f": {fact.reason}" if fact.reason else ""
                self.rejected[fact.rollback] = fact.by + said
            case _:
                assert_never(fact)

    def cooldown_until(self, safety: Safety) -> float | None:
        """After a rollback, or, much shorter, after one that could not even begin."""
        waits = []
        if self.ended_at is not None:
            waits.append(self.ended_at + safety.cooldown_seconds)
        if self.refusals and self.refused_at is not None:
            pause = min(RETRY_AT_MOST_SECONDS, RETRY_SECONDS * 2.0 ** min(self.refusals - 1, 10))
            waits.append(self.refused_at + pause)
        return max(waits, default=None)

    def budget_left(self, now: float, safety: Safety) -> int:
        used = sum(now - at < safety.budget_per_seconds for at in self.automatic_at)
        return max(0, safety.budget_rollbacks - used)

    def _not_done(self, started: RollbackStarted) -> None:
        # Nothing was touched: it counts neither as the one rollback nor against the budget.
        if started.automatic:
            self.automatic_at.remove(started.at)
            if self._starts[started.bad.version] <= RETRIES:
                self.spent.discard(started.bad)


def _locking(fact: RollbackEnded) -> str:
    """`r1 stands still: 422 for machine 73d8`: what a person has to look at."""
    words = {RollbackOutcome.HOLDING: "stands still", RollbackOutcome.FAILED: "failed"}
    text = f"{fact.rollback} {words.get(fact.outcome, 'did not help')}"
    return f"{text}: {fact.detail}" if fact.detail else text
