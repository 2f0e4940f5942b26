"""The watch begins anew, after the clock was set, and forgets nothing that a person said."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.asked import ModeSet
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Paused, ReleasesSeen, TargetFact
from rollbackd.core.model import TargetName
from rollbackd.core.rules import Mode
from rollbackd.stores.sqlite import SqliteStore
from tests.unit.core.world import SHOP, release
from tests.unit.engine.test_engine import Bench


class Disk(SqliteStore):
    """One that may take nothing, and while whose facts are read something else is asked."""

    away = False
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None
    asked: asyncio.Task[None]

    async def facts(self, since: float) -> Sequence[TargetFact]:
        if self.meanwhile is not None:
            self.asked = asyncio.create_task(self.meanwhile())
        return await super().facts(since)

    async def keep(self, fact: TargetFact) -> None:
        if self.away:
            raise TemporaryError("the volume is away", hint="wait")
        await super().keep(fact)


class Home(Bench):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.disk = Disk(directory, self.clock)
        self.store = self.engine.store = self.engine._keeping._store = self.disk


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    await made.open()
    yield made
    await made.disk.close()


async def test_what_is_heard_while_it_begins_anew_counts(home: Home) -> None:
    await home.go_bad()
    engine, state = home.engine, home.engine.states[SHOP]
    home.disk.meanwhile = lambda: engine.take(
        ModeSet(target=SHOP, at=146, mode=Mode.OBSERVE, until=None, by="ann", reason="sale")
    )

    begin = await engine.anew()
    assert engine.states == {SHOP: state}  # a proof that is asked for meanwhile finds its target
    state.ledger.good.add(release(42))
    begin()
    await home.disk.asked

    fresh = engine.states[SHOP]
    assert fresh is not state
    assert fresh.mode_set is not None
    assert release(42) in fresh.ledger.good


async def test_a_pause_the_disk_has_not_taken_yet_outlives_it(home: Home) -> None:
    home.disk.away = True
    await home.engine.take(Paused(target=SHOP, at=146, until=900, by="ann", reason="sale"))

    (await home.engine.anew())()

    assert home.engine.states[SHOP].paused(147)


async def test_a_target_that_a_reload_adds_meanwhile_is_read_too(home: Home) -> None:
    engine, whole = home.engine, home.engine.policy
    await engine.take(Paused(target=SHOP, at=146, until=900, by="ann", reason="sale"))
    engine.policy = replace(whole, targets={TargetName("till"): whole.targets[SHOP]})

    async def reload() -> None:
        engine.policy = whole

    home.disk.meanwhile = reload
    (await engine.anew())()

    assert engine.states[SHOP].paused(147)


async def test_after_the_clock_was_set_back_looks_are_taken_in_at_once(home: Home) -> None:
    home.clock.advance(3600)
    await home.engine.turn(ReleasesSeen(target=SHOP, at=home.clock.now(), releases=(release(41),)))
    begin = await home.engine.anew()
    home.clock.advance(-3600)

    begin()
    state = home.engine.states[SHOP]

    assert state.deploys.releases_at <= home.clock.now()
