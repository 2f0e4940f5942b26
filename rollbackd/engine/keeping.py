"""What the loop keeps on disk. A disk that is full or away delays it and never ends the watch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import structlog

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.core.facts import (
    Announced,
    Approved,
    Blessed,
    Paused,
    Quarantined,
    Rejected,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
    Unlocked,
    Unquarantined,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Decision, Json, JsonObject, TargetName
from rollbackd.core.ports import Store
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

News: TypeAlias = tuple[Ledger, int, JsonObject]  # with its changes, and as it is to be kept

MOST_LATE: Final = 1000
DURABLE: Final = (  # what a new process must hear, besides news of releases
    Paused, Resumed, Unlocked, Approved, Rejected, RollbackStarted, RollbackSwitched, RollbackEnded,
    Announced, Blessed, Quarantined, Unquarantined, Proposed, Withdrawn, ModeSet,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an earlier process left, by target."""

    ledgers: dict[TargetName, JsonObject] = field(default_factory=dict)
    states: dict[TargetName, Json] = field(default_factory=dict)
    regressions: dict[TargetName, Json] = field(default_factory=dict)
    facts: dict[TargetName, list[TargetFact]] = field(default_factory=dict)

    def by(self, now: float) -> Recalled:
        """The same after the clock was set back to `now`: a fact of a time to come happened now, or
        it would keep out all that is heard until then.
        """
        facts = {
            name: [replace(fact, at=min(fact.at, now)) for fact in known]
            for name, known in self.facts.items()
        }
        return replace(self, facts=facts)


class Keeping:
    """Facts in their order, ledgers, decisions. What could not be kept is tried at every tick."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._late: deque[TargetFact] = deque(maxlen=MOST_LATE)
        self._ledgers: dict[TargetName, JsonObject] = {}  # as kept
        self._seen: dict[TargetName, tuple[Ledger, int]] = {}  # with its changes, as kept
        self._one_at_a_time = asyncio.Lock()
        self._failing = False

    async def recall(self, names: Collection[TargetName], *, states: bool) -> Recalled:
        """What is kept of these targets. Without `states`: ledgers and facts only."""
        recalled = Recalled()
        for name in names:
            kept = await self._kept(
                _ledger_key(name), "the ledger is lost: bless what may be gone back to"
            )
            self._ledgers.pop(name, None)
            if isinstance(kept, dict):
                recalled.ledgers[name] = self._ledgers[name] = kept
            if states:
                recalled.states[name] = await self._kept(_state_key(name))
                recalled.regressions[name] = await self._kept(_regressions_key(name))
        kept_facts = await self._store.facts(0.0) if names else ()
        for fact in (*kept_facts, *self._late):
            if fact.target in names:
                recalled.facts.setdefault(fact.target, []).append(fact)
        return recalled

    async def _kept(self, key: str, hint: str = "it begins anew") -> Json:
        """None where it is damaged, too: a daemon that ends of it would watch nothing at all."""
        try:
            return await self._store.get_blob(key)
        except PermanentError as error:
            self._metrics.store_error("get_blob")
            log.error(events.STORE_FAILED, op="get_blob", key=key, error=error.message, hint=hint)
            return None

    async def keep(self, fact: TargetFact) -> None:
        """On disk when this returns, or as soon as the disk takes it."""
        self._late.append(fact)
        await self.catch_up()

    async def keep_order(self, fact: TargetFact) -> None:
        """A person's: raises where it is not on disk. A pause counts even so: it only tightens."""
        if isinstance(fact, Paused):
            await self.keep(fact)
            return
        await self.catch_up()
        if self._late:
            raise TemporaryError("the disk takes nothing", hint="free space, then try again")
        await self._store.keep(fact)

    async def keep_ledger(self, name: TargetName, ledger: Ledger) -> None:
        """Which releases are good outlives us: without it a restart would cap all to approve."""
        news = self._news({name: ledger})
        if news:
            await self._put(news, {}, "ledger")

    async def keep_states(
        self,
        states: Mapping[TargetName, Json],
        ledgers: Mapping[TargetName, Ledger],
        regressions: Mapping[TargetName, Json],
    ) -> bool:
        """One write for all of them: a kill leaves all of it or nothing. A state is never newer on
        disk than its ledger: what it heard would not be told to the ledger again. Nor does it run
        another release than its regression triggers (up to 200 KB each) were begun for.
        """
        values = {_state_key(name): kept for name, kept in states.items()}
        values |= {_regressions_key(name): kept for name, kept in regressions.items()}
        return await self._put(self._news(ledgers), values, "state")

    def _news(self, ledgers: Mapping[TargetName, Ledger]) -> dict[TargetName, News]:
        """Of those that are not on disk as they are: a ledger of years is worth a millisecond,
        which is not spent at every tick.
        """
        news = {}
        for name, ledger in ledgers.items():
            seen, changes = self._seen.get(name), ledger.changes
            if seen is not None and seen[0] is ledger and seen[1] == changes:
                continue
            told = ledger.as_json()
            if self._ledgers.get(name) == told:
                self._seen[name] = (ledger, changes)
            else:
                news[name] = (ledger, changes, told)
        return news

    async def _put(
        self, news: Mapping[TargetName, News], values: Mapping[str, Json], op: str
    ) -> bool:
        ledgers = {_ledger_key(name): told for name, (_, _, told) in news.items()}
        if not await self._tried(op, lambda: self._store.put_blobs({**values, **ledgers})):
            return False
        for name, (ledger, changes, told) in news.items():
            self._ledgers[name], self._seen[name] = told, (ledger, changes)
        return True

    async def record(self, decision: Decision) -> bool:
        """Whether it is on disk. Without that nothing may be done; the next tick tries again."""
        return await self._tried("decision", lambda: self._store.record(decision))

    async def catch_up(self) -> None:
        async with self._one_at_a_time:
            while self._late:
                fact = self._late[0]
                if not await self._tried("fact", lambda: self._store.keep(fact)):  # noqa: B023 -- awaited at once
                    return
                self._late.popleft()

    async def _tried(self, op: str, write: Callable[[], Awaitable[None]]) -> bool:
        try:
            await write()
        except TemporaryError as error:
            self._metrics.store_error(op)
            if not self._failing:
                log.error(events.STORE_FAILED, op=op, error=error.message, hint=error.hint)
            self._failing = True
            return False
        self._failing = False
        return True


def _state_key(name: TargetName) -> str:
    return f"state/{name}"


def _regressions_key(name: TargetName) -> str:
    return f"regressions/{name}"


def _ledger_key(name: TargetName) -> str:
    return f"ledger/{name}"
