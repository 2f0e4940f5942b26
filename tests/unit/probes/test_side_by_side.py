"""Which machines are told apart, and that nobody is asked about them without need."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollbackd.clock import FakeClock
from rollbackd.core.errors import Unreachable
from rollbackd.core.model import Machine
from rollbackd.probes.side_by_side import FRESH_SECONDS, MOST, SideBySide, chosen, serving
from tests.unit.probes.loopback import FakePlatform, WatchedPlatform, machine


def on(version: int | None, name: str, **changes: Any) -> Machine:
    return machine(id=name, release_version=version, **changes)


def ids(machines: tuple[Machine, ...]) -> list[str]:
    return [each.id for each in machines]


def fleet(*machines: Machine) -> SideBySide:
    return SideBySide(WatchedPlatform(machines), FakeClock())


async def test_new_and_old_take_turns() -> None:
    both = fleet(on(41, "a"), on(41, "b"), on(42, "c"), on(40, "d"))
    assert ids(await both.now()) == ["c", "a", "b", "d"]


async def test_a_single_release_has_nothing_to_be_compared_with() -> None:
    assert await fleet(on(42, "a"), on(42, "b")).now() == ()
    assert await fleet().now() == ()


@pytest.mark.parametrize(
    "away",
    [
        {"state": "starting"},
        {"state": "stopped"},
        {"cordoned": True},
        {"standby": True},
        {"reachable": False},
        {"release_version": None},
    ],
)
async def test_a_machine_that_users_do_not_meet_is_on_no_side(away: dict[str, Any]) -> None:
    assert await fleet(on(42, "a"), machine(id="b", **{"release_version": 41, **away})).now() == ()


async def test_a_look_back_leaves_out_what_was_switched_since() -> None:
    machines = fleet(
        on(42, "a", started_at=50.0), on(42, "b", started_at=101.0), on(41, "c", started_at=None)
    )
    assert ids(await machines.since(100.0)) == ["a", "c"]
    assert await machines.since(49.0) == ()


@given(
    versions=st.lists(st.integers(40, 42), max_size=90),
    seed=st.none() | st.integers(0, 3),
)
def test_of_many_machines_both_sides_are_asked_alike(versions: list[int], seed: int | None) -> None:
    machines = [on(version, f"m{index:03}") for index, version in enumerate(versions)]
    found = chosen(machines, None if seed is None else random.Random(seed))

    newest = max(versions, default=0)
    new = [m for m in found if m.release_version == newest]
    old = [m for m in found if m.release_version != newest]
    all_new = versions.count(newest)
    all_old = len(versions) - all_new
    assert len(set(ids(found))) == len(found)
    if all_old == 0:
        assert found == ()
    else:
        assert len(found) == min(MOST, len(versions))
        assert min(len(new), len(old)) == min(all_new, all_old, MOST // 2)


async def test_a_platform_is_asked_seldom_and_one_without_a_memory_never() -> None:
    clock, platform = FakeClock(), WatchedPlatform([on(42, "a"), on(41, "b")])
    machines = SideBySide(platform, clock)
    for _ in range(5):
        await machines.now()
        clock.advance(1.0)
    assert platform.calls == 1
    clock.advance(FRESH_SECONDS)
    await machines.now()
    assert platform.calls == 2

    forgetful = FakePlatform([on(42, "a"), on(41, "b")])
    assert await SideBySide(forgetful, clock).now() == ()
    assert forgetful.calls == 0


async def test_a_platform_that_does_not_answer_leaves_nothing_to_compare() -> None:
    assert await SideBySide(WatchedPlatform(error=Unreachable("no")), FakeClock()).now() == ()
    assert await SideBySide(None, FakeClock()).now() == ()


def test_serving_keeps_the_platforms_order() -> None:
    machines = [on(42, "b"), on(41, "a")]
    assert serving(machines) == machines
