"""What the loop counts beside its decisions: whose a new release is, and whether we can look."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.core.facts import ControlSeen, ReleasesSeen, RollbackStarted
from rollbackd.core.manual import manual
from rollbackd.core.model import Release, RollBack, RollbackId, TargetName
from rollbackd.core.state import TargetState
from rollbackd.engine.arrivals import arrivals
from rollbackd.fly.wire import Api
from rollbackd.telemetry import labels
from tests.support import until
from tests.unit.core.world import SHOP, down, release, target, trigger
from tests.unit.engine.test_engine import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.store.close()


def seen(at: float, *releases: Release) -> ReleasesSeen:
    return ReleasesSeen(target=SHOP, at=at, releases=releases)


def state_with(*releases: Release) -> TargetState:
    state = TargetState(target(trigger(down())), 0)
    state.apply(seen(0, *releases))
    return state


def test_what_was_there_before_we_looked_did_not_arrive() -> None:
    state = TargetState(target(trigger(down())), 0)

    assert list(arrivals(state, seen(0, release(41)))) == []


def test_a_new_release_is_a_deploy_and_one_that_returns_is_a_persons_rollback() -> None:
    state = state_with(release(42), release(41))
    returned = release(44, content=release(41).content)

    found = list(arrivals(state, seen(5, returned, release(43), release(42), release(41))))

    assert found == [(43, "deploy"), (44, "external")]


def test_the_record_of_our_own_rollback_is_a_rollback() -> None:
    state = state_with(release(42), release(41))
    started = RollbackStarted(
        target=SHOP, at=5, rollback=RollbackId("r"), bad=release(42), good=release(41)
    )
    state.apply(started)
    record = release(43, content=release(41).content)

    assert list(arrivals(state, seen(6, record, release(42), release(41)))) == [(43, "rollback")]


async def test_a_release_is_counted_once(bench: Bench) -> None:
    for at, releases in ((0, [41]), (5, [42, 41]), (10, [42, 41])):
        await bench.engine.turn(seen(at, *map(release, releases)))

    page = bench.metrics.render("")[0].decode()

    assert 'rollbackd_releases_observed_total{kind="deploy",target="shop"} 1.0' in page


async def test_a_rollback_by_hand_is_counted_as_a_decision(bench: Bench) -> None:
    await bench.go_bad()
    state = bench.engine.states[SHOP]
    asked = manual(
        bench.engine.policy, state, 146, to_version=None, plan="app", reason="carts", by="eva"
    )
    assert isinstance(asked, RollBack)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.engine.run())
        await asyncio.sleep(0)
        await bench.engine.order(asked)
        await until(lambda: bool(bench.world.effects))
        running.cancel()

    page = bench.metrics.render("")[0].decode()

    assert (
        'rollbackd_decisions_total{decision="roll_back",reason="manual",target="shop"} 1.0' in page
    )


async def test_one_lost_control_is_not_hidden_by_another_that_answers(bench: Bench) -> None:
    blog = TargetName("blog")
    bench.engine.states[blog] = TargetState(target(trigger(down())), 0)

    await bench.engine.turn(ControlSeen(target=SHOP, at=1, ok=False))
    await bench.engine.turn(ControlSeen(target=blog, at=2, ok=True))

    assert not bench.engine.control_ok


def test_every_api_is_born_at_zero() -> None:
    assert set(labels.APIS) == {str(api) for api in Api}
