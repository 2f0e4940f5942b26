"""Which releases are known good, and which one a rollback goes to."""

import json

import pytest

from rollbackd.core.known_good import (
    earlier,
    goal,
    predecessor,
    quarantined_only,
    returns_to,
    secrets_drift,
)
from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.marks import Marks, same_content
from rollbackd.core.model import ReleaseStatus
from tests.unit.core.world import World, breached_world, down, failing, release, target, trigger


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("img", "img", True),
        ("img", "other", False),
        ("img+config:1", "img+config:1", True),
        ("img+config:1", "img+config:2", False),
        ("img+config:1", "img", True),
        ("img", "img+config:2", True),
        ("img", "other+config:2", False),
        ("img+config:1", "other", False),
        ("img+config:1", "other+config:1", False),
    ],
)
def test_the_config_part_counts_only_where_both_have_it(a: str, b: str, same: bool) -> None:
    assert same_content(a, b) is same


R40, R41, R42 = release(40), release(41), release(42)


def ledger(**marks: tuple[int, ...]) -> Ledger:
    made = Ledger()
    for name, versions in marks.items():
        for version in versions:
            getattr(made, name).add(release(version))
    return made


def test_quarantine_weighs_more_than_bad_and_bad_more_than_good() -> None:
    assert ledger().standing(R41) is Standing.UNKNOWN
    assert ledger(good=(41,)).standing(R41) is Standing.GOOD
    assert ledger(good=(41,), bad=(41,)).standing(R41) is Standing.BAD
    assert ledger(bad=(41,), quarantined=(41,)).standing(R41) is Standing.QUARANTINED
    assert ledger(cleared=(41,)).standing(R41) is Standing.UNKNOWN


def test_only_a_complete_release_is_good() -> None:
    failed = release(41, status=ReleaseStatus.FAILED)

    assert ledger(good=(41,)).standing(failed) is Standing.UNKNOWN


def test_a_standing_belongs_to_the_content_and_to_the_version() -> None:
    known = ledger(good=(41,))

    assert known.standing(release(43, "image-41")) is Standing.GOOD
    assert known.standing(release(41, "sha256:41")) is Standing.GOOD  # known more exactly by now
    assert known.standing(release(43, "image-43")) is Standing.UNKNOWN


def test_a_blessed_release_is_good_whatever_was_seen() -> None:
    known = ledger(bad=(41, 40), quarantined=(41,))

    known.bless(R41)

    assert known.standing(R41) is Standing.GOOD
    assert known.standing(release(44, "image-41")) is Standing.GOOD
    assert known.standing(R40) is Standing.BAD


def test_a_mark_is_kept_once() -> None:
    marks = Marks()
    marks.add(R41)
    marks.add(R41)
    marks.add(release(43, "image-41"))

    assert marks.as_json() == {"contents": ["image-41"], "versions": [41, 43], "commits": []}


def test_a_ledger_outlives_its_process() -> None:
    known = ledger(good=(40,), bad=(41,), quarantined=(42,), cleared=(40,))
    fresh = ledger(good=(39,), quarantined=(42,))

    fresh.restore(json.loads(json.dumps(known.as_json())))

    assert [fresh.standing(release(v)) for v in (39, 40, 41, 42)] == [
        "good", "good", "bad", "quarantined",
    ]  # fmt: skip
    assert R40 in fresh.cleared
    assert fresh.quarantined.contents == ["image-42"]


def test_what_is_no_ledger_is_left_out() -> None:
    fresh = Ledger()

    fresh.restore({"quarantined": 1, "bad": {"contents": ["b"], "versions": []}})
    assert fresh.bad.contents == ["b"]
    fresh = Ledger()
    fresh.restore({"good": [1], "bad": {"contents": 3, "versions": "x"}})
    fresh.restore({"quarantined": {"contents": [7, "img"], "versions": ["x", 9]}})

    assert fresh.as_json() == {
        **Ledger().as_json(),
        "quarantined": {"contents": ["img"], "versions": [9], "commits": []},
    }


def test_the_newest_good_release_is_the_goal_even_behind_a_newer_unknown_one() -> None:
    found = goal(ledger(good=(39, 40)), [R42, R41, R40, release(39)], R42)

    assert found is not None
    assert (found.release, found.standing) == (R40, Standing.GOOD)


def test_without_a_good_one_the_newest_unknown_is_the_goal() -> None:
    found = goal(ledger(bad=(41,)), [release(39), R40, R41, R42], R42)

    assert found is not None
    assert (found.release, found.standing) == (R40, Standing.UNKNOWN)


def test_neither_bad_nor_quarantined_ones_are_a_goal() -> None:
    assert goal(ledger(bad=(40,), quarantined=(41,)), [R42, R41, R40], R42) is None


