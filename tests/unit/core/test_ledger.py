"""Standings by content and by commit, why they are so, and what people say of them."""

import json
from dataclasses import replace

import pytest

from rollbackd.core.facts import Announced, Blessed, Quarantined, Unquarantined
from rollbackd.core.known_good import goal, passed_over
from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.marks import Marks
from rollbackd.core.model import JsonObject, Release, ReleaseStatus
from rollbackd.core.view import target_view
from tests.unit.core.world import SHOP, World, breached_world, down, release, target, trigger

A, B, C = "a" * 40, "b" * 40, "c" * 40


def made(version: int, commit: str = "", content: str = "") -> Release:
    return replace(release(version, content), commit=commit)


R40, R41, R42 = made(40, A), made(41, B), made(42, C)
KNOWN = (R42, R41, R40)


def quarantined(one: Release = R42, known: tuple[Release, ...] = KNOWN) -> Ledger:
    ledger = Ledger()
    ledger.quarantine(one, 100, why="was rolled back from", known=known)
    return ledger


def bless(world: World, version: int, at: float = 200) -> None:
    world.tell(Blessed(target=SHOP, at=at, version=version, by="ann", reason="I looked"))


def lock_up(world: World, version: int, at: float = 200) -> None:
    world.tell(Quarantined(target=SHOP, at=at, version=version, by="ann", reason="leaks"))


def let_out(world: World, version: int, at: float = 210) -> None:
    world.tell(Unquarantined(target=SHOP, at=at, version=version, by="bob", reason="fixed"))


def standings(world: World) -> dict[int, str]:
    known = world.state.deploys.known
    return {r.version: world.state.ledger.standing(r).value for r in known}


def views(world: World, now: float = 300) -> dict[int, tuple[str, str]]:
    seen = target_view(world.state, world.policy, now).releases
    return {v.release.version: (v.standing, v.why) for v in seen}


# By commit --------------------------------------------------------------------------------------


def test_another_build_of_a_commit_that_was_rolled_back_from_is_quarantined_too() -> None:
    ledger = quarantined()

    assert ledger.standing(made(44, C)) is Standing.QUARANTINED
    assert ledger.standing(made(44, C[:7])) is Standing.QUARANTINED
    assert ledger.standing(made(44, B)) is Standing.UNKNOWN
    assert ledger.standing(made(44)) is Standing.UNKNOWN


def test_another_build_of_a_good_commit_is_not_good_before_it_was_seen_well() -> None:
    ledger = Ledger()
    ledger.prove_good(R41, 100)

    assert ledger.standing(R41) is Standing.GOOD
    assert ledger.standing(made(44, B)) is Standing.UNKNOWN


def test_a_commit_that_an_older_release_ran_is_not_what_made_this_one_bad() -> None:
    bad_config = made(42, B)
    ledger = quarantined(bad_config, (bad_config, R41, R40))

    assert ledger.standing(bad_config) is Standing.QUARANTINED
    assert ledger.standing(R41) is Standing.UNKNOWN
    assert ledger.standing(made(44, B)) is Standing.UNKNOWN


def test_a_commit_whose_older_builds_were_all_bad_is_bad_itself() -> None:
    again = made(43, C)
    ledger = quarantined()
    ledger.quarantine(again, 200, why="again", known=(again, *KNOWN))

    assert ledger.quarantined.commits == [C]


def test_a_commit_that_is_known_only_later_counts_from_then_on() -> None:
    ledger = quarantined(release(42), (release(42), R41))
    assert ledger.standing(made(44, C)) is Standing.UNKNOWN

    ledger.learn_commits({42: "", 41: B}, (R42, R41))

    assert ledger.standing(made(44, C)) is Standing.QUARANTINED


def test_a_commit_that_a_later_look_tells_counts_from_then_on() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    world.releases(150, made(42, C), made(41, B))
    world.releases(155, made(42, C), made(41, B))

    assert world.state.ledger.against(C, world.state.deploys.known) != ""


def test_a_release_that_is_taken_out_of_quarantine_takes_its_commit_along() -> None:
    ledger = quarantined()

    ledger.unquarantine(R42)
    ledger.learn_commits({42: C}, KNOWN)

    assert ledger.standing(R42) is Standing.UNKNOWN
    assert ledger.standing(made(44, C)) is Standing.UNKNOWN


