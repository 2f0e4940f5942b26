"""The private status page in a real browser, while a rollback runs."""

import asyncio
import json
import zlib
from asyncio import subprocess
from pathlib import Path

import pytest

from tests.integration.peers import binary
from tests.process.daemons import CONFIGURATION, Running, running
from tests.support import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]


async def page_address(daemon: Running) -> str:
    async def told() -> bool:
        return '"listening"' in daemon.log()

    await until(told, 30)
    lines = [line for line in daemon.log().splitlines() if '"listening"' in line]
    addresses = json.loads(lines[-1])["listening"]
    return f"http://{next(a for a in addresses[1:] if not a.startswith('/'))}/"


async def browse(directory: Path, *arguments: str) -> tuple[str, str]:
    """What the browser prints, and what it complains about."""
    process = await subprocess.create_subprocess_exec(
        binary("chromium"),
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--enable-logging=stderr", "--v=0", "--window-size=1000,1400"),
        f"--user-data-dir={directory / 'profile'}",
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


def colours(picture: bytes) -> int:
    """How many different bytes the rows of a PNG hold; a blank page has next to none."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed = 8, b""
    while at < len(picture):
        length, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
        packed += picture[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    return len(set(zlib.decompress(packed)))


async def test_the_page_shows_the_target_while_it_is_rolled_back(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        # Long enough for a browser to start twice.
        daemon.configure(CONFIGURATION.replace("monitor: 500ms", "monitor: 40s"))
        await daemon.start()
        address = await page_address(daemon)
        await daemon.until_known_good()
        daemon.box.begin_deploy(image="errors-60")
        await until(lambda: _goes_on(daemon), 40)

        out, err = await browse(tmp_path, "--dump-dom", address)
        during = await _goes_on(daemon)
        picture = tmp_path / "page.png"
        _, more = await browse(tmp_path, f"--screenshot={picture}", address)

        assert during, "the rollback was over before the browser had looked"
        assert "<h2>shop" in out
        assert "unhealthy" in out
        assert "error-rate" in out
        assert "CONSOLE" not in err + more
        assert colours(picture.read_bytes()) > 50


async def _goes_on(daemon: Running) -> bool:
    target = await daemon.target()
    return target is not None and target["rollback"] is not None
