"""`rollbackd run` with faults built in, for tests: `python -m tests.faults.launcher`.

What is asked for stands in the environment. FAULT_POINT is where, FAULT_SIGNAL what happens there
(KILL by default), once in all lives of the daemon: FAULT_DIRECTORY remembers that it did.

    before started:machine:2    the journal's second note of that state for that kind of step
    after done:release_record
    before send:cordon          a mutating call has been permitted and is not sent yet
    on send:cordon              it was permitted for the last time and is not on the wire
    after send:update:2         the platform has answered, nobody here knows it yet
    on commit                   COMMIT is on its way to the database, nobody heard an answer
    after commit                the database has answered

`FAULT_DIRECTORY/passed` has every point that was passed.

`FAULT_DIRECTORY/clock` holds seconds that the machine's clock is off; `FAULT_DIRECTORY/hang` makes
the loop hang; FAULT_STUCK_SECONDS is the watchdog's patience, FAULT_SLOW_DRAIN delays the end, and
FAULT_IDLE_SECONDS is how long a rollback may sleep without looking anew.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rollbackd.clock
from rollbackd.core.model import RollbackId
from rollbackd.core.runbook import StepState
from rollbackd.daemon import watchdog
from rollbackd.engine import going_on
from rollbackd.engine.looplag import LoopLag
from rollbackd.engine.recorder import Recorder
from rollbackd.fly.wire import Wire
from rollbackd.stores.sqlite import SqliteStore

DIRECTORY = Path(os.environ["FAULT_DIRECTORY"])
POINT = os.environ.get("FAULT_POINT", "")
SIGNAL = signal.Signals[f"SIG{os.environ.get('FAULT_SIGNAL', 'KILL')}"]
HIT, PASSED = DIRECTORY / "hit", DIRECTORY / "passed"


class Faults:
    """Counts how often each point was passed; strikes at the one asked for."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()

    def pass_by(self, point: str) -> None:
        self.passed[point] += 1
        with PASSED.open("a", encoding="utf-8") as file:
            file.write(f"{point}:{self.passed[point]}\n")
        if POINT in {point, f"{point}:{self.passed[point]}"} and not HIT.exists():
            HIT.touch()
            os.kill(os.getpid(), SIGNAL)


def install(faults: Faults) -> None:
    note, exchange, last_look = SqliteStore.note, Wire._exchange, Wire._last_look

    async def noting(
        self: SqliteStore, rollback: RollbackId, seq: int, state: StepState, **more: Any
    ) -> None:
        journal = await self.journal(rollback)
        assert journal is not None
        kind = next(row.step.kind for row in journal.rows if row.step.seq == seq)
        faults.pass_by(f"before {state.value}:{kind}")
        await note(self, rollback, seq, state, **more)
        faults.pass_by(f"after {state.value}:{kind}")

    async def sending(self: Wire, call: Any) -> Any:
        if not call.mutates:
            return await exchange(self, call)
        faults.pass_by(f"before send:{call.turn[0]}")
        answer = await exchange(self, call)
        faults.pass_by(f"after send:{call.turn[0]}")
        return answer

    async def looking(self: Wire, call: Any, event: str, info: object) -> None:
        await last_look(self, call, event, info)
        part = "headers" if call.body is None else "body"
        if event == f"http11.send_request_{part}.started":
            faults.pass_by(f"on send:{call.turn[0]}")

    SqliteStore.note = noting  # type: ignore[assignment]  # the fault is the point
    Wire._exchange = sending  # type: ignore[method-assign]  # as above
    Wire._last_look = looking  # type: ignore[method-assign]  # as above


def install_commit(faults: Faults) -> None:
    import psycopg

    plain = psycopg.AsyncConnection.execute

    async def execute(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        if query != "COMMIT":
            return await plain(self, query, *more, **named)
        faults.pass_by("before commit")
        if POINT in {"on commit", "on commit:1"} and not HIT.exists():
            self.pgconn.send_query(b"COMMIT")
            self.pgconn.flush()
        faults.pass_by("on commit")
        answer = await plain(self, query, *more, **named)
        faults.pass_by("after commit")
        return answer

    psycopg.AsyncConnection.execute = execute  # type: ignore[method-assign,assignment]


class OffClock:
    """The `time` module as `rollbackd.clock` sees it: the wall clock can be set by a file."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        try:
            return time.time() + float((DIRECTORY / "clock").read_text())
        except (FileNotFoundError, ValueError):
            return time.time()


async def _hanging(self: LoopLag) -> None:
    while not (DIRECTORY / "hang").exists():
        await asyncio.sleep(0.1)
    time.sleep(3600)  # the loop hangs


async def _slow_flush(self: Recorder) -> None:
    await asyncio.sleep(float(os.environ["FAULT_SLOW_DRAIN"]))


def main() -> None:
    if os.environ.get("FAULT_SLOW_DRAIN"):
        Recorder.flush = _slow_flush  # type: ignore[method-assign]  # the end of the drain
    rollbackd.clock.time = OffClock()  # type: ignore[assignment]  # as it is seen there
    faults = Faults()
    install(faults)
    if os.environ.get("DATABASE_URL"):
        install_commit(faults)
    watchdog.STUCK_SECONDS = float(os.environ.get("FAULT_STUCK_SECONDS", "30"))  # type: ignore[misc]
    if os.environ.get("FAULT_IDLE_SECONDS"):
        going_on.IDLE_SECONDS = float(os.environ["FAULT_IDLE_SECONDS"])  # type: ignore[misc]
    if os.environ.get("FAULT_STUCK_SECONDS"):
        LoopLag.run = _hanging  # type: ignore[method-assign]  # it is the loop's own beat
    sys.argv = ["rollbackd", "run"]
    from rollbackd.cli.main import main as rollbackd_main

    rollbackd_main()


if __name__ == "__main__":
    main()
