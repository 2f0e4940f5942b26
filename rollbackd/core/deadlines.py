"""When time alone may change a decision: what a loop that skips quiet seconds must not skip.

It may name a second at which nothing changes; it never leaves one out at which something does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from rollbackd.core.deploys import UNDERWAY
from rollbackd.core.model import TriggerState
from rollbackd.core.policy import Policy, Safety
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Severity
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import state_of
from rollbackd.core.watch import SignalWatch

# Whether a limit itself still counts differs from place to place, and sums of floats are not
# exact: each second up to one behind the limit is named.
BEHIND: Final = 1.0
ROUNDING: Final = 1e-3
# Zones have had offsets of half a minute (Monrovia until 1972), so a local minute may begin there.
LOCAL_MINUTE: Final = 30.0


def next_change(policy: Policy, state: TargetState, now: float) -> float | None:
    """The first whole second after `now` at which the decision may be another one although no
    fact comes in. None: not before the next fact.

    The ticks of regression triggers (`Regressions.next_end`) and a mass failure are the caller's.
    """
    soonest = None
    for limit in _limits(policy, state, now):
        at = second(limit, now)
        if at is not None and (soonest is None or at < soonest):
            soonest = at
    return soonest


def second(limit: float, now: float) -> float | None:
    """The first whole second after `now` at which passing `limit` may show; None: it is past."""
    if not now - 2 * BEHIND < limit < math.inf:
        return None
    at = float(max(math.floor(now) + 1, math.ceil(limit - ROUNDING)))
    return at if at <= limit + BEHIND + ROUNDING else None


def _limits(policy: Policy, state: TargetState, now: float) -> Iterator[float]:
    safety = policy.targets[state.name].safety
    for watch in state.watches.values():
        yield from _watch(watch)
    for regression in state.regressions.watches.values():
        yield from _regression(regression)
    newest = state.deploys.newest
    if newest is not None and newest.status in UNDERWAY:
        yield state.deploys.appeared_at(newest) + safety.interrupted_after_seconds
    if not state.deploys.settled:
        yield state.deploys.settle_until(safety)
    if _breached(state, now):
        yield from _gates(state, safety, now)


def _watch(watch: SignalWatch) -> Iterator[float]:
    if watch.refused_at is not None:
        yield watch.refused_at + watch.signal.max_age_seconds
    if watch.judged_at is not None:
        yield watch.judged_at + watch.signal.max_age_seconds
        if watch.signal.breaches is not None:
            yield from watch.tally.bad_until()


def _regression(watch: RegressionWatch) -> Iterator[float]:
    for stream in watch.streams.values():
        yield stream.seen_at + stream.max_age_seconds
    for compared in watch.sides.comparisons.values():
        yield compared.new.seen_at + compared.stream.max_age_seconds


def _gates(state: TargetState, safety: Safety, now: float) -> Iterator[float]:
    """They are asked only where something is breached."""
    rollbacks = state.rollbacks
    yield state.platform_seen_at + safety.blind_after_seconds
    if state.paused_until is not None:
        yield state.paused_until
    if state.mode_set is not None and state.mode_set.until is not None:
        yield state.mode_set.until
    yield state.deploys.current_since + safety.watch_seconds
    cooled = rollbacks.cooldown_until(safety)
    if cooled is not None:
        yield cooled
    for at in rollbacks.automatic_at:
        yield at + safety.budget_per_seconds
    if rollbacks.approval is not None:
        yield rollbacks.approval.at + safety.approval_seconds
    if safety.windows:
        yield (math.floor(now / LOCAL_MINUTE) + 1) * LOCAL_MINUTE


def _breached(state: TargetState, now: float) -> bool:
    return any(
        state_of(trigger, state, now) is TriggerState.BREACHED
        for trigger in state.policy.triggers
        if trigger.severity is Severity.CRITICAL
    )
