"""A real `rollbackd run` as a process, spoken to over its socket. The sandbox runs in the test."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from rollbackd.sandbox.processes import bare_environment
from rollbackd.sandbox.server import Sandbox
from tests.support import until

ROOT = Path(__file__).parents[2]
CONFIGURATION = """\
targets:
  shop:
    fly: {app: shop}
    url: ${SANDBOX_URL}
    mode: auto
    probes:
      health:   {http: {path: /healthz}, interval: 500ms, timeout: 450ms}
      machines: {fly: {}, interval: 2s}
      errors:   {fly_edge: {preset: errors, delay: 0s}, interval: 1s}
    triggers:
      health-down:
        probe: health
        breach_when: {failing: true}
        breaches: {at_least: 4, of_last: 4}
      deploy-failed: {deploy_failed: true}
      error-rate:
        probe: errors
        window: 6s
        breach_when: {above: 5%}
        for: 1s
        min_samples: 20
    safety:
      settle: {until: first_success, at_most: 4s}
    after:
      monitor: 500ms
      success_when: {clear_for: 2s}
"""


class Running:
    """One daemon and the directory it keeps, over as many lives as a test wants."""

    def __init__(self, box: Sandbox, directory: Path) -> None:
        self.box = box
        self.directory = directory
        self.state = directory / "state"
        self.process: asyncio.subprocess.Process | None = None
        self.extra: dict[str, str] = {}
        self.module = "rollbackd"
        self.wrapper: tuple[str, ...] = ()
        (directory / "config").mkdir()
        self.configure(CONFIGURATION)

    def configure(self, text: str) -> None:
        path = self.directory / "config" / "rollback-monitoring.yml"
        path.write_text(text, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        urls = self.box.urls
        return bare_environment(
            {
                "SANDBOX_URL": urls.proxy_url,
                "ROLLBACKD_CONFIG": str(self.directory / "config"),
                "ROLLBACKD_STATE": str(self.state),
                "ROLLBACKD_METRICS_LISTEN": "127.0.0.1:0",
                "ROLLBACKD_LISTEN": "127.0.0.1:0",
                "ROLLBACKD_FLY_TOKEN": urls.token,
                "ROLLBACKD_FLY_MACHINES_URL": urls.machines_url,
                "ROLLBACKD_FLY_API_URL": urls.api_url,
                "ROLLBACKD_PROMETHEUS_URL": urls.prometheus_url,
                "ROLLBACKD_PROMETHEUS_TOKEN": urls.read_token,
            }
            | self.extra
        )

    async def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(*self.wrapper, sys.executable, "-m", self.module, "run"),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
                env=self.environment(),
            )

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()

    async def get(self, path: str) -> dict[str, Any]:
        transport = httpx.AsyncHTTPTransport(uds=str(self.state / "rollbackd.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://rollbackd") as client:
            answer = await client.get(path)
            answer.raise_for_status()
            return dict(answer.json())

    async def post(self, path: str, **body: object) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(uds=str(self.state / "rollbackd.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://rollbackd") as client:
            return await client.post(path, json=body, headers={"X-Rollbackd-By": "test"})

    async def target(self) -> dict[str, Any] | None:
        with contextlib.suppress(httpx.HTTPError):
            return await self.get("/api/v1/targets/shop")
        return None

    async def rollbacks(self) -> list[dict[str, Any]]:
        with contextlib.suppress(httpx.HTTPError):
            return list((await self.get("/api/v1/rollbacks"))["rollbacks"])
        return []

    async def reason(self) -> str:
        target = await self.target()
        decision = target["decision"] if target else None
        return str(decision["reason"]) if decision else ""

    async def until_known_good(self) -> None:
        """The running release was seen to be good by every trigger that can say so."""

        async def known() -> bool:
            target = await self.target()
            if target is None or target["release"] is None or target["mode"] == "observe":
                return False
            states = [t["state"] for t in target["triggers"]]
            return target["release"]["standing"] == "good" and set(states) == {"ok"}

        await until(known, 90)

    async def until_outcome(self, outcome: str, seconds: float = 60) -> dict[str, Any]:
        async def ended() -> bool:
            return any(r["outcome"] == outcome for r in await self.rollbacks())

        await until(ended, seconds)
        return (await self.rollbacks())[0]

    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")


@contextlib.asynccontextmanager
async def running(directory: Path, **sandbox: Any) -> AsyncIterator[Running]:
    """A sandbox app with traffic, and a daemon that is not started yet."""
    quick = {"boot_seconds": 0.3, "machines": 3, "scrape_seconds": 0.2}
    async with Sandbox(**(quick | sandbox)) as box:
        await box.ready()
        box.traffic(30)
        daemon = Running(box, directory)
        try:
            yield daemon
        finally:
            if daemon.process is not None and daemon.process.returncode is None:
                os.kill(daemon.process.pid, signal.SIGKILL)
                await daemon.process.wait()


def images(box: Sandbox) -> set[str]:
    """The tags that the app's machines run."""
    return {m.config["image"].partition("@")[0].rpartition(":")[2] for m in box.machines}
