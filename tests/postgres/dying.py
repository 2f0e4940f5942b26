"""A rollback of the shop's database in a process that is killed: `dying.py URL DIR POINT`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import psycopg

from rollbackd.clock import SystemClock
from rollbackd.core.model import JsonObject
from rollbackd.core.noting import Note
from rollbackd.core.runbook import Plan, Step
from rollbackd.executors.combined import Combined
from tests.postgres.shop import Shop, executor_of, order, target_of
from tests.support_runner import FakeExecutor, House, World

POINTS = ("before the step", "before the id", "before COMMIT", "during COMMIT", "after COMMIT")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """The executor, but for the point at which it dies."""

    def __init__(self, executor: Combined, point: str) -> None:
        self._executor = executor
        self._point = point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        if step.kind != "database_reverse":
            return await self._executor.apply_noting(plan, step, results, note)
        self._at("before the step")

        async def noted(word: JsonObject) -> None:
            self._at("before the id")
            await note(word)
            self._at("before COMMIT")

        done = await self._executor.apply_noting(plan, step, results, noted)
        self._at("after COMMIT")
        return done

    def _at(self, point: str) -> None:
        if point == self._point:
            die()


def die_with_commit_on_the_wire() -> None:
    """Dead as soon as COMMIT was sent, before anybody could hear the answer."""
    plain = psycopg.AsyncConnection.execute

    async def execute(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        if query != "COMMIT":
            return await plain(self, query, *more, **named)
        self.pgconn.send_query(b"COMMIT")
        self.pgconn.flush()
        return die()

    psycopg.AsyncConnection.execute = execute  # type: ignore[method-assign,assignment]


async def main(url: str, directory: Path, point: str) -> None:
    shop = Shop.__new__(Shop)
    shop.url, shop.files = url, directory.parent / "reverse"
    shop.adopt()
    made = House(directory, FakeExecutor(World()))
    made.clock = cast(Any, SystemClock())
    await made.open()
    executor = executor_of(shop, target_of(shop, ("database",)), made.store, directory)
    made.executor = cast(FakeExecutor, Dying(executor, point))
    begun = await made.runner.begin(order())
    if point == "during COMMIT":
        die_with_commit_on_the_wire()
    await made.runner.carry_out(begun)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
