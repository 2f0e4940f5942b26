"""pg_dump and pg_restore: the right one, in time, and nothing secret where others can read."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from rollbackd.core.errors import PermanentError
from rollbackd.postgres import tools
from rollbackd.postgres.connection import connect
from tests.support import until


def installation(directory: Path, major: int) -> Path:
    directory.mkdir(parents=True)
    for name in ("pg_dump", "pg_restore"):
        program = directory / name
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {major}.4'\n")
        program.chmod(0o755)
    return directory


def test_the_nearest_that_is_as_new_as_the_server_is_taken(tmp_path: Path) -> None:
    old, same, new = (installation(tmp_path / str(major), major) for major in (15, 17, 18))

    assert tools.find(16, [old, new, same]).directory == same
    assert tools.find(18, [old, new, same]).directory == new


def test_an_older_pg_dump_is_refused_with_what_there_is(tmp_path: Path) -> None:
    old = installation(tmp_path / "15", 15)

    with pytest.raises(PermanentError, match="PostgreSQL 17; pg_dump here: 15"):
        tools.find(17, [old, tmp_path / "nothing"])


async def test_a_password_that_a_tool_repeats_is_taken_out(database: str) -> None:
    async with await connect(SecretStr(database), name="test") as connection:
        access = tools.access_of(connection, "run-7")
        password = connection.info.password

    with pytest.raises(tools.ToolFailed, match="exit 3") as failed:
        await tools.run_async(
            ["sh", "-c", "echo wrong $PGPASSWORD >&2; exit 3"], limit_seconds=5, access=access
        )

    assert failed.value.hint == "wrong [redacted]"
    assert len(password) > 8


async def test_the_child_gets_the_address_and_none_of_our_secrets(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("ROLLBACKD_FLY_TOKEN", "secret")
    async with await connect(SecretStr(database), name="test") as connection:
        access = tools.access_of(connection, "run-7")
        port = connection.info.port
    said: list[bytes] = []

    tools.run(["env"], limit_seconds=5, access=access, each_chunk=said.append)

    given = dict(line.split("=", 1) for line in b"".join(said).decode().splitlines())
    assert (given["PGHOST"], given["PGPORT"]) == ("127.0.0.1", str(port))
    assert given["PGAPPNAME"] == "rollbackd/run-7"
    assert given["PGSSLMODE"] == "require"
    assert "ROLLBACKD_FLY_TOKEN" not in given


async def test_nothing_secret_is_on_the_command_line(database: str, tmp_path: Path) -> None:
    async with await connect(SecretStr(database), name="test") as connection:
        access = tools.access_of(connection, "run-7")
        password = connection.info.password
    seen: list[bytes] = []

    tools.run(
        ["sh", "-c", "cat /proc/$$/cmdline /proc/$PPID/cmdline"],
        limit_seconds=5,
        access=access,
        each_chunk=seen.append,
    )

    assert b"cat" in b"".join(seen)
    assert password.encode() not in b"".join(seen)


async def test_whoever_is_cancelled_leaves_no_tool_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    work = asyncio.create_task(
        tools.run_async(["sh", "-c", f"echo $$ > {pid}; exec sleep 600"], limit_seconds=600)
    )
    await until(lambda: pid.exists() and bool(pid.read_text().strip()))

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert not Path(f"/proc/{pid.read_text().strip()}/exe").exists()


def test_at_the_limit_everything_it_started_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"trap '' TERM; sleep 600 & echo $! > {pid}; wait"

    with pytest.raises(tools.TookTooLong, match=r"0\.5 s"):
        tools.run(["sh", "-c", script], limit_seconds=0.5)

    assert not Path(f"/proc/{pid.read_text().strip()}/exe").exists()


async def test_a_tool_does_not_outlive_us(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        "from rollbackd.postgres import tools\n"
        f"tools.run(['sh', '-c', 'echo $$ > {pid}; exec sleep 600'], limit_seconds=600)"
    )
    ours = subprocess.Popen([sys.executable, "-c", script])
    await until(lambda: pid.exists() and bool(pid.read_text().strip()))
    os.kill(int(pid.read_text()), 0)

    ours.send_signal(signal.SIGKILL)
    ours.wait()

    await until(lambda: not Path(f"/proc/{pid.read_text().strip()}/exe").exists())


def test_an_error_of_ours_over_a_line_ends_it_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def stumble(line: bytes) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="hello"):
        tools.run(
            ["sh", "-c", f"echo $$ > {pid}; echo hello; exec sleep 600"],
            limit_seconds=600,
            each_chunk=stumble,
        )

    assert not Path(f"/proc/{pid.read_text().strip()}/exe").exists()
