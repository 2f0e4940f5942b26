"""A daemon reduced to store and runner, over a platform that is one file of effects.

Run as a process and killed at will: `python victim.py DIRECTORY ROLLBACKS`.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollbackd.clock import SystemClock
from rollbackd.core.errors import RollbackdError
from rollbackd.core.model import JsonObject, RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Plan, Step
from rollbackd.engine import going_on
from rollbackd.engine.runner import Runner
from rollbackd.engine.stop import StopSwitch
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision
from tests.support_runner import WHOLE, FakeExecutor, World

going_on.MOST_RESUMES = 10_000  # type: ignore[misc]  # killing it again and again is the point


class FileExecutor(FakeExecutor):
    """Every effect is a line, on disk before it is answered; half of the kills fall between."""

    def __init__(self, path: Path) -> None:
        super().__init__(World(), shape=WHOLE, parallel=2)
        self.path = path

    async def observe(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject]
    ) -> Observation:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        done = any(json.loads(line)["op_key"] == step.op_key for line in lines)
        return Observation(seen=Seen.DONE if done else Seen.NOT_DONE)

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        await asyncio.sleep(random.uniform(0, 0.02))
        if step.mutates:
            line = json.dumps(
                {"rollback": plan.rollback, "op_key": step.op_key, "phase": step.phase.value}
            )
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, line.encode() + b"\n")
            os.close(descriptor)
        await asyncio.sleep(random.uniform(0, 0.02))
        return {}


class ShortClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


async def main(directory: Path, rollbacks: int) -> None:
    clock = ShortClock()
    store = SqliteStore(directory, clock)
    await store.open()
    executor = FileExecutor(directory / "effects")

    async def prove(target: TargetName, rollback: RollbackId) -> Proved:
        return Proved(outcome=RollbackOutcome.RECOVERED)

    runner = Runner(
        clock=clock,
        store=store,
        executor_for=lambda target: executor,
        publish=lambda fact: None,
        prove=prove,
        stop=StopSwitch(directory),
        events=lambda event, words: None,
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for journal in await store.unfinished():
        await runner.carry_out(journal)
    begun = len(await store.history(None, 1000))
    for number in range(begun, rollbacks):
        await runner.carry_out(await runner.begin(_decision(number)))
    await store.close()


def _decision(number: int) -> RollBack:
    return decision(at=float(number), bad=42 + number)


def run(arguments: Sequence[str]) -> int:
    try:
        asyncio.run(main(Path(arguments[0]), int(arguments[1])))
    except RollbackdError as error:
        sys.stderr.write(error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
