"""What the journal costs a step, and how soon a new process goes on with what another began."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from rollbackd.clock import SystemClock
from rollbackd.core.runbook import StepState
from rollbackd.sandbox.server import Sandbox
from rollbackd.stores.sqlite import SqliteStore
from tests.faults.struck import struck
from tests.support import until
from tests.support_rollback import decision, plan

_ROLLBACKS = 60
_SYNCS = 200


async def journal() -> list[str]:
    """Two lines a step; before an effect the first is on disk, and waits for nothing else."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as directory:
        bare = _bare_sync(Path(directory))
        store = SqliteStore(Path(directory), SystemClock())
        await store.open()
        for number in range(_ROLLBACKS):
            asked = decision(at=float(number), bad=100 + number, target=f"shop{number}")
            begun = await store.begin(asked, plan(asked))
            for row in begun.rows:
                seq, since = row.step.seq, time.perf_counter()
                for state in (StepState.STARTED, StepState.DONE):
                    await store.note(asked.id, seq, state, fence=begun.fence, result={})
                seconds[row.step.mutates].append(time.perf_counter() - since)
        await store.close()
    return [
        f"one bare sync of 8 KiB (fdatasync), p50 | {bare * 1000:.2f} ms",
        *(_costs(seconds[mutates], bare, mutates=mutates) for mutates in (True, False)),
    ]


def _bare_sync(directory: Path) -> float:
    found = []
    with (directory / "bare").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            since = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - since)
    return statistics.median(found)


def _costs(seconds: list[float], bare: float, *, mutates: bool) -> str:
    middle, most = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    what = "an effect (1 sync)" if mutates else "a look (no sync)"
    return (
        f"journal, a step that is {what}, p50 / p99 of {len(seconds)} | "
        f"{middle * 1000:.2f} / {most * 1000:.1f} ms, {middle / bare:.1f} x a bare sync"
    )


async def resumed(times: int) -> list[str]:
    """From exec of the successor to the first thing it changes on the app."""
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as directory:
            async with struck(Path(directory), "before send:update:2") as daemon:
                held, since = _ours(daemon.box), time.perf_counter()
                await daemon.start()
                await until(partial(_more, daemon.box, held), 60)
                found.append(time.perf_counter() - since)
    words = f"{statistics.median(found):.1f} s ({min(found):.1f} - {max(found):.1f})"
    return [f"exec after a kill to the first resumed effect, n={times} | {words}"]


def _ours(box: Sandbox) -> int:
    return sum(effect.request_id != "inside" for effect in box.effects)


def _more(box: Sandbox, held: int) -> bool:
    return _ours(box) > held
