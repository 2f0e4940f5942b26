"""An emergency does not need a living daemon (design section 4)."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.process.daemons import Running, images, running
from tests.support import until

pytestmark = pytest.mark.process


async def command(daemon: Running, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollbackd", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=daemon.environment(),
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def by_hand(daemon: Running, *words: str) -> tuple[int, dict[str, Any], str]:
    reason = ("--reason", "checkout fails", "--yes", "--json", "--by", "eva")
    code, out, err = await command(daemon, "rollback", "shop", *reason, *words)
    return code, json.loads(out or "{}"), err


def updates(daemon: Running) -> int:
    return sum(1 for e in daemon.box.effects if e.op_id and e.action == "machine.update")


async def test_without_a_daemon_a_person_rolls_back_and_the_next_daemon_knows(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        await daemon.box.deploy(image="errors-60")
        await until(lambda: images(daemon.box) == {"errors-60"}, 40)

        planned, plan, _ = await by_hand(daemon, "--dry-run")
        before = updates(daemon)
        code, end, said = await by_hand(daemon)
        await daemon.start()
        await until(lambda: "daemon.started" in daemon.log(), 30)
        kept = await daemon.rollbacks()

        assert planned == 0
        assert (plan["from_version"], plan["to_version"]) == (2, 1)
        assert before == 0
        assert code == 0, said
        assert end["outcome"] == "recovered_unproven"
        assert end["requested_by"] == "eva, no daemon alive"
        assert images(daemon.box) == {"good"}
        assert updates(daemon) == 3
        assert not any(m.cordoned for m in daemon.box.machines)
        assert [r["id"] for r in kept] == [end["id"]]


@pytest.mark.slow
async def test_a_person_finishes_what_a_dead_daemon_left_in_the_middle(tmp_path: Path) -> None:
    async with running(tmp_path, boot_seconds=1.0) as daemon:
        await daemon.start()
        await daemon.until_known_good()
        await daemon.box.deploy(image="errors-60")
        await until(lambda: 1 <= updates(daemon) < 3, 40)
        await daemon.end(signal.SIGKILL)

        elsewhere, _, refused = await by_hand(daemon, "--to", "v9")
        code, end, said = await by_hand(daemon)

        assert elsewhere == 1
        assert "was left in the middle" in refused
        assert code == 0, said
        assert end["trigger"] is not None
        assert images(daemon.box) == {"good"}
        assert updates(daemon) == 3


@pytest.mark.slow
async def test_a_stop_file_stops_a_person_without_a_daemon_too(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await daemon.box.deploy(image="errors-60")
        await until(lambda: images(daemon.box) == {"errors-60"}, 40)
        daemon.state.mkdir()
        (daemon.state / "STOP").touch()

        code, _, said = await by_hand(daemon)

        assert code == 1
        assert "STOP" in said
        assert images(daemon.box) == {"errors-60"}


async def test_without_daemon_and_configuration_it_says_that_the_daemon_is_missing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        daemon.extra = {"ROLLBACKD_CONFIG": str(tmp_path / "elsewhere")}

        code, _, said = await by_hand(daemon)

        assert code == 69
        assert "no daemon answers" in said
