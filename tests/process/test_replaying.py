"""What the daemon heard, played again, gives what it decided, at the very same seconds."""

import collections
import itertools
import math
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rollbackd.clock import SystemClock
from rollbackd.config.load import load_directory
from rollbackd.core.decide import decide
from rollbackd.core.facts import Fact, Tick
from rollbackd.core.model import TargetName
from rollbackd.core.state import TargetState
from rollbackd.engine.engine import LATE_SECONDS
from rollbackd.replay.player import Player, key_of
from rollbackd.replay.sources import AS_LIVE, foretelling
from rollbackd.stores.record import open_record
from rollbackd.stores.sqlite import SqliteStore
from tests.process.daemons import Running, running

pytestmark = pytest.mark.process

SHOP = TargetName("shop")
Change: TypeAlias = tuple[float, tuple[object, ...]]


async def said(state: Path) -> list[Change]:
    """Of the record that people read: every decision that is another than the one before."""
    store = SqliteStore(state, SystemClock(), read_only=True)
    await store.open()
    lines = await store.record_lines(SHOP, 1000)
    await store.close()
    made = [(line.data["at"], key(line.data)) for line in lines if line.kind == "decision"]
    return [next(group) for _, group in itertools.groupby(made, lambda change: change[1])]


def key(data: dict[str, Any]) -> tuple[object, ...]:
    bad, good = data.get("bad"), data.get("good")
    reason = data["reason"] if data["decision"] == "hold" else "auto"
    return (
        data["decision"],
        reason,
        data["trigger"],
        bad and bad["version"],
        good and good["version"],
    )


def told_again(daemon: Running, heard: list[tuple[float, Fact]]) -> list[Change]:
    """A for-loop over facts and whole seconds: what the loop is, without the world."""
    policy = load_directory(daemon.directory / "config", daemon.environment()).policy
    state = TargetState(policy.targets[SHOP], heard[0][0])
    waiting = collections.deque(heard)
    found: list[Change] = []
    for second in range(math.ceil(heard[0][0]), math.ceil(heard[-1][0]) + 1):
        while waiting and waiting[0][0] <= second:
            fact = waiting.popleft()[1]
            assert not isinstance(fact, Tick)
            state.apply(fact)
        state.advance(second - LATE_SECONDS)
        found.append((float(second), key_of(decide(policy, state, second))))
    return [next(group) for _, group in itertools.groupby(found, lambda change: change[1])]


def played(daemon: Running, heard: list[tuple[float, Fact]]) -> list[Change]:
    loaded = load_directory(daemon.directory / "config", daemon.environment())
    player = Player(loaded.policy, late_seconds=AS_LIVE.late_seconds, watched=AS_LIVE.watched)
    found = [d for at, told in foretelling(heard) for d in player.take(at, told)]
    return [(d.at, key_of(d)) for d in (*found, *player.end())]


async def test_the_record_played_again_decides_the_same_at_the_same_seconds(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        await daemon.until_outcome("recovered")
        assert await daemon.end() == 0

    heard = list(open_record(daemon.state, 0))
    # The first ones are of a time when nothing was heard yet.
    live = [change for change in await said(daemon.state) if change[0] > heard[0][0] + 1]
    acted = next(n for n, (_, key) in enumerate(live) if key[0] == "roll_back")

    assert live[acted][1] == ("roll_back", "auto", "error-rate", 2, 1)
    assert [c for c in told_again(daemon, heard) if c[0] >= live[0][0]] == live
    # Also while the rollback ran, and after it: the record tells how it went.
    assert len(live) > acted + 1
    assert [c for c in played(daemon, heard) if live[0][0] <= c[0] <= live[-1][0]] == live
