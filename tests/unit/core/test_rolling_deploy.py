"""A rolling deploy with old and new serving, and something breaks: is the release to blame?"""

from collections.abc import Callable

import pytest

from rollbackd.core.facts import Ratio
from rollbackd.core.model import Decision, ProbeName, ReleaseStatus, RollBack
from rollbackd.core.regression import RegressionWatch
from rollbackd.core.rules import Regression
from tests.unit.core.world import PROBES, World, machine, release, target, trigger

TICK = 10
DEPLOY = 3600  # an hour of history before it
BREAKS = DEPLOY + 120
SWITCHES = (DEPLOY, DEPLOY + 20, DEPLOY + 400, DEPLOY + 420)  # one machine each; then all are new
END = DEPLOY + 1500
EACH = 250  # requests a machine and tick: 100/s in all

RULE = Regression(
    errors=ProbeName("errors"),
    health=None,
    latency=None,
    tick_seconds=TICK,
    odds=2000,
    history_at_least_seconds=3600,
    history_at_most_seconds=86_400,
)

Rate = Callable[[float, bool], float]  # at, on the new release -> the share of errors


def everybody(at: float, new: bool) -> float:
    """What all of them depend on broke, after the first machines were switched."""
    return 0.2 if at > BREAKS else 0.001


def the_new(at: float, new: bool) -> float:
    return 0.05 if new else 0.001


def nobody(at: float, new: bool) -> float:
    return 0.001


def told(rate: Rate, *, parts: bool) -> Decision:
    """The decision of the first rollback, or the last one of all."""
    errors = tuple(p for p in PROBES if p.name == "errors")
    world = World(target(trigger(RULE, name="release-regression"), probes=errors))
    world.releases(0, release(41))
    decision: Decision | None = None
    for at in range(TICK, END, TICK):
        switched = [at > when for when in SWITCHES]
        if at == DEPLOY:
            status = ReleaseStatus.RUNNING
            world.releases(at - 1, release(42, status=status, created_at=at - 1), release(41))
        if at == SWITCHES[-1] + TICK:
            world.releases(at - 1, release(42, created_at=DEPLOY - 1), release(41))
        versions = [42 if new else 41 for new in switched]
        names = [f"m{number}" for number in range(len(versions))]
        world.machines(
            at - 1,
            *(machine(n, f"image-{v}", v) for n, v in zip(names, versions, strict=True)),
        )
        counts = [Ratio(bad=EACH * rate(at, new), total=EACH) for new in switched]
        if parts and len(set(versions)) > 1:
            for name, count in zip(names, counts, strict=True):
                world.sample(at, "errors", count, machine=name)
        world.ratio(at, sum(c.bad for c in counts), sum(c.total for c in counts))
        world.state.advance(at - 1)
        decision = world.decide(at)
        if isinstance(decision, RollBack):
            return decision
    assert decision is not None
    return decision


@pytest.mark.parametrize("rate", [everybody, nobody])
def test_what_hurts_old_and_new_alike_is_not_the_releases_fault(rate: Rate) -> None:
    assert not isinstance(told(rate, parts=True), RollBack)


def test_what_hurts_the_new_machines_only_is() -> None:
    decision = told(the_new, parts=True)
    assert isinstance(decision, RollBack)
    assert decision.bad.version == 42
    assert decision.at == SWITCHES[-1] + TICK  # nobody cuts into a deploy that goes on


def the_last(at: float, new: bool) -> float:
    """It holds until all machines run it."""
    return 0.05 if at > SWITCHES[-1] else 0.001


def test_what_breaks_with_the_last_machine_breaks_with_the_release() -> None:
    decision = told(the_last, parts=False)
    assert isinstance(decision, RollBack)
    assert decision.at - SWITCHES[-1] <= 100


def test_a_deploy_that_is_complete_before_anything_is_judged_changes_nothing() -> None:
    watch = RegressionWatch(RULE, {p.name: p for p in PROBES})
    watch.complete()
    assert watch.odds == 1


def test_without_a_look_at_each_machine_nobody_can_tell() -> None:
    """The reason for the parts: seen as a whole, the same outage convicts the release."""
    assert isinstance(told(everybody, parts=False), RollBack)
    assert not isinstance(told(nobody, parts=False), RollBack)