def test_a_bad_commit_is_no_goal_in_another_build() -> None:
    ledger = Ledger()
    ledger.accuse(R41, 50, why="breached errors", known=KNOWN)
    rebuilt = made(43, B)
    known = (made(44), rebuilt, *KNOWN)

    found = goal(ledger, known, made(44))

    assert ledger.standing(rebuilt) is Standing.BAD
    assert found is not None
    assert found.release == R42


@pytest.mark.parametrize(
    ("commit", "against"),
    [(C, True), (C[:9], True), (C.upper(), True), (C[:6], False), (B, False), ("", False)],
)
def test_a_commit_is_asked_for_by_as_much_of_it_as_tells_it_apart(
    commit: str, against: bool
) -> None:
    assert bool(quarantined().against(commit, KNOWN)) is against


def test_what_speaks_against_a_commit_names_the_release() -> None:
    ledger = quarantined()

    assert ledger.against(C, KNOWN) == "v42 was rolled back from"
    assert ledger.against(C, (made(44, C), *KNOWN)) == "v42 was rolled back from"
    assert ledger.against(C, (R41,)) == "commit cccccccccc was rolled back from"


# Why --------------------------------------------------------------------------------------------


def test_a_standing_that_comes_from_another_release_says_from_which() -> None:
    ledger = quarantined()
    ledger.quarantine(R40, 90, why="was quarantined by ann: leaks")
    same, rebuilt = made(43, "", "image-42"), made(44, C)
    known = (R40, rebuilt, same, R42, R41)

    assert ledger.why(R42, known) == "was rolled back from"
    assert ledger.why(same, known) == "has the content of v42, which was rolled back from"
    assert ledger.why(rebuilt, known) == (
        "has the commit cccccccccc of v42, which was rolled back from"
    )


def test_what_an_older_process_did_not_say_why_of_is_worded_as_usual() -> None:
    ledger = Ledger()
    ledger.quarantined.add(R42)
    ledger.bad.add(R41)
    ledger.good.add(R40)

    assert [ledger.why(one, KNOWN) for one in KNOWN] == [
        "was rolled back from",
        "breached while it was current",
        "was well until its successor came",
    ]
    assert ledger.why(made(44, "", "image-41"), KNOWN) == (
        "has the content of v41, which breached while it was current"
    )


def test_an_unknown_release_says_what_is_missing() -> None:
    ledger = Ledger()
    failed = release(41, status=ReleaseStatus.FAILED)

    assert ledger.why(R42, KNOWN) == "was not watched for long enough"
    assert ledger.why(failed, KNOWN) == "its deploy is failed"
    ledger.cleared.add(R42)
    assert ledger.why(R42, KNOWN) == "well so far"


def test_a_breach_is_why_a_release_is_bad() -> None:
    world = breached_world()
    world.fail(155)

    assert views(world)[42] == (
        "bad",
        "breached health-down: health failing in 4 of the last 4 looks",
    )
    assert views(world)[41] == ("good", "was well until its successor came")


def test_an_accusation_that_is_taken_back_leaves_no_reason_behind() -> None:
    ledger = Ledger()
    ledger.accuse(R42, 100, why="breached")
    ledger.acquit(R42, 99)

    assert ledger.standing(R42) is Standing.UNKNOWN
    assert ledger.notes == {}
    ledger.quarantine(R42, 90, why="was rolled back from")
    ledger.accuse(R42, 100)
    ledger.acquit(R42, 99)
    assert ledger.why(R42, KNOWN) == "was rolled back from"


def test_an_accusation_is_taken_back_after_a_restart_as_before_it() -> None:
    before = Ledger()
    before.accuse(R42, 100, why="breached")
    before.accuse(R41, 90)
    before.quarantine(R41, 95, why="was rolled back from")
    after = Ledger()
    after.restore(json.loads(json.dumps(before.as_json())))

    after.acquit(R42, 101)
    assert after.standing(R42) is Standing.BAD
    after.accuse(R42, 300, why="breached again")  # told twice: the onset stays
    after.acquit(R42, 99)
    after.acquit(R41, 90)

    assert after.standing(R42) is Standing.UNKNOWN
    assert after.notes.keys() == {41}
    assert R41 not in after.bad


# What people say --------------------------------------------------------------------------------


def test_a_blessed_release_stays_good_whatever_is_seen_of_it() -> None:
    world = breached_world()
    assert standings(world)[42] == "bad"

    bless(world, 42, 150)
    world.fail(155, 165)

    assert standings(world)[42] == "good"
    assert views(world)[42] == ("good", "was blessed by ann: I looked")


