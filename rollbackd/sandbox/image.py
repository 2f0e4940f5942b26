"""The app inside a sandbox machine: a real HTTP process, started by path. Standard library only,
but for the image `database`.

It ends by itself when its stdin closes, so that no orphan outlives the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import signal
import socket
import time
from contextlib import suppress
from typing import Any

HEALTH_PATHS = {"/healthz", "/health", "/up", "/ping", "/api/health"}
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REASONS = {200: "OK", 302: "Found", 401: "Unauthorized", 404: "Not Found", 500: "Error", 503: "Bad"}
OOM_EXIT = 137
OK, FOUND, FAILS_FROM = 200, 302, 500
HEADER_LIMIT = 100


def say(line: str) -> None:
    """One line of the app's log."""
    os.write(1, f"{line}\n".encode())


class Counters:
    """What `/metrics` tells: requests by status and a latency histogram."""

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = dict.fromkeys(BUCKETS, 0)
        self.count = 0
        self.sum = 0.0

    def saw(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.count += 1
        self.sum += seconds
        for bound in BUCKETS:
            if seconds <= bound:
                self.buckets[bound] += 1

    def render(self) -> str:
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        name = "http_request_duration_seconds"
        lines = ["# TYPE http_requests_total counter"]
        statuses = self.statuses or {200: 0}
        lines += [f'http_requests_total{{status="{s}"}} {n}' for s, n in sorted(statuses.items())]
        lines.append(f"# TYPE {name} histogram")
        lines += [f'{name}_bucket{{le="{b}"}} {n}' for b, n in self.buckets.items()]
        lines.append(f'{name}_bucket{{le="+Inf"}} {self.count}')
        lines += [f"{name}_sum {self.sum:.6f}", f"{name}_count {self.count}"]
        lines += ["# TYPE process_resident_memory_bytes gauge"]
        lines += [f"process_resident_memory_bytes {rss}", ""]
        return "\n".join(lines)


class Behaviour:
    """A catalogue name and its parameter: `errors-30`, `boot-45s`, `login-wall-401`."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = re.search(r"-(\d+(?:\.\d+)?)s?(?:-|$)", text)
        self.number = float(found[1]) if found else None

    def is_a(self, name: str) -> bool:
        return self.text == name or self.text.startswith(f"{name}-")

    def number_or(self, default: float) -> float:
        return default if self.number is None else self.number


class App:
    """Answers HTTP/1.1 as its behaviour says."""

    def __init__(self, behaviour: Behaviour, *, bad: bool, memory_mb: int, label: str) -> None:
        self.behaviour = behaviour
        self.bad = bad
        self.memory_mb = memory_mb
        self.label = label
        self.counters = Counters()
        self.requests = 0
        self.dependency = 0
        self.shelf = _shelf() if behaviour.is_a("database") else None

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            while await self._serve_request(reader, writer):
                pass
        writer.close()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        line = await reader.readline()
        if not line:
            return False
        _, target, _ = line.decode("latin-1").split(" ", 2)
        length, from_edge = await _read_headers(reader)
        if length:
            await reader.readexactly(length)
        started = time.monotonic()
        path = target.partition("?")[0]
        if path == "/metrics":
            writer.write(_response(200, self.counters.render().encode(), "text/plain"))
            return True
        if self.behaviour.is_a("outage"):
            await asyncio.sleep(3600)
        if self.behaviour.is_a("reset"):
            writer.transport.abort()
            return False
        status = await self._answer(path, writer, from_edge=from_edge)
        self.counters.saw(status, time.monotonic() - started)
        await writer.drain()
        return True

    async def _answer(self, path: str, writer: asyncio.StreamWriter, *, from_edge: bool) -> int:
        self.requests += 1
        health = path in HEALTH_PATHS
        status = self._health_status(from_edge=from_edge) if health else self._page_status()
        if not health and not await self._dependency_answers():
            status = 500
        if not health and not await self._shelf_answers():
            status = 500
        if not health and self.behaviour.is_a("slow"):
            await asyncio.sleep(self.behaviour.number_or(2.5))
        body, kind = self._body(path, status)
        extra = "Location: /login\r\n" if status == FOUND else ""
        answer = _response(status, body, kind, extra)
        if self.behaviour.is_a("drip"):
            await _drip(answer, writer)
        else:
            writer.write(answer)
        if status >= FAILS_FROM and self.requests % 20 == 1:
            say(f"error: {path} answered {status}")
        return status

    async def _dependency_answers(self) -> bool:
        if not self.dependency:
            return True
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.dependency)
        except OSError:
            return False
        writer.close()
        return True

    async def _shelf_answers(self) -> bool:
        why = await self.shelf.page() if self.shelf is not None else ""
        if why and self.requests % 20 == 1:
            say(f"error: {why}")
        return not why

    def _health_status(self, *, from_edge: bool) -> int:
        if self.behaviour.is_a("no-health"):
            return 404
        if self.behaviour.is_a("unhealthy"):
            return 503
        if self.behaviour.is_a("login-wall") and from_edge:
            # The host's own check comes from inside, and a wall is for those from outside.
            return int(self.behaviour.number_or(302))
        return 200

    def _page_status(self) -> int:
        failing = self.behaviour.is_a("errors") or (self.behaviour.is_a("one-bad") and self.bad)
        if not failing:
            return 200
        share = self.behaviour.number_or(50 if self.bad else 30) / 100
        # Spread evenly instead of drawn: a share of 30 % is 30 % of any ten requests.
        return 500 if int(self.requests * share) > int((self.requests - 1) * share) else 200

    def _body(self, path: str, status: int) -> tuple[bytes, str]:
        if self.behaviour.is_a("html"):
            return b"<html><body>Sign in to continue</body></html>", "text/html"
        well = "true" if status == OK else "false"
        text = f'{{"ok": {well}, "path": "{path}", "image": "{self.label}"}}\n'
        return text.encode(), "application/json"

    async def leak(self) -> None:
        """Grow for real, up to a bound that no test machine minds, then die as Linux kills."""
        held: list[bytearray] = []
        step = max(1, int(self.behaviour.number_or(8)))
        while len(held) * step < min(self.memory_mb, 48):
            held.append(bytearray(os.urandom(1) * (step << 20)))
            await asyncio.sleep(1)
        say("Out of memory: Killed process")
        os._exit(OOM_EXIT)


def _shelf() -> Any:
    from rollbackd.sandbox.shop import Shelf  # noqa: PLC0415 -- needs psycopg, no other image does

    return Shelf(os.environ["ROLLBACKD_SANDBOX_DATABASE"])


async def _read_headers(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The body's length, and whether the request came through Fly's edge."""
    length, from_edge = 0, False
    for _ in range(HEADER_LIMIT):
        line = await reader.readline()
        if line in (b"\r\n", b"\n", b""):
            break
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        from_edge = from_edge or name.strip().lower() == b"fly-client-ip"
    return length, from_edge


def _response(status: int, body: bytes, kind: str, extra: str = "") -> bytes:
    reason = REASONS.get(status, "Status")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _drip(answer: bytes, writer: asyncio.StreamWriter) -> None:
    for at in range(len(answer)):
        writer.write(answer[at : at + 1])
        await writer.drain()
        await asyncio.sleep(1)


def _listening_socket(port: int) -> socket.socket:
    """SO_REUSEPORT: the sandbox keeps the port reserved with a bound socket that never listens."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.setblocking(False)
    return listener


def _end_with_stdin(loop: asyncio.AbstractEventLoop) -> None:
    def readable() -> None:
        if not os.read(0, 4096):
            os._exit(0)

    loop.add_reader(0, readable)


async def run(options: argparse.Namespace) -> None:
    behaviour = Behaviour(options.behaviour)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, os._exit, 0)
    if options.watch_stdin:
        _end_with_stdin(loop)
    if behaviour.is_a("crash"):
        await asyncio.sleep(behaviour.number_or(0))
        say("panic: cannot start: missing configuration")
        os._exit(1)
    if behaviour.is_a("boot"):
        await asyncio.sleep(behaviour.number_or(45))
    app = App(behaviour, bad=options.bad, memory_mb=options.memory_mb, label=options.label)
    app.dependency = options.dependency
    leaking = asyncio.ensure_future(app.leak()) if behaviour.is_a("leak") else None
    if behaviour.text == "outage-refuse":
        await asyncio.sleep(86400)
    server = await asyncio.start_server(app.serve_connection, sock=_listening_socket(options.port))
    say(f"listening as {behaviour.text}")
    await server.serve_forever()
    assert leaking is None or not leaking.done()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behaviour", default="good")
    parser.add_argument("--label", default="")
    parser.add_argument("--bad", action="store_true", help="this is the bad one of one-bad")
    parser.add_argument("--dependency", type=int, default=0, help="port that pages need")
    parser.add_argument("--memory-mb", type=int, default=256)
    parser.add_argument("--watch-stdin", action="store_true")
    asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
