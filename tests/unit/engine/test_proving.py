"""The proof over the loop: what a restart or a pause does to it, and that of an undo."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rollbackd.core.errors import Rejected
from rollbackd.core.facts import Tick
from rollbackd.core.model import HoldReason, JsonObject, RollbackOutcome
from rollbackd.core.proof import Proof, Proved
from rollbackd.engine.proving import Proving
from tests.support import until
from tests.support_runner import SHORT, World
from tests.unit.core.world import AFTER, SHOP
from tests.unit.engine.test_engine import Bench
from tests.unit.engine.test_ledger_orders import desk_of


def proof() -> Proof:
    return Proof(trigger=None, after=AFTER, switched_at=100)


async def test_who_waits_for_a_proof_that_is_begun_again_learns_its_end() -> None:
    proving = Proving()
    proving.begin(SHOP, proof())
    waiting = asyncio.create_task(proving.wait(SHOP))
    await asyncio.sleep(0)

    proving.begin(SHOP, proof())  # its switch is told once more after a restart
    proving.give_up(SHOP)

    async with asyncio.timeout(1):
        assert await waiting == Proved(outcome=RollbackOutcome.RECOVERED_UNPROVEN)


class Life:
    """One process on a directory and a world that outlive it."""

    def __init__(self, directory: Path, world: World | None = None, at: float = 0.0) -> None:
        self.bench = Bench(directory)
        self.bench.clock.advance(at)
        self.bench.executor.shape = SHORT
        if world is not None:
            self.bench.executor.world = self.bench.world = world

    @asynccontextmanager
    async def lived(self) -> AsyncIterator[Bench]:
        await self.bench.open()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.bench.engine.run())
            yield self.bench
            running.cancel()
        await self.bench.store.close()


async def pump(bench: Bench, at: float, outcome: str) -> None:
    bench.clock.advance(max(0.0, at - bench.clock.now()))
    await bench.check(at - 0.5, outcome)
    bench.engine.publish(Tick(at=at))
    await until(lambda: bench.engine.inbox.empty())


async def newest(bench: Bench) -> JsonObject:
    rows = await bench.store.history(SHOP, 10)
    return rows[0] if rows else {}


async def over(bench: Bench, rollback: object) -> bool:
    row = await newest(bench)
    return row.get("id") == rollback and row.get("outcome") is not None


def proves(bench: Bench) -> bool:
    return bench.engine.states[SHOP].rollbacks.switched_at is not None


async def switched(bench: Bench) -> None:
    await bench.go_bad()
    await pump(bench, 146, "failed")
    await until(lambda: proves(bench))


async def recovered(bench: Bench, first: int, last: int) -> JsonObject:
    for at in range(first, last, 5):
        await pump(bench, at, "ok")
    row = await newest(bench)
    await until(lambda: over(bench, row["id"]))
    return await newest(bench)


async def test_recovered_is_when_the_last_unbroken_run_began(tmp_path: Path) -> None:
    async with Life(tmp_path).lived() as bench:
        await switched(bench)
        row = await recovered(bench, 150, 200)

    assert (row["outcome"], row["recovered_at"], row["proved_at"]) == ("recovered", 150.0, 160.0)


async def test_a_kill_during_the_proof_begins_the_run_after_the_restart(tmp_path: Path) -> None:
    first = Life(tmp_path)
    async with first.lived() as bench:
        await switched(bench)
        await pump(bench, 150, "ok")
        await pump(bench, 155, "ok")  # 10 s clear would prove it

    async with Life(tmp_path, first.bench.world, at=2000.0).lived() as bench:
        await until(lambda: proves(bench))
        await pump(bench, 2001, "ok")
        undecided = (await newest(bench))["outcome"]
        row = await recovered(bench, 2005, 2040)

    assert undecided is None
    assert row["outcome"] == "recovered"
    recovered_at, proved_at = float(str(row["recovered_at"])), float(str(row["proved_at"]))
    assert 2001 <= recovered_at <= proved_at - 10  # the windows begin anew with the resumed walk
    assert len(first.bench.world.effects) == 2


async def test_a_machine_that_slept_during_the_proof_has_proved_nothing(tmp_path: Path) -> None:
    async with Life(tmp_path).lived() as bench:
        await switched(bench)
        await pump(bench, 150, "ok")
        await pump(bench, 155, "ok")
        await pump(bench, 900, "ok")
        undecided = (await newest(bench))["outcome"]
        row = await recovered(bench, 905, 940)

    assert undecided is None
    assert (row["outcome"], row["recovered_at"], row["proved_at"]) == ("recovered", 900.0, 910.0)


async def test_an_undone_release_is_kept_although_it_looks_bad_and_nothing_is_locked(
    tmp_path: Path,
) -> None:
    async with Life(tmp_path).lived() as bench:
        await switched(bench)
        first = await recovered(bench, 150, 200)
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is None)
        desk = desk_of(bench)
        undo = await desk.undo(str(first["id"]), reason="the load test", by="eva")
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is not None)
        await until(lambda: proves(bench))
        for at in range(205, 260, 5):
            await pump(bench, at, "failed")
        await until(lambda: over(bench, undo["rollback"]))
        await until(lambda: bench.engine.states[SHOP].rollbacks.running is None)
        await pump(bench, 265, "failed")
        row, state = await newest(bench), bench.engine.states[SHOP]

        assert (row["undoes"], row["outcome"]) == (first["id"], "recovered")
        assert str(row["detail"]).startswith("health-down is pending: ")
        assert not state.rollbacks.locked_out
        with pytest.raises(Rejected, match="was undone already"):
            await desk.undo(str(first["id"]), reason="twice", by="bob")
        assert bench.decision.reason is HoldReason.RELEASE_IS_ROLLBACK  # type: ignore[union-attr]
        assert len(await bench.store.history(SHOP, 10)) == 2