def test_a_goal_is_older_complete_and_other_content() -> None:
    same = release(41, "image-42")
    failed = release(40, status=ReleaseStatus.FAILED)
    newer = release(43)

    assert goal(Ledger(), [newer, R42, same, failed], R42) is None
    assert earlier([newer, R42, same, failed, release(39)], R42) == [release(39)]


def test_a_secrets_only_release_goes_back_further_by_content() -> None:
    drifted = release(42, "image-41")
    found = goal(ledger(good=(40, 41)), [drifted, R41, R40], drifted)

    assert found is not None
    assert found.release == R40
    assert secrets_drift([drifted, R41, R40], drifted)
    assert not secrets_drift([R42, R41, R40], R42)
    assert not secrets_drift([R42], R42)


def test_a_bad_config_on_a_good_image_can_be_gone_back_from() -> None:
    bad, good = release(42, "img+config:b"), release(41, "img+config:a")

    found = goal(Ledger(), [bad, good], bad)

    assert found is not None
    assert found.release == good
    assert goal(Ledger(), [bad, release(41, "img")], bad) is None  # may be the same thing


def test_the_predecessor_is_the_next_lower_version() -> None:
    assert predecessor([release(39), R42, R40], R42) == R40
    assert predecessor([R42, release(43)], R42) is None


def test_quarantined_only_needs_something_and_nothing_else() -> None:
    assert quarantined_only(ledger(quarantined=(41, 40)), [R42, R41, R40], R42)
    assert not quarantined_only(ledger(quarantined=(41,)), [R42, R41, R40], R42)
    assert not quarantined_only(Ledger(), [R42], R42)


def test_a_release_returns_to_older_content_only_over_other_content() -> None:
    back = release(43, "image-41")

    assert returns_to([back, R42, R41], back) == R41
    assert returns_to([release(42, "image-41"), R41, R40], release(42, "image-41")) is None
    assert returns_to([release(44, "image-41"), back, R42, R41], release(44, "image-41")) == R41
    assert returns_to([R42, R41], R42) is None
    assert returns_to([release(44, "image-41"), back], back) is None  # newer ones are no matter


# How a standing comes about ----------------------------------------------------------------------


def standing(world: World, version: int) -> str:
    return world.state.ledger.standing(release(version))


def test_a_release_seen_well_until_its_successor_came_is_good() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    assert standing(world, 41) == "unknown"

    world.bad_deploy()

    assert standing(world, 41) == "good"


def test_a_release_never_seen_well_stays_unknown() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    for at in (5, 15, 25):
        world.miss(at)
    world.bad_deploy()

    assert standing(world, 41) == "unknown"


def test_a_release_pending_when_its_successor_came_is_not_good() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(99)
    world.bad_deploy()

    assert standing(world, 41) == "unknown"


def test_a_release_that_was_never_complete_is_not_good() -> None:
    world = World(target(trigger(failing())))
    world.releases(0, release(41))
    world.ok(5)
    world.releases(10, release(41, status=ReleaseStatus.FAILED))
    world.ok(*range(15, 96, 10))
    world.releases(100, release(42), release(41, status=ReleaseStatus.FAILED))

    assert "image-41" not in world.state.ledger.good.contents


def test_silence_declared_ok_does_not_make_a_release_good_before_a_sample_came() -> None:
    world = World(target(trigger(failing())))
    world.releases(0, release(41))
    world.miss(5)
    world.releases(100, release(42), release(41))

    assert standing(world, 41) == "unknown"


def test_a_deploy_trigger_in_peace_makes_no_release_good() -> None:
    from rollbackd.core.rules import DeployFailed

    world = World(target(trigger(DeployFailed()), trigger(down("machines"), name="machines")))
    world.releases(0, release(41))
    world.ok(*range(5, 96, 10))
    world.releases(100, release(42), release(41))

    assert standing(world, 41) == "unknown"


def test_a_release_breached_while_current_is_bad() -> None:
    assert standing(breached_world(), 42) == "bad"


def test_a_vetoed_breach_makes_no_release_bad() -> None:
    world = World(target(trigger(down(), unless=(failing("database"),))))
    world.good_start()
    world.bad_deploy()
    for at in (115, 125, 135, 145):
        world.fail(at - 1, name="database")
        world.fail(at)

    assert standing(world, 42) == "unknown"


def test_a_breach_that_was_there_before_makes_no_release_bad() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.fail(95.5)
    world.bad_deploy()
    world.fail(115, 125, 135, 145)

    assert standing(world, 42) == "unknown"


def test_a_rollback_quarantines_what_it_left_and_marks_nothing_while_it_runs() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    world.bad_deploy()
    world.started(110, release(42), release(41))
    world.fail(115, 125, 135, 145)

    assert standing(world, 42) == "quarantined"
    assert "image-42" not in world.state.ledger.bad.contents


def test_a_rollback_that_does_not_help_makes_the_good_release_no_bad_one() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.switched(150)
    world.ended(151)
    world.fail(155, 165, 175, 185)

    assert standing(world, 41) == "good"
