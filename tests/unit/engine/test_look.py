"""A look blames the target for nothing that may be ours."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from rollbackd.clock import FakeClock
from rollbackd.core.facts import (
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Miss,
    MissReason,
    Ratio,
    Sample,
)
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.ports import ByMachine, Missed, NobodyHome, Reading
from rollbackd.engine.look import Looker, Watched
from rollbackd.engine.looplag import LoopLag
from rollbackd.telemetry.metrics import Metrics

OK = Check(outcome=CheckOutcome.OK, seconds=0.1)
FAILED = Check(outcome=CheckOutcome.FAILED, why="refused")


class OneReading:
    def __init__(self, reading: Reading | Exception, log: list[str]) -> None:
        self.reading = reading
        self.log = log

    async def take(self) -> Reading:
        self.log.append("look")
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading

    async def close(self) -> None: ...


class OneControl:
    def __init__(self, *, ok: bool, log: list[str]) -> None:
        self.ok = ok
        self.log = log

    async def look(self) -> bool:
        self.log.append("control")
        return self.ok


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock(1000)
        self.log: list[str] = []
        self.metrics = Metrics(CollectorRegistry())
        self.lag = LoopLag(self.clock, self.metrics)
        self.looker = Looker(self.clock, self.lag, self.metrics)

    def watched(
        self, reading: Reading | Exception, *, control: bool = True, kind: str = "http"
    ) -> Watched:
        return Watched(
            target=TargetName("shop"),
            name=ProbeName("health"),
            kind=kind,
            interval_seconds=10,
            timeout_seconds=3,
            probe=OneReading(reading, self.log),
            control=OneControl(ok=control, log=self.log),
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    return Bench()


async def test_a_good_look_is_a_sample_and_asks_no_control(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(OK))

    assert facts == [
        Sample(target=TargetName("shop"), probe=ProbeName("health"), at=1000, measure=OK)
    ]
    assert bench.log == ["look"]


async def test_a_failed_look_is_a_sample_when_the_control_answers_after_it(bench: Bench) -> None:
    control, sample = await bench.looker.look(bench.watched(FAILED))

    assert isinstance(control, ControlSeen)
    assert control.ok
    assert isinstance(sample, Sample)
    assert bench.log == ["look", "control"]


async def test_a_failed_look_is_a_miss_when_the_control_is_down_too(bench: Bench) -> None:
    control, miss = await bench.looker.look(bench.watched(FAILED, control=False))

    assert isinstance(control, ControlSeen)
    assert not control.ok
    assert isinstance(miss, Miss)
    assert miss.reason == MissReason.CONTROL_PROBE_FAILED


async def test_a_lost_control_is_asked_until_it_answers_again(bench: Bench) -> None:
    await bench.looker.look(bench.watched(FAILED, control=False))

    still_lost = await bench.looker.look(bench.watched(OK, control=False))
    regained = await bench.looker.look(bench.watched(OK))
    quiet = await bench.looker.look(bench.watched(OK))

    assert [type(f) for f in still_lost] == [ControlSeen, Sample]
    assert isinstance(regained[0], ControlSeen)
    assert regained[0].ok
    assert [type(f) for f in quiet] == [Sample]


async def test_a_refused_look_needs_the_control_too(bench: Bench) -> None:
    refused = Check(outcome=CheckOutcome.REFUSED, why="401")

    facts = await bench.looker.look(bench.watched(refused, control=False))

    assert isinstance(facts[-1], Miss)


async def test_the_platforms_own_answer_needs_no_control(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(FAILED, control=False, kind="fly"))

    assert [type(f) for f in facts] == [Sample]


async def test_a_ratio_is_never_an_accusation_by_itself(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(Ratio(bad=5, total=5), control=False))

    assert [type(f) for f in facts] == [Sample]


async def test_a_failed_look_while_our_own_loop_was_late_is_a_miss(bench: Bench) -> None:
    bench.lag._note(999.0, 1000.4)

    facts = await bench.looker.look(bench.watched(FAILED))

    assert isinstance(facts[-1], Miss)
    assert facts[-1].reason == MissReason.OVERLOADED


async def test_a_good_look_stays_good_however_late_our_loop_was(bench: Bench) -> None:
    bench.lag._note(999.0, 1000.4)

    facts = await bench.looker.look(bench.watched(OK))

    assert isinstance(facts[-1], Sample)


async def test_lag_before_the_look_spoils_nothing(bench: Bench) -> None:
    bench.lag._note(990.0, 992.0)

    facts = await bench.looker.look(bench.watched(FAILED))

    assert isinstance(facts[-1], Sample)


async def test_a_probe_that_raises_is_a_miss_and_not_the_end(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(RuntimeError("broken plugin")))

    assert isinstance(facts[-1], Miss)
    assert facts[-1].reason == MissReason.PROBE_ERROR


async def test_nobody_home_is_asleep(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(NobodyHome()))

    assert facts == [Asleep(target=TargetName("shop"), probe=ProbeName("health"), at=1000)]


async def test_the_fact_carries_the_time_at_which_the_look_began(bench: Bench) -> None:
    class Slow(OneReading):
        async def take(self) -> Reading:
            bench.clock.advance(2)
            return OK

    watched = bench.watched(OK)
    slow = Watched(**{f: getattr(watched, f) for f in Watched.__slots__} | {"probe": Slow(OK, [])})

    (fact,) = await bench.looker.look(slow)

    assert fact.at == 1000


async def test_a_probe_that_ignores_its_deadline_is_cut_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hangs(OneReading):
        async def take(self) -> Reading:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("rollbackd.engine.look.GRACE_SECONDS", 0.05)
    watched = bench.watched(OK)
    hanging = Watched(
        **{f: getattr(watched, f) for f in Watched.__slots__}
        | {"probe": Hangs(OK, []), "timeout_seconds": 0.05}
    )

    facts = await bench.looker.look(hanging)

    assert isinstance(facts[-1], Miss)


async def test_a_miss_with_an_unknown_reason_is_counted_in_the_closed_set(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(Missed(reason="made up", detail="x")))

    assert isinstance(facts[-1], Miss)
    body, _ = bench.metrics.render("")
    assert b'result="probe_error"' in body
    assert b"made up" not in body


# Parts --------------------------------------------------------------------------------------------


def of_machines(whole: Check, new: Check) -> ByMachine:
    return ByMachine(whole=whole, parts=(("new1", new), ("old1", OK)))


async def test_each_machines_part_is_a_sample_of_its_own(bench: Bench) -> None:
    facts = await bench.looker.look(bench.watched(of_machines(OK, OK)))
    assert [(f.machine, f.measure) for f in facts if isinstance(f, Sample)] == [
        ("new1", OK),
        ("old1", OK),
        (None, OK),
    ]
    assert bench.log == ["look"]


@pytest.mark.parametrize(
    ("whole", "control", "left"),
    [
        (OK, True, ["new1", "old1", None]),
        (OK, False, [None]),
        (FAILED, True, ["new1", "old1", None]),
        (FAILED, False, []),
    ],
)
async def test_a_machine_is_accused_only_after_the_control_answered(
    bench: Bench, whole: Check, control: bool, left: list[str | None]
) -> None:
    watched = bench.watched(of_machines(whole, FAILED), control=control)
    facts = await bench.looker.look(watched)
    assert bench.log == ["look", "control"]
    assert [f.machine for f in facts if isinstance(f, Sample)] == left


async def test_a_loop_that_was_late_accuses_no_machine(bench: Bench) -> None:
    bench.lag._note(999.0, 1000.4)
    facts = await bench.looker.look(bench.watched(of_machines(OK, FAILED)))
    assert [f.machine for f in facts if isinstance(f, Sample)] == [None]

    (fact,) = await bench.looker.look(bench.watched(of_machines(FAILED, OK)))
    assert isinstance(fact, Miss)
    assert fact.reason == MissReason.OVERLOADED
