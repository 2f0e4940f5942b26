"""A look without words: another one wherever the decision is another one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rollbackd.core.glance import glance
from rollbackd.core.model import Hold, ProbeName, TriggerName
from rollbackd.core.rules import Composite, Regression, Severity, TriggerRef
from tests.unit.core.world import (
    World,
    breached_world,
    down,
    error_rate,
    locks,
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
QUIET = target(
    trigger(down(), name="down"),
    trigger(error_rate(0.2, for_seconds=20, min_samples=10), name="errors"),
    trigger(
        Composite(every=True, parts=(TriggerRef(trigger=TriggerName("errors")), locks(10))),
        name="both",
    ),
    trigger(REGRESSION, name="regression"),  # type: ignore[arg-type]  # any rule will do
)


def test_a_breach_wants_a_decision_every_time() -> None:
    world = breached_world()

    assert glance(world.target, world.state, 146) is None


def test_a_warning_s_breach_does_not_where_something_critical_is_watched() -> None:
    world = breached_world(
        target(trigger(down(), severity=Severity.WARNING), trigger(locks(), name="locks"))
    )

    assert glance(world.target, world.state, 146) is not None


def test_nor_where_there_are_only_warnings() -> None:
    world = breached_world(target(trigger(down(), severity=Severity.WARNING)))

    assert glance(world.target, world.state, 146) is not None


def test_one_silence_is_told_from_another() -> None:
    seen = set()
    for what in ("nothing", "asleep", "miss", "refused"):
        world = World(QUIET)
        world.releases(0, release(41))
        world.ok(5)
        if what == "asleep":
            world.sleep(6)
        if what == "miss":
            world.miss(26, reason="source_error")
        if what == "refused":
            world.refuse(26)
        seen.add(str(glance(world.target, world.state, 30)))

    assert len(seen) == 4


def test_looks_not_counted_while_a_release_settles_are_told() -> None:
    world = World(QUIET)
    world.releases(0, release(41))
    before = glance(world.target, world.state, 5)
    world.fail(4)

    assert glance(world.target, world.state, 5) != before


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 150),
            st.sampled_from(("ok", "fail", "refuse", "sleep", "miss", "bad", "fine", "locks")),
        ),
        max_size=40,
    )
)
def test_equal_glances_mean_equal_decisions(looks: list[tuple[float, str]]) -> None:
    world = World(QUIET)
    world.releases(0, release(41))
    pending = sorted(looks)
    index, by_glance = 0, {}
    for now in range(0, 200, 3):
        while index < len(pending) and pending[index][0] <= now:
            tell(world, *pending[index])
            index += 1
        world.state.advance(now)
        seen, decision = glance(world.target, world.state, now), world.decide(now)
        if seen is None:
            continue
        assert isinstance(decision, Hold)
        shown = (decision.reason, decision.trigger, decision.bad, decision.good)
        assert by_glance.setdefault(str(seen), shown) == shown


def tell(world: World, at: float, what: str) -> None:
    match what:
        case "ok":
            world.ok(at)
        case "fail":
            world.fail(at)
        case "refuse":
            world.refuse(at)
        case "sleep":
            world.sleep(at)
        case "miss":
            world.miss(at)
        case "locks":
            world.value(at, 50)
        case _:
            world.ratio(at, 9 if what == "bad" else 0, 20)
