"""What the page shows of a target, and how numbers are worded."""

import pytest

from rollbackd.core import wording
from rollbackd.core.facts import Check, CheckOutcome
from rollbackd.core.model import ProbeName, TriggerName
from rollbackd.core.rules import Mode, Regression, Severity, Trigger
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    World,
    breached_world,
    down,
    locks,
    machine,
    release,
    target,
    trigger,
)


def test_a_target_nothing_is_known_of() -> None:
    world = World(target(trigger(down())))

    view = target_view(world.state, world.policy, 1)

    assert (view.name, view.mode, view.healthy) == ("shop", Mode.AUTO, None)
    assert (view.decision, view.evaluated_at, view.rollback) == (None, None, None)
    assert (view.releases, view.machines, view.cooldown_until) == ((), (), None)
    assert (view.budget_left, view.locked_out, view.paused_until) == (2, False, None)
    assert [p.outcome for p in view.probes] == [""] * 6


def test_a_target_in_the_middle_of_a_rollback() -> None:
    world = breached_world(ceiling=Mode.APPROVE)
    world.machines(145, machine("m1", "image-42", 42))
    decision = world.decide(146)
    world.started(147, release(42), release(41))
    world.switched(150)

    view = target_view(world.state, world.policy, 151)

    assert view.mode is Mode.APPROVE
    assert (view.decision, view.evaluated_at) == (decision, 146)
    assert [m.id for m in view.machines] == ["m1"]
    assert view.rollback is not None
    assert (view.rollback.rollback, view.rollback.bad_version) == ("r1", 42)
    assert (view.rollback.good_version, view.rollback.started_at) == (41, 147)
    assert view.rollback.switched_at == 150
    assert view.budget_left == 1
    world.ended(160)
    assert target_view(world.state, world.policy, 161).cooldown_until == 460


def test_health_is_what_critical_triggers_say() -> None:
    world = breached_world(target(trigger(down()), trigger(locks(), name="locks")))
    assert target_view(world.state, world.policy, 146).healthy is False

    world.ok(155)
    assert target_view(world.state, world.policy, 155).healthy is True
    assert target_view(world.state, world.policy, 300).healthy is None


def test_releases_show_their_standing_the_current_one_and_the_goal() -> None:
    world = breached_world()
    views = target_view(world.state, world.policy, 146).releases

    assert [(v.release.version, v.standing, v.current, v.goal) for v in views] == [
        (42, "bad", True, False),
        (41, "good", False, True),
    ]


def test_the_current_release_is_shown_good_once_it_was_seen_well() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41), release(40))
    assert [v.standing for v in target_view(world.state, world.policy, 1).releases] == [
        "unknown"
    ] * 2

    world.ok(5, 15, 25, 35)

    assert [v.standing for v in target_view(world.state, world.policy, 36).releases] == [
        "good",
        "unknown",
    ]


def regression(at_least: float) -> Trigger:
    rule = Regression(
        errors=ProbeName("errors"),
        health=None,
        latency=None,
        tick_seconds=10,
        odds=2000,
        history_at_least_seconds=at_least,
        history_at_most_seconds=86400,
    )
    return Trigger(
        name=TriggerName("release-regression"),
        rule=rule,
        unless=(),
        severity=Severity.CRITICAL,
        mode=None,
        plan="app",
    )


@pytest.mark.parametrize(
    ("at_least", "until", "line"),
    [
        (3600, 2050, "release-regression is learning: 34 of 60 min of history"),
        (100, 65, "release-regression is learning: 50 of 100 s of history"),
    ],
)
def test_what_is_still_learned_says_how_far_it_is(at_least: float, until: int, line: str) -> None:
    world = World(target(regression(at_least)))
    world.releases(0, release(41))
    for at in range(5, until, 10):
        world.ratio(at, 0, 100)
        world.state.advance(at)

    assert target_view(world.state, world.policy, until).learning == (line,)


def test_a_release_that_came_too_soon_is_not_judged_and_the_next_one_is() -> None:
    world = World(target(regression(100)))
    world.releases(0, release(41))
    for at in range(5, 56, 10):
        world.ratio(at, 0, 100)
        world.state.advance(at)
    world.releases(60, release(42), release(41))
    for at in range(65, 300, 10):
        world.ratio(at, 0, 100)
        world.state.advance(at)
    (line,) = target_view(world.state, world.policy, 300).learning
    assert line.endswith("; it judges the next release")

    world.releases(300, release(43), release(42), release(41))
    world.state.advance(301)

    assert target_view(world.state, world.policy, 301).learning == ()


def test_a_probe_shows_its_newest_look() -> None:
    world = World(target(trigger(down())))
    world.ok(5)
    check = Check(outcome=CheckOutcome.FAILED, seconds=0.25, why="connection refused")
    world.sample(15, "health", check)
    world.fail(25)
    view = world.state.probes[down().probe].view()
    assert (view.name, view.kind, view.interval_seconds) == ("health", "http", 10)
    assert (view.outcome, view.at, view.ok_at, view.failures_in_a_row) == ("failed", 25, 5, 2)

    world.sample(35, "health", check)
    view = world.state.probes[down().probe].view()
    assert (view.seconds, view.detail) == (0.25, "connection refused")

    world.miss(45)
    view = world.state.probes[down().probe].view()
    assert (view.outcome, view.detail, view.at) == ("miss", "dns_failed", 45)

    world.ok(55)
    view = world.state.probes[down().probe].view()
    assert (view.outcome, view.detail, view.ok_at, view.failures_in_a_row) == ("ok", "", 55, 0)


def test_a_probe_that_counts_shows_its_share_and_how_much_it_counted() -> None:
    world = World(target(trigger(locks())))
    world.ratio(5, 1, 10)
    world.ratio(15, 2, 10)
    world.value(5, 7)
    world.buckets(5, (1.0, 1), (float("inf"), 1))
    views = {view.name: view for view in target_view(world.state, world.policy, 16).probes}

    assert (views["errors"].value, views["errors"].samples) == (0.15, 20)  # type: ignore[index]  # names are strings
    assert (views["locks"].value, views["locks"].outcome) == (7, "ok")  # type: ignore[index]  # names are strings
    assert views["latency"].outcome == "ok"  # type: ignore[index]  # names are strings


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (0, "0 s"), (0.051, "51 ms"), (0.9996, "1000 ms"), (1, "1 s"), (2.34, "2.34 s"),
        (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172799, "48 h"),
        (172800, "2 d"),
    ],
)  # fmt: skip
def test_a_duration_is_worded_in_its_own_unit(duration: float, text: str) -> None:
    assert wording.seconds(duration) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0 %"),
        (0.001, "0.1 %"),
        (0.0508, "5.1 %"),
        (0.1, "10 %"),
        (0.999, "100 %"),
        (1, "100 %"),
    ],
)
def test_a_ratio_is_worded_in_percent(ratio: float, text: str) -> None:
    assert wording.percent(ratio) == text


def test_counts_have_thousands_and_fractions_only_where_needed() -> None:
    assert [wording.count(n) for n in (1004, 12.55, 0)] == ["1,004", "12.6", "0"]
    assert [wording.plain(n) for n in (1004, 0.25)] == ["1,004", "0.25"]
