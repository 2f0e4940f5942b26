"""A real `rollbackd run` with ten probes against a real Sandbox: memory, CPU and time to look.

It measures from outside, by /proc, and asserts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rollbackd.sandbox.processes import bare_environment
from rollbackd.sandbox.server import Sandbox

TICKS = os.sysconf("SC_CLK_TCK")
CONFIGURATION = """\
targets:
  shop:
    fly: {app: shop}
    url: ${SANDBOX_URL}
    mode: auto
    probes:
      health:    {http: {path: /healthz}, interval: 5s, timeout: 2s}
      front:     {http: {path: /}, interval: 5s, timeout: 2s}
      auto:      {http: {}, interval: 5s, timeout: 2s}
      door:      {tcp: {host: 127.0.0.1, port: 65535}, interval: 5s, timeout: 2s}
      machines:  {fly: {}, interval: 5s, timeout: 2s}
      errors:    {fly_edge: {preset: errors, delay: 0s}, interval: 5s, timeout: 2s}
      latency:   {fly_edge: {preset: latency, delay: 0s}, interval: 5s, timeout: 2s}
      up:        {prometheus: {value: sum(fly_instance_up), delay: 0s}, interval: 5s, timeout: 2s}
      series:    {scrape: {url: "${EXPOSED_URL}", value: fly_instance_up}, interval: 5s}
      disk:      {command: {argv: ["touch", "${LOOKED}"]}, interval: 5s, timeout: 2s}
    triggers:
      health-down: {probe: health, breach_when: {failing: true}}
      deploy-failed: {deploy_failed: true}
      error-rate: {probe: errors, window: 60s, breach_when: {above: 5%}, min_samples: 20}
"""


@contextlib.asynccontextmanager
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(boot_seconds=0.3, machines=3) as box:
        await box.ready()
        box.traffic(10)
        yield box


@contextlib.asynccontextmanager
async def daemon(box: Sandbox, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Started, and ended with SIGTERM; its log is `log` in the directory."""
    config = directory / "config"
    config.mkdir()
    urls = box.urls
    text = CONFIGURATION.replace("65535", urls.proxy_url.rpartition(":")[2])
    (config / "rollback-monitoring.yml").write_text(text, encoding="utf-8")
    environment = bare_environment(
        {
            "SANDBOX_URL": urls.proxy_url,
            "LOOKED": str(directory / "looked"),
            "EXPOSED_URL": f"{urls.sandbox_url}/metrics",
            "ROLLBACKD_CONFIG": str(config),
            "ROLLBACKD_STATE": str(directory / "state"),
            "ROLLBACKD_METRICS_LISTEN": "127.0.0.1:0",
            "ROLLBACKD_LISTEN": "127.0.0.1:0",
            "ROLLBACKD_FLY_TOKEN": urls.token,
            "ROLLBACKD_FLY_MACHINES_URL": urls.machines_url,
            "ROLLBACKD_FLY_API_URL": urls.api_url,
            "ROLLBACKD_PROMETHEUS_URL": urls.prometheus_url,
            "ROLLBACKD_PROMETHEUS_TOKEN": urls.read_token,
        }
    )
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rollbackd", "run"),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=log,
            stdout=log,
            env=environment,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def memory_mb(pid: int) -> dict[str, float]:
    """RSS and what of it is the process's own, in MB of 10^6."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    kib = {name: float(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"rss": kib["Rss"] * 1024 / 1e6, "private": own * 1024 / 1e6}


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of the process itself without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def memory_and_cpu(minutes: tuple[float, ...]) -> list[str]:
    """RSS at each of the minutes; CPU between the first and the last of them."""
    rows, marks = [], []
    with tempfile.TemporaryDirectory() as name:
        async with sandbox() as box, daemon(box, Path(name)) as process:
            began = time.monotonic()
            for minute in minutes:
                await asyncio.sleep(max(0.0, began + minute * 60 - time.monotonic()))
                memory = memory_mb(process.pid)
                marks.append((time.monotonic(), cpu_seconds(process.pid)))
                rows.append(
                    f"RSS, 10 probes, after {minute:g} min | {memory['rss']:.1f} MB"
                    f" ({memory['private']:.1f} MB private)"
                )
        if len(marks) > 1:
            (at, cpu), (until, more) = marks[0], marks[-1]
            share = (more - cpu) / (until - at)
            rows.append(f"CPU, 10 probes every 5 s, idle | {share:.1%} of a core")
    return rows


async def start_up(times: int) -> list[str]:
    """From exec to the first look of any probe, seen from outside."""
    walls, cpus = [], []
    async with sandbox() as box:
        box.traffic(0)
        for _ in range(times):
            with tempfile.TemporaryDirectory() as name:
                looked = await _until_looked(box, Path(name))
            walls.append(looked[0])
            cpus.append(looked[1])
    rows = []
    for what, each in (("wall", walls), ("CPU", cpus)):
        spread = f"({min(each):.2f} - {max(each):.2f})"
        rows.append(
            f"exec to first look, n={times}, {what} | {statistics.median(each):.2f} s {spread}"
        )
    return rows


async def _until_looked(box: Sandbox, directory: Path) -> tuple[float, float]:
    before = _answers(box)
    began = time.monotonic()
    async with daemon(box, directory) as process:
        while _answers(box) == before and not (directory / "looked").exists():
            if process.returncode is not None:
                raise SystemExit((directory / "log").read_text(encoding="utf-8"))
            await asyncio.sleep(0.005)
        return time.monotonic() - began, cpu_seconds(process.pid)


def _answers(box: Sandbox) -> float:
    """Requests that came through the app's front door; nobody but the probes makes any."""
    page = box.platform.counters.render()
    lines = [line for line in page.splitlines() if line.startswith("fly_edge_http_responses_count")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
