"""What a look costs, as a ratio to the cheapest HTTP GET that asyncio can make.

Prints medians of several rounds; asserts nothing, because times on a shared machine prove nothing.
Both sides run in this process, against a server in another one, in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from rollbackd.clock import SystemClock
from rollbackd.plugins import ProbeContext, PrometheusAccess, probes
from rollbackd.probes.control import HttpControl
from rollbackd.probes.exposition import parse_exposition

PAGE = b"".join(
    b'http_requests_total{path="/%d",status="%d"} %d\n' % (n, status, n)
    for n in range(100)
    for status in (200, 404, 503)
)
VECTOR = (
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"3"]}]}}'
)
BODIES = {b"/metrics": PAGE, b"/api/v1/query": VECTOR}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            body = BODIES.get(head.split(b" ")[1], b"ok")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            if b"connection: close" in head.lower():
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def server(pipe: Connection) -> None:
    async def run() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        pipe.send(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    asyncio.run(run())


async def raw_get(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    while await reader.read(65536):
        pass
    writer.close()


async def cost(look: Callable[[], Awaitable[object]], times: int) -> float:
    """CPU microseconds of this process per look, one look at a time."""
    await look()
    began = time.process_time()
    for _ in range(times):
        await look()
    return (time.process_time() - began) / times * 1e6


async def read_page() -> None:
    parse_exposition(PAGE, frozenset({"http_requests_total"}))


async def compare(port: int, rounds: int, times: int) -> None:
    url = f"http://127.0.0.1:{port}"
    context = ProbeContext(
        target="bench",
        name="probe",
        url=url,
        app="shop",
        interval_seconds=0.001,
        timeout_seconds=3.0,
        clock=SystemClock(),
        rng=random.Random(1),
        ssl_context=ssl.create_default_context(),
        platform=None,
        prometheus=PrometheusAccess(url=url),
        user_agent="bench",
    )
    control = HttpControl(
        (url,), ssl_context=context.ssl_context, clock=context.clock, user_agent="bench"
    )
    ratio = {"bad": 'http_requests_total{status="503"}', "total": "http_requests_total"}
    configs = {
        "http": ("http", {"path": "/"}),
        "http, reuse": ("http", {"path": "/", "reuse": True}),
        "tcp": ("tcp", {"host": "127.0.0.1", "port": port}),
        "scrape, 300 series": ("scrape", {"url": f"{url}/metrics", **ratio}),
        "prometheus, value": ("prometheus", {"value": "up"}),
        "command": ("command", {"argv": ["true"]}),
    }
    built = {
        name: probes()[kind].build(probes()[kind].Config.model_validate(config), context)
        for name, (kind, config) in configs.items()
    }
    looks: dict[str, Callable[[], Awaitable[object]]] = {
        "raw asyncio GET": lambda: raw_get(port),
        **{name: probe.take for name, probe in built.items()},
        "control": control.look,
        "(reading 300 series)": read_page,
    }
    costs: dict[str, list[float]] = {name: [] for name in looks}
    for _ in range(rounds):
        for name, look in looks.items():
            costs[name].append(await cost(look, times))
    for probe in built.values():
        await probe.close()
    await control.close()
    show(costs)


def show(costs: dict[str, list[float]]) -> None:
    base = costs["raw asyncio GET"]
    print(f"{'look':<24}{'CPU us':>9}{'x raw':>9}  (min - max of the rounds)")
    for name, measured in costs.items():
        ratios = [mine / raw for mine, raw in zip(measured, base, strict=True)]
        middle, ratio = statistics.median(measured), statistics.median(ratios)
        spread = f"({min(ratios):.2f} - {max(ratios):.2f})"
        print(f"{name:<24}{middle:>9.0f}{ratio:>9.2f}  {spread}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--times", type=int, default=200)
    chosen = options.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=server, args=(theirs,), daemon=True
    )
    process.start()
    try:
        asyncio.run(compare(ours.recv(), chosen.rounds, chosen.times))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
