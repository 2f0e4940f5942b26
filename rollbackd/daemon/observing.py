"""Observes the databases of releases that are well, beside the loop. It decides nothing.

A database that is down delays nobody and is told of once; what is down is not observed.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from rollbackd.config.load import Loaded
from rollbackd.core.errors import RollbackdError
from rollbackd.core.ledger import Standing
from rollbackd.core.model import Decision, Release, TargetName, TriggerState
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.ports import Clock, Store
from rollbackd.core.rules import Severity
from rollbackd.core.state import TargetState
from rollbackd.telemetry import events

if TYPE_CHECKING:
    from rollbackd.postgres.observing import Observer

log = structlog.get_logger()

EVERY_SECONDS: Final = 30.0  # between two looks at one database
_SOON_SECONDS: Final = 2.0  # until a release that became well is looked at for the first time
_ILL: Final = frozenset({TriggerState.BREACHED, TriggerState.PENDING})


class Judged(Protocol):
    """The engine, as far as it is asked here."""

    @property
    def states(self) -> Mapping[TargetName, TargetState]: ...

    @property
    def decisions(self) -> Mapping[TargetName, Decision]: ...


class Observing:
    """One observer a target with `database:`, made anew when the configuration is."""

    def __init__(
        self, clock: Clock, store: Store, judged: Judged, loaded: Callable[[], Loaded]
    ) -> None:
        self._clock = clock
        self._store = store
        self._judged = judged
        self._loaded = loaded
        self._made_of: Loaded | None = None
        self._observers: dict[TargetName, Observer] = {}
        self._told: dict[TargetName, str] = {}
        self._looked: dict[TargetName, tuple[str, float]] = {}  # by the steady clock

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_SOON_SECONDS)

    async def look(self) -> None:
        """Every target once, side by side: one that is slow keeps nobody waiting."""
        self._adopt()
        await asyncio.gather(*(self._one(name) for name in self._observers))

    def _adopt(self) -> None:
        loaded = self._loaded()
        if loaded is self._made_of:
            return
        self._made_of = loaded
        self._observers = {}
        given = {n: t.database for n, t in loaded.targets.items() if t.database is not None}
        if not given:
            return
        if importlib.util.find_spec("psycopg") is None:
            for name in given:
                self._tell(name, "psycopg is not installed", "pip install 'rollbackd[postgres]'")
            return
        from rollbackd.postgres.observing import Observer  # noqa: PLC0415 -- psycopg is an extra

        for name, settings in given.items():
            policy = loaded.policy.targets[name].database
            assert policy is not None
            self._observers[name] = Observer(
                self._store, name, settings.access, policy, self._clock
            )

    async def _one(self, name: TargetName) -> None:
        release = self._well(name)
        if release is None or not self._due(name, release):
            return
        try:
            news = await self._observers[name].look(
                release, still=lambda: self._well(name) == release
            )
        except RollbackdError as error:
            self._tell(name, error.message, error.hint)
            return
        if self._told.pop(name, ""):
            log.info(events.DATABASE_REGAINED, target=name)
        if news:
            log.info(events.DATABASE_OBSERVED, target=name, version=release.version, news=news)

    def _due(self, name: TargetName, release: Release) -> bool:
        now = self._clock.monotonic()
        content, at = self._looked.get(name, ("", 0.0))
        if content == release.content and now - at < EVERY_SECONDS:
            return False
        self._looked[name] = (release.content, now)
        return True

    def _well(self, name: TargetName) -> Release | None:
        state, decision = self._judged.states.get(name), self._judged.decisions.get(name)
        return None if state is None else well(state, decision, self._clock.now())

    def _tell(self, name: TargetName, error: str, hint: str) -> None:
        if self._told.get(name) != error:
            log.warning(events.DATABASE_LOST, target=name, error=error, hint=hint)
        self._told[name] = error


def well(state: TargetState, decision: Decision | None, now: float) -> Release | None:
    """The current release, where it runs alone and nothing critical is wrong with it."""
    release, deploys = state.current, state.deploys
    if release is None or decision is None or state.rollbacks.running is not None:
        return None
    newest = deploys.newest
    if (
        newest is None
        or newest.version != release.version
        or deploys.underway(now, state.policy.safety)
    ):
        return None
    if not state.control_ok or release not in state.ledger.cleared:
        return None
    if state.ledger.standing(release) in {Standing.BAD, Standing.QUARANTINED}:
        return None
    return None if _anything_ill(state.policy, decision) else release


def _anything_ill(policy: TargetPolicy, decision: Decision) -> bool:
    critical = {t.name for t in policy.triggers if t.severity is Severity.CRITICAL}
    return any(v.state in _ILL for v in decision.verdicts if v.trigger in critical)
