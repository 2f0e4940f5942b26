"""A daemon killed or frozen at random moments of real rollbacks, again and again.

One sandbox app, one state directory, many rollbacks. What is judged is what the platform says took
effect (`/_sandbox/effects`), not what the daemon says it did.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from rollbackd.sandbox.image import HEALTH_PATHS
from rollbackd.sandbox.server import Sandbox
from tests.faults.struck import left_on
from tests.process.daemons import Running, images, running
from tests.support import until

GOOD = "good"
# Patient looks: what is judged is what takes effect, on a machine that may have much else to do.
QUICK = """\
targets:
  shop:
    fly: {app: shop}
    url: ${SANDBOX_URL}
    mode: auto
    probes:
      health:   {http: {path: /healthz}, interval: 2s, timeout: 1900ms}
      machines: {fly: {}, interval: 2s}
    triggers:
      health-down:
        probe: health
        breach_when: {failing: true}
        breaches: {at_least: 4, of_last: 4}
    safety:
      settle: {until: first_success, at_most: 4s}
    after:
      monitor: 200ms
      success_when: {clear_for: 1s}
"""
ENDED_SECONDS = 300.0  # a lost one never ends; a machine with much else to do is only late
assert "/healthz" in HEALTH_PATHS


@dataclass(kw_only=True)
class Campaign:
    """`faults` counts what was done to it, `ended` how the rollbacks ended."""

    daemon: Running
    box: Sandbox
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    async def round(self, kills: int, longest: float) -> None:
        """One bad release, one rollback, at most so many kills at random moments of it, and its
        end. Some of the lives are over before the daemon has started.
        """
        before = len(self.box.effects)
        rollback = await self._begin()
        for _ in range(kills):
            await asyncio.sleep(self.chance.uniform(0.0, longest))  # the moment is the experiment
            if await self._over(rollback):
                break
            self.faults["kill"] += 1
            await self.daemon.end(9)
            await self.daemon.start()
        await self._judge(rollback, before)

    async def frozen_round(self, latest: float, seconds: float) -> None:
        """Freeze it at a random moment; another takes over; the first one wakes up `seconds` later
        in the middle of the other's work.
        """
        before = len(self.box.effects)
        rollback = await self._begin()
        await asyncio.sleep(self.chance.uniform(0.0, latest))
        frozen = self.daemon.process
        assert frozen is not None
        took_over = self.daemon.log().count("daemon.took_over")
        frozen.send_signal(19)  # SIGSTOP
        try:
            await self.daemon.start()
            await asyncio.sleep(seconds)  # the length of the freeze is the experiment
            if seconds > 10:
                await until(lambda: self.daemon.log().count("daemon.took_over") > took_over, 20)
            frozen.send_signal(18)  # SIGCONT
            await self._one_is_left(frozen, took_over)
        finally:
            if frozen is not self.daemon.process and frozen.returncode is None:
                frozen.kill()
                await frozen.wait()
        self.faults["freeze"] += 1
        await self._judge(rollback, before)

    @property
    def rounds(self) -> int:
        return sum(self.ended.values())

    async def _one_is_left(self, frozen: asyncio.subprocess.Process, took_over: int) -> None:
        """Who lost the directory ends by itself; who only waits for it is ended here."""
        if self.daemon.log().count("daemon.took_over") > took_over:
            assert await asyncio.wait_for(frozen.wait(), 30) == 75
            self.faults["taken over"] += 1
            return
        standing_by, self.daemon.process = self.daemon.process, frozen
        assert standing_by is not None
        standing_by.kill()
        await standing_by.wait()

    async def _begin(self) -> str:
        known = {str(one["id"]) for one in await self.daemon.rollbacks()}
        bad = f"errors-{self.chance.randint(60, 99)}"
        await self.box.deploy(image=bad, strategy="immediate")
        version = self.box.releases[-1].version

        async def seen() -> bool:
            target = await self.daemon.target()
            release = target["release"] if target else None
            return release is not None and release["version"] == version

        await until(seen, 60)
        answer = await self.daemon.post("/api/v1/targets/shop/rollback", reason="checkout fails")
        assert answer.is_success or "under way" in answer.text, answer.text

        async def begun() -> bool:
            return bool({str(one["id"]) for one in await self.daemon.rollbacks()} - known)

        await until(begun, 20)
        return str((await self.daemon.rollbacks())[0]["id"])

    async def _over(self, rollback: str) -> bool:
        return any(r["id"] == rollback and r["outcome"] for r in await self.daemon.rollbacks())

    async def _judge(self, rollback: str, before: int) -> None:
        await until(lambda: self._over(rollback), ENDED_SECONDS)
        told = next(r for r in await self.daemon.rollbacks() if r["id"] == rollback)
        self.ended[str(told["outcome"])] += 1
        problems = await self._problems(rollback, before)
        assert not problems, f"{rollback}: {'; '.join(problems)}"
        assert told["outcome"] in {"recovered", "recovered_unproven"}, told

    async def _problems(self, rollback: str, before: int) -> list[str]:
        async with httpx.AsyncClient(base_url=self.box.urls.sandbox_url) as client:
            every = (await client.get("/_sandbox/effects")).json()["effects"]
        ours = [e for e in every[before:] if e["request_id"] != "inside"]
        problems = [*twice(ours), *overlaps(ours), *left_on(self.box)]
        if images(self.box) != {GOOD}:
            problems.append(f"machines run {images(self.box)}")
        if any("rollbackd_cordon" in key for m in self.box.machines for key in m.metadata):
            problems.append("a cordon's mark is left")
        records = [e["release_id"] for e in ours if e["action"] == "release.create"]
        stands = [(r.id, r.status) for r in self.box.releases if r.id in records]
        if [status for _, status in stands] != ["complete"]:
            problems.append(f"release records: {stands}")
        foreign = {e["op_id"].split(":")[0] for e in ours if e["action"] == "machine.update"}
        if foreign != {rollback}:
            problems.append(f"updates by {foreign}")
        return problems


def twice(ours: list[dict[str, Any]]) -> list[str]:
    """Updates of one operation on one machine, and release records, beyond the first."""
    updates = Counter(
        f"{e['op_id']} on {e['machine']}" for e in ours if e["action"] == "machine.update"
    )
    machines = Counter(e["machine"] for e in ours if e["action"] == "machine.update")
    records = sum(e["action"] == "release.create" for e in ours)
    found = [f"{key} {count} times" for key, count in (updates | machines).items() if count > 1]
    return found + ([f"{records} release records"] if records > 1 else [])


def overlaps(ours: list[dict[str, Any]]) -> list[str]:
    """The release record comes before the first update, its end after the last one; a machine is
    out of traffic only around its own update.
    """
    found = []
    acts = [(e["action"], e["machine"]) for e in ours]
    updates = [at for at, (action, _) in enumerate(acts) if action == "machine.update"]
    record = next((at for at, (a, _) in enumerate(acts) if a == "release.create"), None)
    closed = max((at for at, (a, _) in enumerate(acts) if a == "release.update"), default=None)
    if not updates or record is None or closed is None:
        return [f"not a whole rollback: {Counter(action for action, _ in acts)}"]
    if not record < updates[0] <= updates[-1] < closed:
        found.append(f"phases overlap: record {record}, updates {updates}, closed {closed}")
    for machine in {name for _, name in acts if name}:
        own = [
            (at, action)
            for at, (action, name) in enumerate(acts)
            if name == machine
            and action in {"machine.cordon", "machine.update", "machine.uncordon"}
        ]
        words = [action.rpartition(".")[2] for _, action in own]
        if "uncordon" in words and words.index("uncordon") < words.index("update"):
            found.append(f"{machine} was back in traffic before its update: {words}")
        if "cordon" in words[words.index("update") :]:
            found.append(f"{machine} was taken out of traffic after its update: {words}")
    return found


@contextlib.asynccontextmanager
async def campaign(directory: Path, *, machines: int) -> AsyncIterator[Campaign]:
    """A daemon that watches a good release, ready for rounds."""
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1_000_000))
    quick = {"boot_seconds": 0.2, "check_seconds": 0.3, "grace_seconds": 0.3}
    async with running(directory, machines=machines, **quick) as daemon:
        daemon.configure(QUICK)
        print(f"FAULT_SEED={seed}")  # noqa: T201 -- what a failure shows, to repeat it
        await daemon.start()
        await daemon.until_known_good()
        fight = Campaign(daemon=daemon, box=daemon.box, chance=random.Random(seed))
        yield fight
        print(dict(fight.faults), dict(fight.ended))  # noqa: T201 -- the figures of a long run
