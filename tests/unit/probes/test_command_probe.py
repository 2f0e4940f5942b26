"""Programs that end well, badly, too late, with too much to say, or leave children behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason, Value
from rollbackd.core.ports import Missed, Reading
from rollbackd.probes.command import CommandConfig, CommandProbe
from tests.support import until
from tests.unit.probes.loopback import context, take


async def run(*argv: str, seconds: float = 10.0, **config: Any) -> Reading:
    return await take("command", {"argv": list(argv), **config}, context(seconds=seconds))


async def python(code: str, **config: Any) -> Reading:
    return await run(sys.executable, "-c", code, **config)


@pytest.mark.parametrize(
    ("argv", "outcome", "why"),
    [
        (["true"], CheckOutcome.OK, ""),
        (["false"], CheckOutcome.FAILED, "exit 1"),
        (["sh", "-c", "exit 3"], CheckOutcome.FAILED, "exit 3"),
        (["sh", "-c", "kill -9 $$"], CheckOutcome.FAILED, "killed by signal 9"),
    ],
)
async def test_the_exit_code_is_the_verdict(
    argv: list[str], outcome: CheckOutcome, why: str
) -> None:
    reading = await run(*argv)
    assert isinstance(reading, Check)
    assert (reading.outcome, reading.why) == (outcome, why)


async def test_exit_75_is_a_miss() -> None:
    assert await run("sh", "-c", "exit 75") == Missed(
        reason=MissReason.SOURCE_ERROR, detail="exit 75"
    )


async def test_a_program_that_is_not_there_is_a_miss() -> None:
    reading = await run("/no/such/program")
    assert isinstance(reading, Missed)
    assert reading.reason == MissReason.PROBE_ERROR


async def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert isinstance(await run("true", f"; touch {there}", "$(touch x)"), Check)
    assert not there.exists()


async def test_a_late_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > {pids}; echo $$ >> {pids}; wait"
    began = asyncio.get_running_loop().time()
    reading = await run("sh", "-c", script, seconds=1.0)
    assert asyncio.get_running_loop().time() - began < 5
    assert isinstance(reading, Check)
    assert (reading.outcome, reading.why) == (CheckOutcome.FAILED, "time-out")
    for pid in pids.read_text().split():
        await until(lambda pid=pid: _is_gone(int(pid)))  # type: ignore[misc]  # bound at once


async def test_children_left_behind_by_a_program_that_ended_are_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    await run("sh", "-c", f"sleep 60 > /dev/null & echo $! > {pids}")
    await until(lambda: _is_gone(int(pids.read_text())))


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Killed, but where nobody is init it may stay a zombie.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_number_is_read_from_what_it_prints() -> None:
    reading = await python('print(\'{"queue": {"depth": 42}}\')', value="$.queue.depth")
    assert reading == Value(value=42.0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('<html>')", MissReason.SOURCE_BAD_BODY),
        ("print('{}')", MissReason.EMPTY),
        ('print(\'{"n": "x"}\')', MissReason.NOT_A_NUMBER),
        ("import sys; print('{\"n\": 1}'); sys.exit(1)", MissReason.SOURCE_ERROR),
        ("print('x' * 10_000_000)", MissReason.SOURCE_BAD_BODY),
        ("while True: print('x' * 1000)", MissReason.SOURCE_BAD_BODY),
    ],
)
async def test_output_without_the_number_is_a_miss(code: str, reason: MissReason) -> None:
    reading = await python(code, value="$.n")
    assert isinstance(reading, Missed)
    assert reading.reason == reason


async def test_a_value_that_comes_too_late_is_a_miss() -> None:
    reading = await run("sleep", "60", seconds=0.3, value="$.n")
    assert reading == Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="time-out")


async def test_our_tokens_are_not_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACKD_FLY_TOKEN", "FlyV1 secret")
    count = "len([name for name in os.environ if name.startswith('ROLLBACKD_')])"
    code = f"import os; print([{count}, int(os.environ['OWN'])])"
    assert await python(code, value="$[0]", env={"OWN": "7"}) == Value(value=0.0)
    assert await python(code, value="$[1]", env={"OWN": "7"}) == Value(value=7.0)


@pytest.mark.parametrize(
    "config", [{}, {"argv": []}, {"argv": [""]}, {"argv": ["a\0b"]}, {"argv": "ls -l"}]
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommandConfig.model_validate(config)


def test_the_measure_is_a_value_only_where_one_is_read() -> None:
    assert CommandProbe.measure(CommandConfig(argv=("a",))) is MeasureKind.CHECK
    assert CommandProbe.measure(CommandConfig(argv=("a",), value="$.n")) is MeasureKind.VALUE
