"""What the machines' states say about an app."""

from __future__ import annotations

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import Check, CheckOutcome, MissReason
from rollbackd.core.model import Machine
from rollbackd.core.ports import Missed, NobodyHome
from rollbackd.probes.fly import judge
from rollbackd.probes.sleeping import asleep
from tests.unit.probes.loopback import FakePlatform, build, context, machine


def failing(*machines: Machine) -> tuple[CheckOutcome, int | None]:
    reading = judge(machines)
    assert isinstance(reading, Check), reading
    return reading.outcome, reading.failing_machines


GOOD = (CheckOutcome.OK, 0)


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([machine()], GOOD),
        ([machine(critical_checks=1)], (CheckOutcome.FAILED, 1)),
        ([machine(critical_checks=3), machine(critical_checks=1)], (CheckOutcome.FAILED, 2)),
        ([machine(state="stopped", critical_checks=1)], GOOD),
        ([machine(state="starting", critical_checks=1)], GOOD),
        ([machine(crash_looping=True)], (CheckOutcome.FAILED, 1)),
        ([machine(state="stopped", crash_looping=True), machine()], (CheckOutcome.FAILED, 1)),
        ([machine(state="failed")], (CheckOutcome.FAILED, 1)),
        ([machine(reachable=False, state="failed"), machine()], GOOD),
        ([machine(standby=True, state="stopped"), machine()], GOOD),
        ([machine(state="stopped")], GOOD),
    ],
)
def test_a_failing_machine_is_started_and_critical_or_crashing_or_failed(
    machines: list[Machine], expected: tuple[CheckOutcome, int]
) -> None:
    assert failing(*machines) == expected


def test_it_says_what_is_wrong_with_how_many() -> None:
    reading = judge(
        [machine(critical_checks=1), machine(critical_checks=1), machine(state="failed")]
    )
    assert isinstance(reading, Check)
    assert reading.why == "of 3 machines: 1 failed, 2 with a critical check"


@pytest.mark.parametrize("machines", [[], [machine(reachable=False)]])
def test_without_a_machine_to_be_seen_it_is_a_miss(machines: list[Machine]) -> None:
    reading = judge(machines)
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.EMPTY


@pytest.mark.parametrize(
    ("machines", "sleeps"),
    [
        ([], False),
        ([machine(autostop=True)], False),
        ([machine(autostop=True, state="stopped")], True),
        ([machine(autostop=True, state="suspended")], True),
        ([machine(autostop=False, state="stopped")], False),
        ([machine(autostop=True, state="stopped"), machine(autostop=True)], False),
        ([machine(autostop=True, state="stopped"), machine(state="starting")], False),
        ([machine(autostop=True, state="stopped", crash_looping=True)], False),
        ([machine(autostop=True, state="failed")], False),
        ([machine(autostop=True, state="stopped", reachable=False)], False),
        ([machine(autostop=True, state="stopped"), machine(standby=True)], True),
    ],
)
def test_an_app_sleeps_when_all_its_autostopping_machines_rest(
    machines: list[Machine], sleeps: bool
) -> None:
    assert asleep(machines) is sleeps
    assert (judge(machines) == NobodyHome()) is sleeps


async def test_it_sees_the_machines_as_they_are_now() -> None:
    platform, clock = FakePlatform([machine()]), FakeClock()
    probe = build("fly", {}, context(platform=platform, clock=clock))
    await probe.take()
    platform.shown = (machine(critical_checks=1),)
    clock.advance(10)
    reading = await probe.take()
    assert isinstance(reading, Check)
    assert reading.outcome is CheckOutcome.FAILED


async def test_a_platform_that_hangs_is_a_miss_by_the_deadline() -> None:
    import asyncio

    class Hanging(FakePlatform):
        async def machines(self) -> tuple[Machine, ...]:
            await asyncio.Event().wait()
            return ()

    probe = build("fly", {}, context(platform=Hanging(), seconds=0.1))
    reading = await probe.take()
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.SOURCE_UNREACHABLE


def test_it_needs_a_platform() -> None:
    with pytest.raises(ConfigError, match="names none"):
        build("fly", {}, context(platform=None))
