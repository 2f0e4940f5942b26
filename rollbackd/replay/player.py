"""The replay's loop: facts in, decisions out. `at` alone is time; nothing is asked or done.

A moment is judged when the first fact later than it comes, or at the end: then all that belongs to
it is known. Between facts it goes from one second that can matter to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from rollbackd.core.deadlines import next_change
from rollbackd.core.facts import (
    Miss,
    Sample,
    TargetFact,
    Tick,
)
from rollbackd.core.glance import Glance, glance
from rollbackd.core.model import (
    Decision,
    Hold,
    RollBack,
    TargetName,
)
from rollbackd.core.policy import Policy
from rollbackd.core.round import Mass, decide_all, mass_of
from rollbackd.core.state import TargetState
from rollbackd.engine.local_time import local_minutes
from rollbackd.replay.delays import undelayed
from rollbackd.replay.retold import Retold
from rollbackd.replay.told import Foretold, Noted, Reconfigured, Told

Key: TypeAlias = tuple[str, str, str | None, int | None, int | None]

NEVER: Final = math.inf


class Player:
    """Takes facts by the time at which they were heard, rising, and gives what changes.

    `late_seconds`: what a regression trigger's tick waits for its last samples, 0 where the facts
    are in the order of their own time. `watched`: the facts tell every look at the platform, so
    that their absence means that we were blind. `lagging`: `at` is when we looked, so that a
    source that lags told of the time before; else it is the end of the time that is told of.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        late_seconds: float = 0.0,
        watched: bool = False,
        lagging: bool = False,
    ) -> None:
        self.policy = policy if lagging else undelayed(policy)
        self._lagging = lagging
        self.states: dict[TargetName, TargetState] = {}
        self.decisions: dict[TargetName, Decision] = {}
        self._late_seconds = late_seconds
        self._watched = watched
        self._due: dict[TargetName, float] = {}
        self._soonest = NEVER  # of all that is due
        self._glances: dict[TargetName, Glance | None] = {}
        self._keys: dict[TargetName, Key] = {}
        self._mass = Mass(onsets={}, failing=frozenset())
        self._sampled_at: dict[TargetName, float] = {}
        self._lasting: dict[TargetName, float] = {}
        self._newest_at = -math.inf
        self._retold = Retold()
        self._zones: set[str] = set()
        self._minutes: Mapping[str, tuple[int, int]] = {}
        self._minutes_at: float | None = None
        self._rezone()

    def take(self, at: float, told: Told) -> Sequence[Decision]:
        """Every decision that changed before `at`, in order; then the fact is known."""
        changed = self._until(math.nextafter(at, -math.inf)) if self._soonest < at else ()
        self._newest_at = at
        self._hear(at, told)
        return changed

    def end(self) -> Sequence[Decision]:
        """What was still to be decided when the facts ended; an open tick that holds any closes."""
        ends = [float(math.ceil(self._newest_at))] if self._newest_at > -math.inf else []
        for name, state in self.states.items():
            if self._holds_samples(name, state):
                ends.append(self._closes(name, state))
        return self._until(max(ends, default=-math.inf))

    # What comes in ---------------------------------------------------------------------------

    def _hear(self, at: float, told: Told) -> None:
        match told:
            case Tick() | Noted():
                pass
            case Reconfigured():
                self._adopt(told.policy, at)
            case Foretold():
                self._retold.foretell(told.started)
            case _:
                self._apply(at, told)

    def _apply(self, at: float, fact: TargetFact) -> None:
        name = fact.target
        state = self.states.get(name)
        if state is None:
            if name not in self.policy.targets:
                return
            state = self.states[name] = TargetState(self.policy.targets[name], at)
            self._lasting[name] = _lasting(state)
        if self._due.get(name, NEVER) > at:
            self._catch_up(state, at)
        if isinstance(fact, Sample):
            state.apply(fact)
            self._sampled_at[name] = at
        elif isinstance(fact, Miss):
            state.apply(fact)
        else:
            for known in self._retold.as_it_was(state, fact, self.decisions.get(name)):
                state.apply(known)
        self._wake(name, state, at)

    def _adopt(self, given: Policy, at: float) -> None:
        policy = self.policy = given if self._lagging else undelayed(given)
        for name in list(self.states):
            if name not in policy.targets:
                for kept in (self.states, self.decisions, self._due, self._glances, self._keys):
                    kept.pop(name, None)
                continue
            self.states[name].carry(policy.targets[name], at)
            self._glances.pop(name, None)
            self._lasting[name] = _lasting(self.states[name])
            self._wake(name, self.states[name], at)
        self._rezone()

    def _rezone(self) -> None:
        targets = self.policy.targets.values()
        self._zones = {window.tz for target in targets for window in target.safety.windows}
        self._minutes_at = None

    # What time brings ------------------------------------------------------------------------

    def _catch_up(self, state: TargetState, at: float) -> None:
        """Close what is left of a long silence, in one step."""
        end = state.regressions.next_end
        if end is not None and end < at:
            state.advance(self._judged_before(at))

    def _wake(self, name: TargetName, state: TargetState, at: float) -> None:
        """Judge it at the end of this second, or when its tick closes before that."""
        if self._due.get(name, NEVER) <= at:
            return
        due = min(float(math.ceil(at)), self._closes(name, state))
        if due < self._due.get(name, NEVER):
            self._due[name] = due
            self._soonest = min(self._soonest, due)

    def _closes(self, name: TargetName, state: TargetState) -> float:
        """When the next tick of a regression trigger closes. Those long after the newest sample
        change nothing and close with the next moment: a year of silence takes no year's ticks.
        """
        end = state.regressions.next_end
        if end is None or end > self._sampled_at.get(name, -math.inf) + self._lasting[name]:
            return NEVER
        return float(math.ceil(end + self._late_seconds)) if self._late_seconds else end

    def _judged_before(self, at: float) -> float:
        """Until when ticks are closed when a fact comes at `at`."""
        if self._late_seconds:
            return math.ceil(at) - 1 - self._late_seconds
        return math.nextafter(at, -math.inf)

    def _holds_samples(self, name: TargetName, state: TargetState) -> bool:
        sampled_at = self._sampled_at.get(name, -math.inf)
        return any(
            watch.next_end is not None and sampled_at > watch.next_end - watch.rule.tick_seconds
            for watch in state.regressions.watches.values()
        )

    def _until(self, upto: float) -> Sequence[Decision]:
        changed: list[Decision] = []
        while self._soonest <= upto:
            changed += self._turn(self._soonest)
            self._soonest = min(self._due.values(), default=NEVER)
        return changed

    def _turn(self, now: float) -> Sequence[Decision]:
        """Judge every target that is due at this moment."""
        due = [name for name, at in self._due.items() if at <= now]
        news = []
        for name in due:
            self._prepare(self.states[name], now)
            if self._looks_otherwise(name, now):
                news.append(name)
        made: Mapping[TargetName, Decision] = self._decide(news, now) if news else {}
        # In the order of the configuration, whoever had the news.
        told = (made[name] for name in self.policy.targets if name in made) if made else ()
        changed = [decision for decision in told if self._differs(decision)]
        for name in {**dict.fromkeys(due), **made}:
            self._due[name] = self._next(name, made.get(name), now)
        return changed

    def _prepare(self, state: TargetState, now: float) -> None:
        if not self._watched:
            state.platform_seen_at = now  # a file tells what changed; the platform was seen
        if self._zones:
            if math.floor(now) != self._minutes_at:
                self._minutes = local_minutes(self._zones, now)
                self._minutes_at = math.floor(now)
            state.local_minutes = self._minutes
        state.advance(now - self._late_seconds)

    def _looks_otherwise(self, name: TargetName, now: float) -> bool:
        """Whether a decision now could be another one than the last."""
        seen = glance(self.policy.targets[name], self.states[name], now)
        before, self._glances[name] = self._glances.get(name), seen
        return seen is None or seen != before

    def _decide(self, news: list[TargetName], now: float) -> Mapping[TargetName, Decision]:
        mass = mass_of(self.policy, self.states, self.decisions, news, now)
        if mass.failing != self._mass.failing:
            # It holds, or lets go of, all that are breached, also those with no news of their own.
            news = list(dict.fromkeys([*news, *mass.onsets, *self._mass.onsets]))
            for name in news:
                self._prepare(self.states[name], now)
            mass = mass_of(self.policy, self.states, self.decisions, news, now)
        self._mass = mass
        made = decide_all(self.policy, self.states, news, now, mass)
        self.decisions.update(made)
        for decision in made.values():
            if isinstance(decision, RollBack):
                for fact in self._retold.carried_out(decision):
                    self.states[decision.target].apply(fact)
                self._glances[decision.target] = None
        return made

    def _next(self, name: TargetName, made: Decision | None, now: float) -> float:
        """When it may look otherwise next, unless a fact comes in before."""
        if isinstance(made, RollBack):
            return math.floor(now) + 1.0  # something else runs from here on
        state = self.states[name]
        limits = [next_change(self.policy, state, now)]
        return min(self._closes(name, state), *(NEVER if at is None else at for at in limits))

    def _differs(self, decision: Decision) -> bool:
        key = key_of(decision)
        if key == self._keys.get(decision.target):
            return False
        self._keys[decision.target] = key
        return True


def _lasting(state: TargetState) -> float:
    """For how long after its newest sample a regression trigger may still come to see things
    otherwise: until its streams are stale, and the tick after that.
    """
    return max(
        (
            stream.max_age_seconds + stream.delay_seconds + 2 * watch.rule.tick_seconds
            for watch in state.regressions.watches.values()
            for stream in watch.streams.values()
        ),
        default=0.0,
    )


def key_of(decision: Decision) -> Key:
    """What makes it another decision than the one before."""
    hold = isinstance(decision, Hold)
    return (
        "hold" if hold else "roll_back",
        decision.reason.value if isinstance(decision, Hold) else "auto",
        decision.trigger,
        decision.bad.version if decision.bad is not None else None,
        decision.good.version if decision.good is not None else None,
    )
