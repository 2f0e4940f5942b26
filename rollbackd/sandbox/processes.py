"""Starts the sandbox and the daemon as the processes they are for anybody, and ends them again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rollbackd.core.errors import PermanentError

START_SECONDS = 30.0
END_SECONDS = 20.0


def bare_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours without anything that names a Fly, a token or a setting of whoever runs this."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROLLBACKD_", "FLY_"))}
    return kept | dict(extra)


async def start_sandbox(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[Process, dict[str, Any]]:
    """A sandbox that ends with us, and its URLs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollbackd", "sandbox", "--until-stdin-closes", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=bare_environment(environment or {}),
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        raise PermanentError("the sandbox did not start", hint="rollbackd sandbox shows why")
    urls: dict[str, Any] = json.loads(line)
    return process, urls


async def start_daemon(environment: Mapping[str, str], log: Path) -> Process:
    """`rollbackd run` with its log in a file."""
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rollbackd", "run"),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=out,
            env=bare_environment(environment),
        )


async def end(process: Process | None) -> None:
    """SIGTERM, and after a while what cannot be ignored."""
    if process is None or process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
