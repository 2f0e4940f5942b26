"""An announcement belongs to the next release that appears within half an hour."""

import json
from dataclasses import replace

import pytest

from rollbackd.core.authorship import Authorship, same_commit
from rollbackd.core.facts import Announced
from rollbackd.core.model import Release
from rollbackd.core.view import target_view
from tests.unit.core.world import SHOP, World, breached_world, down, release, target, trigger

A, B = "a" * 40, "b" * 40


def announce(world: World, at: float, commit: str = A, by: str = "ann") -> None:
    fact = Announced(target=SHOP, at=at, commit=commit, by=by, url="https://ci.example/7")
    world.tell(fact)


def commits(world: World) -> dict[int, str]:
    return {r.version: r.commit for r in world.state.deploys.known}


def watched() -> World:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    return world


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (A, A, True),
        (A, A.upper(), True),
        (A, A[:7], True),
        (A[:7], A, True),
        (A, A[:6], False),
        ("abc", "abc", True),
        ("", "", False),
        (A, "", False),
        (A, B, False),
    ],
)
def test_a_commit_may_be_cut_short(a: str, b: str, same: bool) -> None:
    assert same_commit(a, b) is same


def test_the_next_release_is_the_one_announced() -> None:
    world = watched()
    announce(world, 100)
    world.releases(150, release(42), release(41))
    world.releases(160, release(43), release(42), release(41))

    assert commits(world) == {43: "", 42: A, 41: ""}
    assert world.state.current is not None
    assert world.state.deploys.known[1].author == "ann"
    seen = {v.release.version: v for v in target_view(world.state, world.policy, 170).releases}
    assert (seen[42].url, seen[43].url) == ("https://ci.example/7", "")


def test_of_two_that_appear_at_once_the_older_one_is_announced() -> None:
    world = watched()
    announce(world, 100)
    world.releases(150, release(43), release(42), release(41))

    assert commits(world) == {43: "", 42: A, 41: ""}


@pytest.mark.parametrize(("at", "commit"), [(1900, A), (1901, ""), (99, "")])
def test_a_release_has_half_an_hour_to_appear(at: float, commit: str) -> None:
    world = watched()
    announce(world, 100)
    world.releases(at, release(42), release(41))

    assert commits(world)[42] == commit


def test_the_newest_announcement_counts() -> None:
    world = watched()
    announce(world, 100)
    announce(world, 110, B)
    world.releases(150, release(42), release(41))
    world.releases(160, release(43), release(42), release(41))

    assert commits(world) == {43: "", 42: B, 41: ""}


def test_what_was_there_before_we_looked_was_not_announced() -> None:
    world = World(target(trigger(down())))
    announce(world, 0)
    world.releases(1, release(41))

    assert commits(world) == {41: ""}


def test_the_very_first_release_of_an_app_can_be_announced() -> None:
    world = World(target(trigger(down())))
    world.releases(0)
    announce(world, 1)
    world.releases(2, release(1))

    assert commits(world) == {1: A}


def test_our_own_rollback_is_nobodys_announced_deploy() -> None:
    world = breached_world()
    world.started(146, release(42), release(41))
    announce(world, 147)
    world.releases(150, release(43, "image-41"), release(42), release(41))
    world.releases(160, release(44), release(43, "image-41"), release(42), release(41))

    assert (commits(world)[43], commits(world)[44]) == ("", A)


def test_what_is_announced_weighs_more_than_what_the_platform_says() -> None:
    told = Authorship()
    told.hear(Announced(target=SHOP, at=0, commit=A, by="", url=""))
    theirs = replace(release(42), commit=B, author="token")
    told.match([theirs], 1)

    assert told.dress(theirs) == Release(**{**_fields(theirs), "commit": A})  # type: ignore[arg-type]  # a test's short cut


def test_only_so_many_are_remembered_and_nothing_odd_is_restored() -> None:
    told = Authorship()
    for version in range(1, 211):
        told.hear(Announced(target=SHOP, at=0, commit=A, by="ann"))
        told.match([release(version)], 1)
    fresh = Authorship()
    fresh.restore(json.loads(json.dumps(told.as_json())))
    fresh.restore({"x": {}, "900": {"commit": 1}, "901": 3})

    assert min(told.told) == 11
    assert fresh == told


def _fields(one: Release) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
