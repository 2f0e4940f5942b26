"""What holds for every kind of probe there is, built-in or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.facts import Check, Histogram, MeasureKind, MissReason, Ratio, Value
from rollbackd.core.ports import Missed, NobodyHome, Reading
from rollbackd.plugins import probes
from tests.support import until
from tests.unit.probes.loopback import (
    Behaviour,
    FakePlatform,
    Loopback,
    answer,
    build,
    context,
    drip,
    hang,
    machine,
    reset,
)

SECONDS = 0.2
MARGIN_SECONDS = 1.5  # of a box with other work; without a deadline it would be for ever

EXAMPLES: dict[str, Callable[[Loopback], Any]] = {
    "http": lambda _: {"path": "/health"},
    "tcp": lambda server: {"host": "127.0.0.1", "port": server.port, "send": "x", "expect": "x"},
    "scrape": lambda server: {"url": f"{server.url}/metrics", "bad": "b", "total": "t"},
    "prometheus": lambda _: {"bad": "b", "total": "t"},
    "fly_edge": lambda _: "latency",
    "fly": lambda _: {},
    "command": lambda _: {"argv": ["sleep", "60"]},
    "postgres": lambda _: {},
    "supabase": lambda _: {"project": "abcdefghijklmnopqrst", "token": "sbp_x"},
}
MEASURES = {
    MeasureKind.CHECK: Check,
    MeasureKind.RATIO: Ratio,
    MeasureKind.HISTOGRAM: Histogram,
    MeasureKind.VALUE: Value,
}
BEHAVIOURS = [
    hang,
    drip,
    reset,
    b"",
    b"gibberish",
    answer(),
    answer(b"\xff" * 9),
    answer(status=500),
]


def test_every_kind_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(probes())


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _named(behaviour: bytes | Behaviour) -> str:
    """The same in every worker: a function's text has its address in it."""
    return behaviour.__name__ if callable(behaviour) else repr(behaviour)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=_named)
@pytest.mark.parametrize("kind", sorted(EXAMPLES))
async def test_a_look_keeps_its_deadline_gives_its_measure_and_leaves_nothing_open(
    kind: str, behaviour: bytes | Behaviour
) -> None:
    await _warm_up()
    async with Loopback(behaviour) as server:
        config = EXAMPLES[kind](server)
        before = open_files()
        platform = FakePlatform([machine()])
        made_with = context(
            url=server.url,
            prometheus=server.url,
            supabase=server.url,
            postgres=f"postgresql://probe:s3cret@127.0.0.1:{server.port}/shop",
            platform=platform,
            seconds=SECONDS,
        )
        probe = build(kind, config, made_with)

        async with asyncio.timeout(2 * (SECONDS + MARGIN_SECONDS)):
            readings = [await probe.take(), await probe.take()]
        await probe.close()

        measure = probes()[kind].measure(type(probe).Config.model_validate(config))  # type: ignore[attr-defined]  # a plugin has one
        for reading in readings:
            assert isinstance(reading, MEASURES[measure] | Missed | NobodyHome), reading
            _is_well_formed(reading)
        await until(lambda: open_files() <= before)


async def _warm_up() -> None:
    # What a process opens once (a child watcher, a resolver's thread) is not a probe's leak.
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


def _is_well_formed(reading: Reading) -> None:
    match reading:
        case Missed(reason=reason, detail=detail):
            assert reason in set(MissReason)
            assert len(detail) < 100
        case Check(why=why):
            assert len(why) < 100
            assert "gibberish" not in why  # what a server says is never quoted


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
async def test_a_look_that_is_cancelled_leaves_nothing_open(kind: str) -> None:
    await _warm_up()
    async with Loopback(hang) as server:
        before = open_files()
        made_with = context(
            url=server.url,
            prometheus=server.url,
            supabase=server.url,
            postgres=f"postgresql://probe:s3cret@127.0.0.1:{server.port}/shop",
            platform=FakePlatform([machine()]),
            seconds=30,
        )
        probe = build(kind, EXAMPLES[kind](server), made_with)
        look = asyncio.create_task(_taken(probe.take))
        polls = count()  # a program shows in nothing we could poll: it has had time to start
        await until(lambda: look.done() or bool(server.requests) or next(polls) > 10)
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)
        await probe.close()
        await until(lambda: open_files() <= before)


async def _taken(take: Callable[[], Awaitable[Reading]]) -> Reading:
    return await take()


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
async def test_closing_twice_or_before_the_first_look_is_harmless(kind: str) -> None:
    async with Loopback() as server:
        made_with = context(
            url=server.url,
            prometheus=server.url,
            supabase=server.url,
            postgres=f"postgresql://probe:s3cret@127.0.0.1:{server.port}/shop",
            platform=FakePlatform([machine()]),
        )
        probe = build(kind, EXAMPLES[kind](server), made_with)
        await probe.close()
        await probe.close()
