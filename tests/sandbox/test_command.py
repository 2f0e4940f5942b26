"""`rollbackd sandbox` as people and scripts start it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support import until

pytestmark = pytest.mark.process


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    command = [sys.executable, "-m", "rollbackd", "sandbox", "--boot", "50ms", *options]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        try:
            yield child, json.loads(child.stdout.readline())
        finally:
            if child.poll() is None:
                child.kill()


def apps_of(urls: dict[str, str]) -> list[dict[str, object]]:
    answer = httpx.get(f"{urls['sandbox_url']}/_sandbox/apps").json()
    found: list[dict[str, object]] = answer["apps"][0]["machines"]
    return found


async def test_one_json_line_with_the_urls_and_an_end_on_sigterm() -> None:
    with started("--app", "hotdash", "--machines", "2", "--seed", "7") as (child, urls):
        assert urls["app"] == "hotdash"
        assert len(apps_of(urls)) == 2
        headers = {"Authorization": f"Bearer {urls['token']}"}
        answer = httpx.get(f"{urls['machines_url']}/v1/apps/hotdash", headers=headers)
        assert answer.json()["machine_count"] == 2

        child.send_signal(signal.SIGTERM)

        assert child.wait(timeout=10) == 0
        assert child.stdout is not None
        assert child.stdout.read() == b""


async def test_it_outlives_its_stdin_unless_told_otherwise() -> None:
    with started("--machines", "0") as (child, urls):
        assert child.stdin is not None
        child.stdin.close()
        assert httpx.get(f"{urls['sandbox_url']}/_sandbox/apps").status_code == 200
        assert child.poll() is None

    with started("--machines", "0", "--until-stdin-closes") as (child, _):
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=10) == 0


async def test_even_a_kill_leaves_no_app_behind() -> None:
    with started("--machines", "2") as (child, urls):
        await until(lambda: all(machine["pid"] for machine in apps_of(urls)))
        pids = [machine["pid"] for machine in apps_of(urls)]

        os.kill(child.pid, signal.SIGKILL)

        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_boot_that_is_no_duration_is_a_usage_error() -> None:
    command = [sys.executable, "-m", "rollbackd", "sandbox", "--boot", "soon"]

    found = subprocess.run(command, capture_output=True, check=False)

    assert found.returncode == 2
    assert b"soon" in found.stderr
    assert b"Traceback" not in found.stderr
