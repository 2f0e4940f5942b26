"""What observe mode would have done: counted once per release, only where nothing else held."""

import json
from dataclasses import replace

import pytest

from rollbackd.core.model import JsonObject
from rollbackd.core.policy import TimeWindow
from rollbackd.core.rules import Mode
from rollbackd.core.trial import Trial, WouldHave
from rollbackd.core.view import target_view
from tests.unit.core.world import (
    SAFETY,
    SHOP,
    World,
    breached_world,
    down,
    failing,
    release,
    target,
    trigger,
)

OBSERVE = target(trigger(down()), mode=Mode.OBSERVE)


def would(version: int, *, asks: bool = False) -> WouldHave:
    return WouldHave(
        version=version,
        to_version=1,
        at=5,
        trigger="errors",
        why="worse",
        held_by="observe_mode",
        asks=asks,
    )


def test_a_breach_that_only_the_mode_holds_is_counted_once() -> None:
    world = breached_world(OBSERVE)
    for at in (146, 147, 148):
        world.decide(at)

    view = target_view(world.state, world.policy, 149)
    assert view.trial == "would have acted once in 1 release"
    assert view.would_have == (
        WouldHave(
            version=42,
            to_version=41,
            at=146,
            trigger="health-down",
            why=f"{SHOP} v42 is bad: health failing in 4 of the last 4 looks",
            held_by="observe_mode",
            asks=False,
        ),
    )


def test_a_release_that_goes_well_is_counted_as_watched() -> None:
    world = World(OBSERVE)
    world.good_start()
    assert target_view(world.state, world.policy, 99).trial == ""

    world.bad_deploy()
    world.decide(106)

    assert target_view(world.state, world.policy, 107).trial == "would not have acted in 1 release"


@pytest.mark.parametrize("ceiling", [Mode.AUTO, Mode.APPROVE, Mode.OBSERVE])
def test_what_would_have_been_is_told_only_where_it_does_not_act(ceiling: Mode) -> None:
    world = breached_world(ceiling=ceiling)
    world.decide(146)

    told = target_view(world.state, world.policy, 147).trial

    assert told == ("" if ceiling is Mode.AUTO else "would have acted once in 1 release")


def test_a_breach_that_another_gate_holds_is_not_counted() -> None:
    world = breached_world(
        target(trigger(down(), unless=(failing("database"),)), mode=Mode.OBSERVE)
    )

    assert world.reason(146).value == "vetoed"
    assert world.state.ledger.trial.would_have == {}


def test_a_ceiling_and_a_window_are_modes_too() -> None:
    capped = breached_world(ceiling=Mode.OBSERVE)
    always = TimeWindow(
        name="night", days=frozenset(), from_minute=0, to_minute=0, tz="UTC", mode=Mode.OBSERVE
    )
    at_night = breached_world(target(trigger(down()), safety=replace(SAFETY, windows=(always,))))

    for world, reason in ((capped, "observe_mode"), (at_night, "window")):
        assert world.reason(146).value == reason
        assert [w.held_by for w in world.state.ledger.trial.would_have.values()] == [reason]


def test_where_a_person_would_have_been_asked_it_says_so() -> None:
    world = World(OBSERVE)
    world.releases(0, release(42), release(41))
    world.ok(5, 15)
    world.fail(25, 35, 45, 55)
    world.decide(56)

    (found,) = world.state.ledger.trial.would_have.values()
    assert found.asks


def test_what_is_rolled_back_after_all_would_not_only_have_been() -> None:
    world = breached_world(target(trigger(down()), mode=Mode.APPROVE))
    world.decide(146)
    assert world.state.ledger.trial.would_have.keys() == {42}

    world.started(150, release(42), release(41))

    assert world.state.ledger.trial.would_have == {}


def test_our_own_rollback_is_no_release_that_was_tried() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(150, version=43)
    world.ended(160)
    world.releases(161, release(43, "image-41"), release(42), release(41))

    assert world.state.ledger.trial.watched == {42}


def test_nor_is_it_where_its_record_is_seen_before_the_last_machine_switched() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.releases(148, release(43, "image-41"), release(42), release(41))
    world.switched(150, version=43)

    assert world.state.ledger.trial.watched == {42}


def test_what_is_new_is_counted_and_what_is_not_is_not() -> None:
    trial = Trial()
    counts = [trial.changes]
    for change in (
        lambda: trial.watch(3), lambda: trial.watch(3), lambda: trial.note(would(3)),
        lambda: trial.note(would(3)), lambda: trial.acted(3), lambda: trial.acted(3),
    ):  # fmt: skip
        change()
        counts.append(trial.changes)

    assert counts == [0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("acted", "asked", "fine", "sentence"),
    [
        (0, 0, 0, ""),
        (2, 0, 12, "would have acted 2 times in 14 releases"),
        (1, 2, 0, "would have acted once and asked a person 2 times in 3 releases"),
        (0, 1, 1, "would not have acted and asked a person once in 2 releases"),
    ],
)
def test_the_sentence(acted: int, asked: int, fine: int, sentence: str) -> None:
    trial = Trial()
    for version in range(acted):
        trial.note(would(version))
    for version in range(acted, acted + asked):
        trial.note(would(version, asks=True))
    for version in range(acted + asked, acted + asked + fine):
        trial.watch(version)

    assert trial.sentence == sentence


def test_only_so_many_are_remembered() -> None:
    trial = Trial()
    for version in range(1001):
        trial.note(would(version))

    assert (min(trial.watched), min(trial.would_have)) == (1, 1)


def test_it_outlives_the_process() -> None:
    trial = Trial()
    trial.note(would(3))
    trial.watch(4)
    fresh = Trial()
    fresh.restore(json.loads(json.dumps(trial.as_json())))

    assert fresh == trial


@pytest.mark.parametrize(
    "odd",
    [
        {"watched": 3, "would_have": 4},
        {"watched": ["x"], "would_have": [1, {}]},
        {"would_have": [{**would(1).as_json(), "at": "x"}]},
        {"would_have": [{**would(1).as_json(), "why": 3}]},
    ],
)
def test_what_is_no_trial_is_left_out(odd: JsonObject) -> None:
    fresh = Trial()

    fresh.restore(odd)

    assert fresh == Trial()
