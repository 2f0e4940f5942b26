"""The seconds at which time alone may change a decision: none may be left out."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollbackd.core.asked import ModeSet
from rollbackd.core.deadlines import next_change, second
from rollbackd.core.facts import Approved, Paused, Ratio, Sample
from rollbackd.core.model import Hold, ProbeName, ReleaseStatus, RollbackId
from rollbackd.core.policy import TimeWindow
from rollbackd.core.rules import Mode, Regression, Severity
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    World,
    breached_world,
    down,
    error_rate,
    machine,
    release,
    target,
    trigger,
)

REGRESSION = Regression(
    errors=ProbeName("errors"),
    health=None,
    latency=None,
    tick_seconds=10,
    odds=2000,
    history_at_least_seconds=60,
    history_at_most_seconds=3600,
)


def after(world: World, now: float) -> float | None:
    return next_change(world.policy, world.state, now)


@pytest.mark.parametrize(
    ("limit", "now", "expected"),
    [
        (10.4, 3, 11),
        (10.0, 3, 10),
        (10.0, 9, 10),
        (10.0, 10, 11),  # "longer than" shows a second later
        (10.0, 11, None),
        (10.4, 11, None),
        (9.9999, 10, 11),  # as above
        (8.5, 10, None),
        (10.0005, 3, 10),  # the sum may have been rounded up
        (math.inf, 3, None),
        (-math.inf, 3, None),
    ],
)
def test_every_second_up_to_one_behind_the_limit_is_named(
    limit: float, now: float, expected: float | None
) -> None:
    assert second(limit, now) == expected


def test_nothing_is_due_where_nothing_was_seen() -> None:
    assert after(World(target(trigger(down()))), 5) is None


def test_a_sample_grows_too_old() -> None:
    world = World(target(trigger(error_rate(min_samples=0))))
    world.ratio(3.2, 0, 10)

    assert after(world, 4) == 24


def test_a_refusal_grows_too_old() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    world.ok(5)
    world.refuse(15)

    assert after(world, 16) == 35


def test_each_failed_look_grows_too_old_to_count() -> None:
    world = breached_world(target(trigger(down(max_age_seconds=500))))

    assert after(world, 146) == 175  # 115 + 1.5 x 4 x 10
    assert after(world, 176) == 185


def test_a_release_had_its_time_to_settle() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))

    assert after(world, 5) == 60


def test_a_deploy_counts_as_interrupted() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.releases(100, release(42, status=ReleaseStatus.RUNNING), release(41))

    assert after(world, 200) == 1000


def test_what_regression_streams_saw_grows_old() -> None:
    world = World(target(trigger(REGRESSION)))  # type: ignore[arg-type]  # any rule will do
    world.releases(0, release(41))
    world.ratio(65, 0, 100)

    stream = world.state.regressions.watches[world.target.triggers[0].name].streams["errors"]
    assert after(world, 66) == math.ceil(65 + stream.max_age_seconds)


def test_machines_compared_with_each_other_grow_old() -> None:
    world = World(target(trigger(REGRESSION)))  # type: ignore[arg-type]  # any rule will do
    world.releases(0, release(41))
    world.machines(1, machine("old", "image-41", 41), machine("new", "image-41", 41))
    world.releases(100, release(42), release(41))
    world.machines(101, machine("old", "image-41", 41), machine("new", "image-42", 42))
    for at in (125.0, 135.0):
        for name, version in (("old", 41), ("new", 42)):
            world.tell(
                Sample(
                    target=SHOP, probe=ProbeName("errors"), at=at,
                    measure=Ratio(bad=0, total=50), machine=name, version=version,
                )
            )  # fmt: skip

    assert after(world, 136) is not None


# While something is breached, the gates count time, too -----------------------------------------

OFTEN = down(max_age_seconds=10_000, breaches=None)


def ill(**safety: object) -> World:
    """Breached from 115 on for good, as far as samples tell."""
    quick = {"blind_after_seconds": 1e6, "watch_seconds": 1e6, **safety}
    one = target(trigger(OFTEN), safety=replace(SAFETY, **quick))  # type: ignore[arg-type]
    world = World(one)
    world.good_start()
    world.bad_deploy()
    world.fail(115, 125)
    return world


def test_the_watch_ends() -> None:
    assert after(ill(watch_seconds=500), 200) == 600


def test_too_long_without_a_look_at_the_platform_is_blind() -> None:
    assert after(ill(blind_after_seconds=300), 200) == 400


def test_a_pause_ends() -> None:
    world = ill()
    world.tell(Paused(target=SHOP, at=150, until=333.3, by="ada", reason=""))

    assert after(world, 200) == 334


def test_a_mode_that_was_set_ends() -> None:
    world = ill()
    world.tell(ModeSet(target=SHOP, at=150, mode=Mode.OBSERVE, until=444.4, by="ada", reason=""))

    assert after(world, 200) == 445


def test_a_cool_down_and_a_budget_end() -> None:
    world = ill(budget_per_seconds=5000)
    world.started(130, release(42), release(41))
    world.ended(140)

    assert after(world, 200) == 440
    assert after(world, 442) == 5130


def test_an_approval_lapses() -> None:
    world = ill()
    world.tell(Approved(target=SHOP, at=150, rollback=RollbackId("r"), by="ada"))

    assert after(world, 200) == 750


def test_a_local_minute_begins() -> None:
    window = TimeWindow(
        name="w", days=frozenset({0}), from_minute=0, to_minute=1, tz="UTC", mode=Mode.OBSERVE
    )

    assert after(ill(windows=(window,)), 200) == 210


def test_in_peace_no_gate_is_waited_for() -> None:
    world = World(target(trigger(down()), trigger(OFTEN, severity=Severity.WARNING)))
    world.good_start()
    world.tell(Paused(target=SHOP, at=150, until=333.3, by="ada", reason=""))

    assert after(world, 200) == 10_095  # only the last look grows too old


# Whatever the facts: what changes without one was named ------------------------------------------

EVERYTHING = target(
    trigger(down(), name="down"),
    trigger(error_rate(0.2, for_seconds=20, min_samples=10, window_seconds=40), name="errors"),
    trigger(REGRESSION, name="regression"),  # type: ignore[arg-type]  # any rule will do
    safety=replace(
        SAFETY, settle_floor_seconds=15, settle_ceiling_seconds=15, watch_seconds=60,
        cooldown_seconds=20, blind_after_seconds=45, interrupted_after_seconds=30,
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 150), st.sampled_from(("ok", "fail", "refuse", "errors", "fine"))),
        max_size=40,
    ),
    st.floats(10, 120),
    st.sampled_from(ReleaseStatus),
)
def test_what_changes_without_a_fact_was_named(
    looks: list[tuple[float, str]], came_at: float, status: ReleaseStatus
) -> None:
    world = World(EVERYTHING)
    world.releases(0, release(41))
    pending = sorted([*looks, (came_at, "release")])
    index, named, before = 0, None, None
    for now in range(200):
        told = False
        while index < len(pending) and pending[index][0] <= now:
            tell(world, *pending[index], status)
            index, told = index + 1, True
        world.state.advance(now)
        decision = world.decide(now)
        shown = (type(decision), decision.trigger, getattr(decision, "reason", None))
        closed = any(w.next_end is not None for w in world.state.regressions.watches.values())
        if shown != before and before is not None and not told and now % 10 != came_at % 10:
            assert named is not None or closed
            assert named is None or named <= now or closed
        before, named = shown, after(world, now)
    assert isinstance(decision, Hold)


def tell(world: World, at: float, what: str, status: ReleaseStatus) -> None:
    match what:
        case "ok":
            world.ok(at)
        case "fail":
            world.fail(at)
        case "refuse":
            world.refuse(at)
        case "release":
            world.releases(at, release(42, status=status), release(41))
        case _:
            world.ratio(at, 9 if what == "errors" else 0, 20)