def test_another_build_of_a_blessed_commit_is_not_accused_along_with_it() -> None:
    ledger = Ledger()
    ledger.bless(R42)

    ledger.accuse(R42, 100, why="breached", known=KNOWN)

    assert ledger.standing(R42) is Standing.GOOD
    assert ledger.standing(made(44, C)) is Standing.UNKNOWN


def test_a_blessed_release_is_good_though_its_commit_is_bad_in_another_build() -> None:
    ledger = Ledger()
    ledger.bless(R42)
    rebuilt = made(44, C)

    ledger.accuse(rebuilt, 100, why="breached", known=(rebuilt,))

    assert ledger.standing(rebuilt) is Standing.BAD
    assert ledger.standing(R42) is Standing.GOOD


def test_a_blessed_release_that_is_rolled_back_from_is_quarantined_all_the_same() -> None:
    world = breached_world()
    bless(world, 42, 144)

    world.started(146, release(42), release(41))

    assert standings(world)[42] == "quarantined"
    assert views(world)[42][1] == "was rolled back to v41 by a person"


def test_a_blessing_outlives_the_successor() -> None:
    world = World(target(trigger(down())))
    world.good_start()
    bless(world, 41, 98)
    world.bad_deploy()

    assert views(world)[41] == ("good", "was blessed by ann: I looked")


def test_what_a_person_quarantines_is_no_goal_until_it_is_let_out() -> None:
    world = breached_world()
    lock_up(world, 41, 145)

    assert views(world)[41] == ("quarantined", "was quarantined by ann: leaks")
    assert world.reason(146).value == "quarantined_only"

    let_out(world, 41)

    assert standings(world)[41] == "unknown"


def test_nothing_is_said_of_a_release_that_nobody_knows() -> None:
    world = breached_world()
    before = world.state.ledger.as_json()

    bless(world, 7)
    lock_up(world, 7)
    let_out(world, 7)

    assert world.state.ledger.as_json() == before


def test_what_was_said_before_a_restart_is_not_taken_in_again_after_what_came_later() -> None:
    world = breached_world()
    lock_up(world, 41)
    let_out(world, 41)
    world.state.ledger.prove_good(release(41), 300)
    kept = json.loads(json.dumps(world.state.ledger.as_json()))

    again = breached_world()
    again.state.ledger.restore(kept)
    lock_up(again, 41)
    let_out(again, 41)

    assert standings(again)[41] == "good"


def test_only_the_newest_of_what_was_said_is_remembered() -> None:
    world = breached_world()
    for at in range(600):
        bless(world, 41, at)

    assert len(world.state.ledger.heard) == 500
    assert list(world.state.ledger.heard)[-1].endswith(" 599")


# What comes back --------------------------------------------------------------------------------


def relapse(world: World) -> str:
    return target_view(world.state, world.policy, 300).relapse


def rolled_back() -> World:
    world = breached_world()
    world.releases(145, made(42, C), made(41, B))
    world.started(146, made(42, C), made(41, B))
    world.switched(150, version=43)
    world.ended(160)
    world.releases(161, release(43, "image-41"), made(42, C), made(41, B))
    return world


def test_a_rollback_brings_nothing_bad_back() -> None:
    world = rolled_back()

    assert relapse(world) == ""
    assert world.state.ledger.relapsed == {}


@pytest.mark.parametrize(
    ("newest", "why"),
    [
        (
            release(44, "image-42"),
            "has the content of v42, which was rolled back to v41 by a person",
        ),
        (
            made(44, C),
            "has the commit cccccccccc of v42, which was rolled back to v41 by a person",
        ),
        (made(44, A), ""),
    ],
)
def test_a_deploy_of_what_was_rolled_back_from_is_noticed(newest: Release, why: str) -> None:
    world = rolled_back()
    old = (release(43, "image-41"), made(42, C), made(41, B))

    world.releases(200, newest, *old)
    world.releases(205, newest, *old)

    assert relapse(world) == why
    assert world.state.ledger.relapsed == ({44: why} if why else {})


def test_what_was_quarantined_before_counts_also_where_it_came_while_nobody_looked() -> None:
    kept = rolled_back().state.ledger.as_json()
    fresh = World(target(trigger(down())))
    fresh.state.ledger.restore(kept)

    fresh.releases(300, release(44, "image-42"), made(42, C), made(41, B))

    assert relapse(fresh).startswith("has the content of v42")


