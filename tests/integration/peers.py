"""Programs of others, started for one test on free ports and ended by their pid. Never skipped."""

import asyncio
import contextlib
import shutil
import socket
from asyncio import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import until

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "victoria-metrics": "victoria-metrics",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "chromium": "chromium",
}


def binary(name: str) -> str:
    """Where it is. A machine without it fails the test: a test that did not run proves nothing."""
    found = shutil.which(name)
    if found is None:
        hint = f"apt-get install -y --no-install-recommends {PACKAGES[name]}"
        pytest.fail(f"{name} is not installed, and this test is about it. Fix: {hint}")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def output_of(name: str, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = await subprocess.create_subprocess_exec(
        binary(name),
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass(frozen=True)
class Peer:
    """A running server of somebody else's."""

    url: str
    log: Path

    async def get(self, path: str, **words: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return await client.get(f"{self.url}{path}", params=words)

    async def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The instant vector of it; of an error, the error."""
        answer = (await self.get("/api/v1/query", query=promql)).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    async def number(self, promql: str) -> float | None:
        """The value of a query that gives one series, None where it gives none."""
        found = await self.query(promql)
        assert len(found) <= 1, found
        return found[0][1] if found else None


@contextlib.asynccontextmanager
async def serving(
    directory: Path, name: str, arguments: Sequence[str], *, port: int, ready: str
) -> AsyncIterator[Peer]:
    """The program, from the moment `ready` answers 200 until the block is left."""
    log = directory / f"{name}.log"
    with log.open("wb") as written:
        process = await subprocess.create_subprocess_exec(
            binary(name), *arguments, stdout=written, stderr=written, stdin=subprocess.DEVNULL
        )
    peer = Peer(f"http://127.0.0.1:{port}", log)

    async def up() -> bool:
        assert process.returncode is None, f"{name} ended:\n{log.read_text(encoding='utf-8')}"
        with contextlib.suppress(httpx.HTTPError):
            return (await peer.get(ready)).status_code == 200
        return False

    try:
        await until(up, 30)
        yield peer
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


def scrape_config(job: str, target: str, every: str, rules: Path | None = None) -> str:
    """What both Prometheus and VictoriaMetrics understand; `target` is host:port."""
    lines = [
        f"global: {{scrape_interval: {every}, scrape_timeout: {every}"
        + (", evaluation_interval: 1s}" if rules else "}"),
        *([f"rule_files: ['{rules}']"] if rules else []),
        "scrape_configs:",
        f"  - job_name: {job}",
        "    honor_labels: true",
        f"    static_configs: [{{targets: ['{target}']}}]",
    ]
    return "\n".join([*lines, ""])


@contextlib.asynccontextmanager
async def prometheus(directory: Path, config: str) -> AsyncIterator[Peer]:
    path, port = directory / "prometheus.yml", free_port()
    path.write_text(config, encoding="utf-8")
    arguments = (
        f"--config.file={path}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    async with serving(directory, "prometheus", arguments, port=port, ready="/-/ready") as peer:
        yield peer


@contextlib.asynccontextmanager
async def victoria_metrics(directory: Path, config: str) -> AsyncIterator[Peer]:
    """As Fly runs it, less the delay that hides the newest half minute."""
    path, port = directory / "victoria.yml", free_port()
    path.write_text(config, encoding="utf-8")
    arguments = (
        f"-promscrape.config={path}",
        f"-storageDataPath={directory / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-search.latencyOffset=0s",
        "-memory.allowedBytes=64MB",
    )
    async with serving(
        directory, "victoria-metrics", arguments, port=port, ready="/health"
    ) as peer:
        yield peer


# Of our SIGTERM and of a machine that was too slow for a moment: neither is about what we say.
_NOT_OF_CONTENT = (
    "Received SIGTERM", "deadline exceeded", "canceled", "timeout", "timed out", "slow query"
)  # fmt: skip


def complaints(log: Path) -> list[str]:
    """Lines of a Go program's log that warn or complain."""
    levels = ("level=warn", "level=error", "\twarn\t", "\terror\t", "panic")
    lines = log.read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if any(level in line for level in levels)]
    return [line for line in told if not any(words in line for words in _NOT_OF_CONTENT)]
