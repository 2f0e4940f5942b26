"""What the journal costs a step, and how soon a new process goes on with what another began."""

from __future__ import annotations

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


async def journal() -> list[str]:
    """Two lines a step, STARTED and DONE, each on disk before the step goes on."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory), SystemClock())
        await store.open()
        for number in range(_ROLLBACKS):
            asked = decision(at=float(number), bad=100 + number, target=f"shop{number}")
            begun = await store.begin(asked, plan(asked))
            for row in begun.rows:
                seq, since = row.step.seq, time.perf_counter()
                for state in (StepState.STARTED, StepState.DONE):
                    await store.note(asked.id, seq, state, fence=begun.fence, result={})
                seconds.append(time.perf_counter() - since)
        await store.close()
    cuts = statistics.quantiles(seconds, n=100)
    middle, most = statistics.median(seconds) * 1000, cuts[98] * 1000
    return [
        f"journal, one step (2 commits), p50 / p99 of {len(seconds)} | {middle:.2f} / {most:.1f} ms"
    ]


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