def test_a_release_that_was_there_before_the_quarantine_does_not_come_back() -> None:
    world = breached_world()
    world.releases(120, release(42), release(41), release(40, "image-42"))
    world.started(146, release(42), release(41))
    world.releases(150, release(42), release(41), release(40, "image-42"))

    assert standings(world)[40] == "quarantined"
    assert world.state.ledger.relapsed == {}


# Which one, and why not another -----------------------------------------------------------------


def test_it_is_said_why_the_releases_before_the_goal_are_not_gone_back_to() -> None:
    ledger = quarantined(made(45, C))
    ledger.prove_good(R40, 10)
    ledger.accuse(made(44, B), 40, why="breached errors")
    failed = release(43, status=ReleaseStatus.FAILED)
    known = (made(46), made(45, C), made(44, B), failed, release(42), release(41, "image-46"), R40)
    found = goal(ledger, known, known[0])

    passed = passed_over(ledger, known, known[0], found)

    assert passed == {
        45: "quarantined: was rolled back from",
        44: "bad: breached errors",
        43: "its deploy is failed",
        42: "unknown: was not watched for long enough; v40 is good",
        41: "has the content of v46",
    }


def test_without_a_goal_it_is_said_of_all() -> None:
    ledger = quarantined(R41)

    assert passed_over(ledger, KNOWN[:2], R42, None) == {41: "quarantined: was rolled back from"}


def test_the_page_says_it_too() -> None:
    world = breached_world()
    world.releases(146, release(42), release(41), release(40))
    lock_up(world, 41)
    seen = target_view(world.state, world.policy, 300).releases

    assert [(v.release.version, v.goal, v.passed_over) for v in seen] == [
        (42, False, ""),
        (41, False, "quarantined: was quarantined by ann: leaks"),
        (40, True, ""),
    ]


# Across restarts --------------------------------------------------------------------------------


def test_everything_outlives_the_process() -> None:
    world = rolled_back()
    world.tell(Announced(target=SHOP, at=170, commit=C, by="ann", url="https://ci.example/1"))
    world.releases(180, release(44, "other"), made(42, C), made(41, B))
    kept = json.loads(json.dumps(world.state.ledger.as_json()))

    fresh = Ledger()
    fresh.restore(kept)

    assert fresh.as_json() == kept
    assert fresh.relapsed.keys() == {44}


@pytest.mark.parametrize(
    "odd",
    [
        {"notes": {"x": {}, "1": {"standing": "odd", "why": "", "at": 1}}},
        {"notes": {"1": {"standing": "good", "why": 3, "at": 1}, "2": 5}},
        {"notes": {"1": {"standing": "good", "why": "", "at": True}}},
        {"notes": {"1": {"standing": "good", "why": "", "at": "x"}}, "quarantined": 3},
        {"relapsed": {"x": "", "1": 2}, "heard": 3, "authorship": 1, "trial": []},
        {"heard": [1], "good": {"commits": [1], "versions": 3}},
        {"accused": {"x": 1, "1": "soon", "2": True, "3": None}},
    ],
)
def test_what_was_kept_by_nobody_is_left_out(odd: JsonObject) -> None:
    fresh = Ledger()

    fresh.restore(odd)

    assert fresh.as_json() == Ledger().as_json()


def test_the_reasons_of_the_newest_releases_are_remembered() -> None:
    ledger = Ledger()
    for version in range(1, 502):
        ledger.prove_good(release(version), 1)

    assert (min(ledger.notes), len(ledger.notes)) == (2, 500)


def test_what_is_said_or_announced_is_a_change_and_saying_it_again_is_none() -> None:
    world = breached_world()
    ledger, counts = world.state.ledger, list[int]()
    for _ in range(2):
        lock_up(world, 41)
        counts.append(ledger.changes)
    world.tell(Announced(target=SHOP, at=200, commit=C, by="ann"))
    world.releases(210, release(43), release(42), release(41))
    counts.append(ledger.changes)

    assert counts[0] == counts[1] < counts[2]


def test_a_mark_goes_with_the_release() -> None:
    marks = Marks()
    marks.add(R42)
    marks.add_commit(C)
    marks.add_commit(C)
    marks.add_commit("")
    assert marks.commits == [C]

    marks.discard(made(50, C))

    assert (marks.commits, marks.contents, marks.versions) == ([], ["image-42"], {42})
