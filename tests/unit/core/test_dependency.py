"""What the app depends on vetoes when it is ill, and never says whether the app is up."""

from dataclasses import replace
from typing import Any

import pytest

from rollbackd.core.facts import MeasureKind
from rollbackd.core.model import HoldReason, RollBack, TriggerState
from tests.unit.core.world import (
    PROBES,
    World,
    down,
    error_rate,
    failing,
    probe,
    release,
    target,
    trigger,
)

DATABASE = replace(probe("database", MeasureKind.CHECK), kind="supabase", dependency=True)
OTHERS = tuple(p for p in PROBES if p.name != "database")
VETO = (failing("database"),)


def world(rule: Any = None, **more: Any) -> World:
    one = trigger(rule or down(), unless=more.pop("unless", VETO))
    return World(target(one, probes=more.pop("probes", (*OTHERS, DATABASE))), **more)


def breached(database: Any) -> World:
    """v42 answers once and then fails; `database` tells how the dependency is at a time."""
    made = world()
    made.good_start()
    made.ok(*range(6, 97, 10), name="database")
    made.bad_deploy()
    for at in (115, 125, 135, 145):
        database(made, at - 1)
        made.fail(at)
    return made


def test_an_ill_dependency_holds_the_rollback() -> None:
    made = breached(lambda w, at: w.check(at, "failed", "database", why="db UNHEALTHY"))

    assert made.verdict(146).state is TriggerState.BREACHED
    held = made.held(146)
    assert held.reason is HoldReason.VETOED
    assert held.why.endswith("; database failing")


def test_a_dependency_that_cannot_be_looked_at_holds_it_too() -> None:
    made = breached(lambda w, at: w.miss(at, "database", "source_unauthorized"))

    assert made.reason(146) is HoldReason.VETOED


def test_a_dependency_that_is_well_stands_aside() -> None:
    made = breached(lambda w, at: w.ok(at, name="database"))

    decision = made.decide(146)

    assert isinstance(decision, RollBack), decision
    assert decision.bad == release(42)


@pytest.mark.parametrize(("dependency", "settled"), [(True, False), (False, True)])
def test_a_well_dependency_is_no_first_success(dependency: bool, settled: bool) -> None:
    made = world(probes=(*OTHERS, replace(DATABASE, dependency=dependency)))
    made.good_start()
    made.bad_deploy(answers=False)
    made.ok(104, name="database")

    assert made.state.deploys.settled is settled


def test_without_a_check_of_the_app_itself_its_traffic_ends_the_settling() -> None:
    errors = next(p for p in PROBES if p.name == "errors")
    made = world(error_rate(), probes=(errors, DATABASE))
    made.releases(0, release(41))
    made.releases(100, release(42), release(41))
    made.ratio(115, 0, 100)

    assert made.state.deploys.settled


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [(True, TriggerState.ERROR), (False, TriggerState.BREACHED)],
)
def test_an_ill_dependency_does_not_agree_that_the_app_is_down(
    dependency: bool, expected: TriggerState
) -> None:
    made = world(probes=(*OTHERS, replace(DATABASE, dependency=dependency)), unless=())
    made.good_start()
    made.bad_deploy()
    for at in (115, 125, 135, 145):
        made.fail(at - 1, name="database")
        made.refuse(at)  # 401 on the health path

    assert made.verdict(146).state is expected
