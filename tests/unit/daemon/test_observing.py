"""When the database of a release may be taken for that of one that is well."""

from __future__ import annotations

import pytest

from rollbackd.core.model import ReleaseStatus, TriggerState
from rollbackd.core.rules import Severity
from rollbackd.daemon.observing import well
from tests.unit.core.world import World, down, failing, machine, release, target, trigger


@pytest.fixture
def world() -> World:
    """v41 is current and was seen well."""
    made = World(target(trigger(down())))
    made.good_start()
    return made


def version_well(world: World, now: float) -> int | None:
    found = well(world.state, world.decide(now), now)
    return None if found is None else found.version


def test_a_release_that_was_seen_well_is(world: World) -> None:
    assert version_well(world, 96) == 41


def test_before_anything_was_judged_nothing_is_known(world: World) -> None:
    assert well(world.state, None, 96) is None


def test_a_release_that_was_not_looked_at_is_not() -> None:
    world = World(target(trigger(down())))
    world.releases(0, release(41))
    assert version_well(world, 10) is None


def test_a_successor_ends_it_until_that_one_was_seen_well(world: World) -> None:
    world.bad_deploy(answers=False)
    assert version_well(world, 101) is None
    world.ok(*range(105, 200, 10))
    assert version_well(world, 200) == 42


def test_nobody_is_well_while_somebody_deploys(world: World) -> None:
    """Its migrations may have run already, and the old release is still the current one."""
    world.machines(97, machine("m1", "image-41", 41))
    world.releases(100, release(42, status=ReleaseStatus.RUNNING), release(41))
    world.ok(105)
    assert world.state.current is not None
    assert world.state.current.version == 41
    assert version_well(world, 106) is None


def test_a_deploy_that_failed_leaves_no_doubt_unsaid(world: World) -> None:
    """What it migrated before it failed is there, though its release never ran."""
    world.machines(97, machine("m1", "image-41", 41))
    world.releases(100, release(42, status=ReleaseStatus.FAILED), release(41))
    world.ok(105)
    assert version_well(world, 106) is None


@pytest.mark.parametrize(
    ("severity", "expected"), [(Severity.CRITICAL, None), (Severity.WARNING, 41)]
)
def test_what_is_pending_or_breached_is_not_well(severity: Severity, expected: int | None) -> None:
    world = World(
        target(
            trigger(down(), name="down"),
            trigger(
                failing("database", for_seconds=60, breaches=None), name="db", severity=severity
            ),
        )
    )
    world.good_start()
    world.ok(90, name="database")
    world.fail(95, name="database")
    world.ok(95)
    decision = world.decide(96)
    assert [v.state for v in decision.verdicts] == [TriggerState.OK, TriggerState.PENDING]
    assert version_well(world, 96) == expected


def test_while_our_own_network_is_in_doubt_nothing_is_known(world: World) -> None:
    world.control(96, ok=False)
    assert version_well(world, 97) is None


def test_nobody_is_well_while_a_rollback_runs(world: World) -> None:
    world.started(96, release(41), release(40))
    assert version_well(world, 97) is None


def test_what_was_rolled_back_from_is_not_well_because_it_seems_so(world: World) -> None:
    world.state.ledger.quarantine(release(41), 96, why="rolled back from")
    assert version_well(world, 97) is None
