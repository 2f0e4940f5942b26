"""A trigger that knows too little asks once what its sources still know; failures wait."""

from collections.abc import Sequence

import structlog

from rollbackd.clock import FakeClock
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Measure, PastSeen, Ratio
from rollbackd.core.model import ProbeName
from rollbackd.core.ports import Reading
from rollbackd.core.state import TargetState
from rollbackd.engine.backfill import AGAIN_SECONDS, Backfill
from rollbackd.engine.look import Watched
from tests.unit.core.world import SHOP, regression, target, trigger


class Forgetful:
    """A probe whose source remembers nothing."""

    async def take(self) -> Reading:
        return Ratio(bad=0, total=1)

    async def close(self) -> None: ...


class Remembering(Forgetful):
    def __init__(self) -> None:
        self.asked: list[tuple[float, float, float]] = []
        self.error: Exception | None = None

    async def past(
        self, since: float, until: float, step_seconds: float
    ) -> Sequence[tuple[float, Measure]]:
        self.asked.append((since, until, step_seconds))
        if self.error is not None:
            raise self.error
        count = int((until - since) / step_seconds)
        return [(since + n * step_seconds, Ratio(bad=0, total=100)) for n in range(1, count + 1)]


class Fine:
    async def look(self) -> bool:
        return True


class Asking:
    def __init__(self, probe: Forgetful, name: str = "errors") -> None:
        self.clock = FakeClock(1_000_000.0)
        self.state = TargetState(target(trigger(regression())), self.clock.now())
        self.told: list[PastSeen] = []
        self.backfill = Backfill(
            clock=self.clock, states=lambda: {SHOP: self.state}, publish=self._take
        )
        self.backfill.adopt(
            [
                Watched(
                    target=SHOP,
                    name=ProbeName(name),
                    kind="prometheus",
                    interval_seconds=15,
                    timeout_seconds=3,
                    probe=probe,
                    control=Fine(),
                )
            ]
        )

    def _take(self, fact: PastSeen) -> None:
        self.told.append(fact)
        self.state.apply(fact)


async def test_a_trigger_without_history_asks_for_as_much_as_it_keeps_once() -> None:
    probe = Remembering()
    asking = Asking(probe)
    rule = next(iter(asking.state.regressions.watches.values())).rule

    for _ in range(3):
        await asking.backfill.look()

    until = asking.clock.now()
    assert probe.asked == [(until - rule.history_at_most_seconds, until, rule.tick_seconds)]
    assert [fact.at for fact in asking.told] == [until]
    assert asking.told[0].samples[-1][0] == until


async def test_a_probe_that_no_trigger_is_made_from_is_not_asked() -> None:
    probe = Remembering()

    await Asking(probe, "locks").backfill.look()

    assert probe.asked == []


async def test_a_probe_without_a_memory_is_left_alone() -> None:
    asking = Asking(Forgetful())

    await asking.backfill.look()

    assert asking.told == []


async def test_a_target_that_a_reload_took_away_is_left_alone() -> None:
    probe = Remembering()
    asking = Asking(probe)
    asking.backfill.adopt([])

    await asking.backfill.look()

    assert probe.asked == []


async def test_a_source_that_fails_is_asked_again_later_and_told_of_once() -> None:
    probe = Remembering()
    asking = Asking(probe)
    probe.error = TemporaryError("no answer", hint="is it up?")

    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            await asking.backfill.look()
            await asking.backfill.look()
            asking.clock.advance(AGAIN_SECONDS)
        probe.error = None
        await asking.backfill.look()

    assert len(probe.asked) == 4
    assert [line["event"] for line in told] == ["past.unknown", "past.seen"]
    assert len(asking.told) == 1


async def test_an_answer_nobody_foresaw_ends_nothing() -> None:
    probe = Remembering()
    asking = Asking(probe)
    probe.error = KeyError("values")

    with structlog.testing.capture_logs() as told:
        await asking.backfill.look()
        asking.clock.advance(AGAIN_SECONDS)
        await asking.backfill.look()

    assert asking.told == []
    assert [line["log_level"] for line in told] == ["error"]
