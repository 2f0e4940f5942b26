"""Rollbacks in a replay: ours are carried out at once, and what the facts tell of them is not done
a second time; one that the facts are about to tell is left to them. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rollbackd.core.facts import (
    Approved,
    Rejected,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
)
from rollbackd.core.model import Decision, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.state import TargetState

SWITCHED: Final = frozenset(
    {
        RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN,
        RollbackOutcome.NOT_RECOVERED,
    }
)  # fmt: skip


class Retold:
    """Remembers which rollbacks were ours."""

    def __init__(self) -> None:
        self._bad: dict[TargetName, set[int]] = {}  # versions that we went back from
        self._told: set[RollbackId] = set()  # told by the facts, and carried out by us
        self._coming: dict[TargetName, RollbackStarted] = {}

    def foretell(self, started: RollbackStarted) -> None:
        """The facts will tell of it within seconds."""
        self._coming[started.target] = started

    def carried_out(self, decision: RollBack) -> tuple[TargetFact, ...]:
        """It is done at once, and well: what the world did instead is in the facts that follow.

        Nothing where just this was done, and the facts go on to tell how.
        """
        coming = self._coming.get(decision.target)
        if coming is not None and (coming.bad, coming.good) == (decision.bad, decision.good):
            return ()
        name, at, rollback = decision.target, decision.at, decision.id
        self._bad.setdefault(name, set()).add(decision.bad.version)
        return (
            RollbackStarted(
                target=name, at=at, rollback=rollback, bad=decision.bad, good=decision.good,
                trigger=decision.trigger,
            ),
            RollbackSwitched(target=name, at=at, rollback=rollback),
            RollbackEnded(
                target=name, at=at, rollback=rollback, outcome=RollbackOutcome.RECOVERED,
                recovered_at=at, proved_at=at,
            ),
        )  # fmt: skip

    def as_it_was(
        self, state: TargetState, fact: TargetFact, newest: Decision | None
    ) -> Iterator[TargetFact]:
        """The facts as the state must hear them. `newest`: what was decided last."""
        match fact:
            case RollbackStarted():
                if self._coming.get(fact.target) == fact:
                    del self._coming[fact.target]
                if fact.bad.version in self._bad.get(fact.target, ()):
                    self._told.add(fact.rollback)
                else:
                    yield fact
            case RollbackSwitched():
                if fact.rollback not in self._told:
                    yield fact
            case RollbackEnded():
                yield from self._ended(state, fact)
            case Approved() | Rejected() if not fact.rollback:
                yield replace(fact, rollback=_proposed(newest))
            case _:
                yield fact

    def _ended(self, state: TargetState, fact: RollbackEnded) -> Iterator[TargetFact]:
        running = state.rollbacks.running
        rollback = fact.rollback or (running.rollback if running else RollbackId(""))
        if rollback in self._told or (not rollback and self._told):
            return
        unswitched = running is not None and state.rollbacks.switched_at is None
        if unswitched and fact.outcome in SWITCHED:
            yield RollbackSwitched(target=fact.target, at=fact.at, rollback=rollback)
        yield replace(fact, rollback=rollback)


def _proposed(newest: Decision | None) -> RollbackId:
    """What a person who names nothing approves or rejects."""
    proposal = None if newest is None else newest.evidence.get("proposal")
    return RollbackId(proposal if isinstance(proposal, str) else "")
