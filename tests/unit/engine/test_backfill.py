"""A trigger that knows too little asks once what its sources still know; failures wait."""

from collections.abc import Callable, Sequence
from dataclasses import replace

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
        self.meanwhile: Callable[[], object] = lambda: None

    async def past(
        self, since: float, until: float, step_seconds: float
    ) -> Sequence[tuple[float, Measure]]:
        self.asked.append((since, until, step_seconds))
        self.meanwhile()
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
        self.state = self.fresh()
        self.told: list[PastSeen] = []
        self.backfill = Backfill(
            clock=self.clock, states=lambda: {SHOP: self.state}, publish=self._take
        )
        self.watched = Watched(
            target=SHOP,
            name=ProbeName(name),
            kind="prometheus",
            interval_seconds=15,
            timeout_seconds=3,
            probe=probe,
            control=Fine(),
        )
        self.backfill.adopt([self.watched])

    def fresh(self) -> TargetState:
        """One that heard nothing yet."""
        return TargetState(target(trigger(regression())), self.clock.now())

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


async def test_a_trigger_that_begins_anew_is_told_again() -> None:
    """The clock was set, and no window may span two times."""
    probe = Remembering()
    asking = Asking(probe)
    await asking.backfill.look()

    asking.state = asking.fresh()
    for _ in range(2):
        await asking.backfill.look()

    assert len(probe.asked) == len(asking.told) == 2


async def test_another_query_of_a_probe_is_asked_what_it_knows() -> None:
    asking = Asking(Remembering())
    await asking.backfill.look()
    other, before = Remembering(), next(iter(asking.state.regressions.watches.values()))

    same = replace(asking.state.policy, fingerprints={"trigger:health-down": "another query"})
    asking.state.carry(same, asking.clock.now())
    asking.backfill.adopt([replace(asking.watched, probe=other)])
    for _ in range(2):
        await asking.backfill.look()

    assert next(iter(asking.state.regressions.watches.values())) is not before
    assert len(other.asked) == 1


async def test_a_reload_asks_a_source_that_failed_at_once() -> None:
    probe = Remembering()
    asking = Asking(probe)
    probe.error = TemporaryError("no answer", hint="is it up?")
    await asking.backfill.look()
    probe.error = None

    asking.backfill.adopt([asking.watched])
    await asking.backfill.look()

    assert len(asking.told) == 1


async def test_two_triggers_of_one_probe_are_told_by_one_question() -> None:
    probe = Remembering()
    asking = Asking(probe)
    both = target(trigger(regression(), name="a"), trigger(regression(odds=500), name="b"))
    asking.state = TargetState(both, asking.clock.now())

    for _ in range(3):
        await asking.backfill.look()

    assert len(probe.asked) == 1


async def test_an_answer_that_a_reload_overtook_is_not_told() -> None:
    """It may be what another query found."""
    probe, other = Remembering(), Remembering()
    asking = Asking(probe)
    probe.meanwhile = lambda: asking.backfill.adopt([replace(asking.watched, probe=other)])

    await asking.backfill.look()
    assert asking.told == []
    await asking.backfill.look()

    assert len(other.asked) == len(asking.told) == 1


async def test_nor_is_one_for_a_watch_that_is_gone() -> None:
    probe = Remembering()
    asking = Asking(probe)

    def begin_anew() -> None:
        asking.state = asking.fresh()

    probe.meanwhile = begin_anew
    await asking.backfill.look()

    assert asking.told == []
