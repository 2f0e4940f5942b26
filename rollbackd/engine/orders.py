"""Who asked for the rollbacks under way, and when; counts them as they begin and end."""

from __future__ import annotations

from dataclasses import dataclass

from rollbackd.core.facts import RollbackEnded, RollbackStarted, TargetFact
from rollbackd.core.model import Decision, RollBack, RollbackId, TriggerName
from rollbackd.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    trigger: TriggerName | None
    at: float


class Orders:
    """Remembered from the decision, or from the start where another process decided."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._orders: dict[RollbackId, _Order] = {}

    def note(self, decision: RollBack) -> None:
        self._orders[decision.id] = _Order(trigger=decision.trigger, at=decision.at)

    def trigger(self, rollback: RollbackId) -> TriggerName | None:
        """None: a person asked, or nobody knows any more."""
        order = self._orders.get(rollback)
        return order.trigger if order else None

    def remember(self, fact: TargetFact) -> None:
        """A start or an end, of now or of before we were born."""
        if isinstance(fact, RollbackStarted):
            self._orders[fact.rollback] = _Order(trigger=fact.trigger, at=fact.at)
        elif isinstance(fact, RollbackEnded):
            self._orders.pop(fact.rollback, None)

    def count(self, fact: TargetFact) -> None:
        """What happens now; what is only remembered at the start was counted then."""
        if isinstance(fact, RollbackStarted):
            self._metrics.rollback_started(fact.target)
            if fact.undoes:
                self._metrics.false_alarm(fact.target)
        elif isinstance(fact, RollbackEnded):
            order = self._orders.get(fact.rollback)
            seconds = fact.at - order.at if order else 0.0
            self._metrics.rollback_ended(
                fact.target, self.trigger(fact.rollback), fact.outcome, seconds
            )

    def count_transitions(self, before: Decision | None, after: Decision) -> None:
        known = {v.trigger: v.state for v in before.verdicts} if before else {}
        for verdict in after.verdicts:
            if known.get(verdict.trigger) is not verdict.state:
                self._metrics.transition(after.target, verdict.trigger, verdict.state)
