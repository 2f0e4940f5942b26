"""rollbackd is dead for good in the middle of a rollback: let-go.sh leaves nothing of ours."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from rollbackd.sandbox import leases
from rollbackd.sandbox.server import Sandbox
from tests.faults.struck import left_on, struck

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "rollback" / "let-go.sh"


async def let_go(box: Sandbox, directory: Path, *words: str) -> tuple[int, str]:
    """The script, with a flyctl on its PATH that speaks to the sandbox."""
    flyctl = directory / "bin" / "flyctl"
    flyctl.parent.mkdir(exist_ok=True)
    shim = Path(__file__).with_name("flyctl_shim.py")
    flyctl.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{shim}" "$@"\n')
    flyctl.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        *(str(SCRIPT), *words, "shop"),
        stdout=asyncio.subprocess.PIPE,
        env={
            "PATH": f"{flyctl.parent}:{os.environ['PATH']}",
            "FLY_API_BASE_URL": box.urls.machines_url,
            "FLY_API_TOKEN": box.urls.token,
        },
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.parametrize(
    "point",
    [
        "before send:update:2",  # leased and cordoned, not updated
        pytest.param("after send:lease:1", marks=pytest.mark.slow),
        pytest.param("after send:cordon:1", marks=pytest.mark.slow),
        pytest.param("after send:update:2", marks=pytest.mark.slow),
        pytest.param("before send:uncordon:1", marks=pytest.mark.slow),
    ],
)
async def test_nothing_of_ours_is_left(tmp_path: Path, point: str) -> None:
    async with struck(tmp_path, point) as daemon:
        box = daemon.box
        held = left_on(box)
        free = next(m for m in box.machines if m.lease is None and not m.cordoned)
        leases.acquire(box.world, free, owner="bill@example.com", ttl=600, description="a deploy")
        box.platform.machines.cordon(free, cordoned=True, nonce=free.lease.nonce)  # not by us

        planned, plan = await let_go(box, tmp_path, "--dry-run")
        still = left_on(box)
        code, said = await let_go(box, tmp_path)
        again, nothing = await let_go(box, tmp_path)

        assert held, "the point was to be struck while something is held"
        assert (planned, code, again) == (0, 0, 0)
        assert set(held) < set(still)
        assert plan.count("would") == said.count("\n") == len(held), (plan, said, held)
        assert [line.partition(" ")[0] for line in left_on(box)] == [free.id, free.id]
        assert nothing == "shop: nothing of ours is held here\n"
