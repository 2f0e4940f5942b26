"""Many targets that break in one tick: the loop rolls none of them back, as a replay of it does."""

from dataclasses import replace
from pathlib import Path

import pytest

from rollbackd.core.facts import Check, CheckOutcome, ReleasesSeen, Sample, Tick
from rollbackd.core.model import Decision, Hold, HoldReason, ProbeName, RollBack, TargetName
from rollbackd.core.round import decide_all, mass_of
from tests.unit.core.world import SHOP, release
from tests.unit.engine.test_engine import Bench

NAMES = tuple(map(TargetName, "abc"))


async def broken(home: Bench, names: tuple[TargetName, ...]) -> None:
    """v42 comes at 100 everywhere; these fail from 115 on."""
    one = home.engine.policy.targets[SHOP]
    targets = {name: replace(one, name=name) for name in NAMES}
    mass = replace(home.engine.policy.mass, targets=3, share=0.9)
    home.engine.adopt(replace(home.engine.policy, targets=targets, mass=mass))
    for name in NAMES:
        await home.engine.turn(ReleasesSeen(target=name, at=0, releases=(release(41),)))
    await look(home, range(5, 96, 10), ())
    home.clock.advance(100)
    news = (release(42), release(41))
    for name in NAMES:
        await home.engine.turn(ReleasesSeen(target=name, at=100, releases=news))
    await look(home, [105], ())
    home.clock.advance(46)
    await look(home, [115, 125, 135, 145], names)


async def look(home: Bench, times: list[int] | range, failing: tuple[TargetName, ...]) -> None:
    for at in times:
        for name in NAMES:
            outcome = CheckOutcome.FAILED if name in failing else CheckOutcome.OK
            seen = Check(outcome=outcome)
            fact = Sample(target=name, probe=ProbeName("health"), at=at, measure=seen)
            await home.engine.turn(fact)


def said(decisions: dict[TargetName, Decision]) -> dict[TargetName, str]:
    return {
        name: "roll_back" if isinstance(made, RollBack) else made.reason
        for name, made in decisions.items()
    }


@pytest.mark.parametrize("failing", [NAMES, NAMES[:2]])
async def test_one_tick_decides_for_all_as_the_core_does_at_one_moment(
    tmp_path: Path, failing: tuple[TargetName, ...]
) -> None:
    home = Bench(tmp_path)
    await home.open()
    home.engine._rollbacks.begin = lambda *_args: None  # type: ignore[method-assign]  # nothing to do
    await broken(home, failing)
    engine = home.engine
    mass = mass_of(engine.policy, engine.states, {}, NAMES, 146)
    wanted = said(decide_all(engine.policy, engine.states, NAMES, 146, mass))

    await engine.turn(Tick(at=146))
    await home.store.close()

    assert said(engine.decisions) == wanted
    held = [d for d in engine.decisions.values() if isinstance(d, Hold)]
    together = [d for d in held if d.reason is HoldReason.MASS_FAILURE]
    assert len(together) == (3 if failing == NAMES else 0)
    assert len(held) == (3 if failing == NAMES else 1)
