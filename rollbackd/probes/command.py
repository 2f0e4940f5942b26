"""The `command` probe: runs a program of one's own. No shell, none of our secrets, no leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import ClassVar, Self

from pydantic import Field, model_validator

from rollbackd.config.types import Many, Size, Spec, refused
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason, Value
from rollbackd.core.ports import Missed, Reading
from rollbackd.plugins import ProbeContext
from rollbackd.probes.json_path import Absent, JsonPath, as_number, parse_json, pick

CANNOT_TELL = 75  # EX_TEMPFAIL of sysexits.h
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
_OURS = {
    errno.EMFILE: MissReason.OUT_OF_FILES,
    errno.ENFILE: MissReason.OUT_OF_FILES,
    errno.EAGAIN: MissReason.OVERLOADED,
    errno.ENOMEM: MissReason.OVERLOADED,
}


class CommandConfig(Spec):
    """A program: exit 0 is good, 75 means it could not tell, anything else is failed."""

    argv: Many[str] = Field(
        min_length=1, description="The program and its arguments.", examples=[["./probe", "-q"]]
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Its environment besides PATH, HOME, LANG, TZ."
    )
    value: JsonPath | None = Field(
        default=None, description="Read a number from the JSON it prints instead of judging it."
    )
    size_limit: Size = Field(
        default=64 * 2**10, description="More output than this is a miss.", examples=["64KiB"]
    )

    @model_validator(mode="after")
    def _a_program(self) -> Self:
        if not self.argv[0] or any("\0" in part for part in self.argv):
            raise refused("no program to run", "write argv: [./probe]")
        return self


class CommandProbe:
    """Each look is one process group, dead by the deadline."""

    kind: ClassVar[str] = "command"
    Config: ClassVar[type[CommandConfig]] = CommandConfig

    @classmethod
    def measure(cls, config: CommandConfig) -> MeasureKind:
        return MeasureKind.CHECK if config.value is None else MeasureKind.VALUE

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: CommandConfig, context: ProbeContext) -> Self:
        return cls(config, context)

    def __init__(self, config: CommandConfig, context: ProbeContext) -> None:
        self._config = config
        self._clock = context.clock
        self._timeout_seconds = context.timeout_seconds

    async def take(self) -> Reading:
        began = self._clock.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._config.argv,
                env=_environment() | self._config.env,
                stdin=DEVNULL,
                stdout=DEVNULL if self._config.value is None else PIPE,
                stderr=DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            reason = _OURS.get(error.errno or 0, MissReason.PROBE_ERROR)
            return Missed(reason=reason, detail=f"cannot run it: {type(error).__name__}")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                output = await _read(process, self._config.size_limit)
                code = 0 if output is None else await process.wait()
        except TimeoutError:
            return self._timed_out()
        finally:
            await _end(process)
        if output is None:
            return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="output over the limit")
        return self._judge(code, output, self._clock.monotonic() - began)

    async def close(self) -> None:
        """No process outlives its look."""

    def _timed_out(self) -> Reading:
        if self._config.value is not None:
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail="time-out")
        return Check(outcome=CheckOutcome.FAILED, why="time-out")

    def _judge(self, code: int, output: bytes, seconds: float) -> Reading:
        if code == CANNOT_TELL:
            return Missed(reason=MissReason.SOURCE_ERROR, detail=f"exit {CANNOT_TELL}")
        if self._config.value is not None:
            return _number(code, output, self._config.value)
        if code == 0:
            return Check(outcome=CheckOutcome.OK, seconds=seconds)
        why = f"exit {code}" if code > 0 else f"killed by signal {-code}"
        return Check(outcome=CheckOutcome.FAILED, seconds=seconds, why=why)


def _number(code: int, output: bytes, path: str) -> Value | Missed:
    if code != 0:
        return Missed(reason=MissReason.SOURCE_ERROR, detail=f"exit {code}")
    document = parse_json(output)
    if isinstance(document, Absent):
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail="output is not JSON")
    found = pick(document, path)
    if isinstance(found, Absent) or found is None:
        return Missed(reason=MissReason.EMPTY, detail=f"nothing at {path}")
    number = as_number(found)
    if number is None:
        return Missed(reason=MissReason.NOT_A_NUMBER, detail=path)
    return Value(value=number)


def _environment() -> dict[str, str]:
    # By allow-list: the daemon's own environment holds tokens that can deploy.
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


async def _read(process: Process, limit: int) -> bytes | None:
    """All it prints, or None where that is over the limit."""
    if process.stdout is None:
        return b""
    output = bytearray()
    while chunk := await process.stdout.read(limit + 1):
        output += chunk
        if len(output) > limit:
            return None
    return bytes(output)


async def _end(process: Process) -> None:
    # The whole group, children included, even where the program itself is gone already.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
