"""The poller looks at its interval, never twice at once, and counts what it could not do."""

import asyncio

from prometheus_client import CollectorRegistry

from rollbackd.clock import SystemClock
from rollbackd.core.facts import Check, CheckOutcome, Sample, TargetFact
from rollbackd.core.model import ProbeName, TargetName
from rollbackd.core.ports import Reading
from rollbackd.engine.look import Looker, Watched
from rollbackd.engine.looplag import LoopLag
from rollbackd.engine.poller import Poller, _Grid
from rollbackd.telemetry.metrics import Metrics
from tests.support import until

OK = Check(outcome=CheckOutcome.OK)


class Counting:
    def __init__(self) -> None:
        self.looks = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def take(self) -> Reading:
        self.looks += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        return OK

    async def close(self) -> None: ...


class Fine:
    async def look(self) -> bool:
        return True


def poller(facts: list[TargetFact]) -> tuple[Poller, Metrics]:
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    looker = Looker(clock, LoopLag(clock, metrics), metrics)
    return Poller(clock=clock, looker=looker, metrics=metrics, publish=facts.append), metrics


def watched(probe: Counting, name: str = "health", interval: float = 0.1) -> Watched:
    return Watched(
        target=TargetName("shop"),
        name=ProbeName(name),
        kind="http",
        interval_seconds=interval,
        timeout_seconds=5,
        probe=probe,
        control=Fine(),
    )


async def test_it_looks_again_and_again_and_publishes_every_sample() -> None:
    facts: list[TargetFact] = []
    probe = Counting()
    polling, _ = poller(facts)
    polling.start()
    polling.adopt([watched(probe)])

    await until(lambda: len(facts) >= 3)
    await polling.stop()

    assert all(isinstance(f, Sample) for f in facts)


async def test_one_probe_looks_at_once_however_long_the_intervals() -> None:
    probes = [Counting() for _ in range(3)]
    polling, _ = poller([])
    polling.start()
    # None of these names has a phase within its first minutes of an hour.
    names = ("health", "front", "auto")
    polling.adopt([watched(p, n, 3600) for p, n in zip(probes, names, strict=True)])

    await until(lambda: sum(p.looks for p in probes) == 1, 5)
    await polling.stop()


async def test_a_look_still_under_way_is_skipped_and_counted() -> None:
    probe = Counting()
    probe.gate.clear()
    polling, metrics = poller([])
    polling.start()
    polling.adopt([watched(probe)])

    def skipped() -> bool:
        body, _ = metrics.render("")
        return any(
            line.startswith(b'rollbackd_scheduler_skipped_runs_total{reason="in_flight"}')
            and not line.endswith(b" 0.0")
            for line in body.splitlines()
        )

    await until(skipped)
    await polling.stop()

    assert probe.most_at_once == 1


async def test_adopting_others_ends_the_looks_of_the_first() -> None:
    old, new = Counting(), Counting()
    polling, _ = poller([])
    polling.start()
    polling.adopt([watched(old)])
    await until(lambda: old.looks >= 1)

    polling.adopt([watched(new)])
    seen = old.looks
    await until(lambda: new.looks >= 3)
    await polling.stop()

    assert old.looks <= seen + 1


def due(polling: Poller) -> dict[str, float]:
    return {
        looks[0].name: job.next_run_time.timestamp()
        for job in polling._scheduler.get_jobs()
        for looks in [job.args[0]]
    }


async def test_a_reload_does_not_move_the_looks_of_what_stays() -> None:
    polling, _ = poller([])
    polling.start()
    kept, gone = watched(Counting(), "kept", 600), watched(Counting(), "gone", 600)
    polling.adopt([kept, gone])
    before = due(polling)

    polling.adopt([watched(Counting(), "kept", 600), watched(Counting(), "new", 600)])
    after = due(polling)
    await polling.stop()

    assert after["kept"] == before["kept"]
    assert after.keys() == {"kept", "new"}


async def test_another_interval_begins_anew() -> None:
    polling, _ = poller([])
    polling.start()
    polling.adopt([watched(Counting(), "kept", 600), watched(Counting(), "first", 600)])

    polling.adopt([watched(Counting(), "kept", 900)])
    seconds = due(polling)["kept"] - SystemClock().now()
    await polling.stop()

    assert seconds < 1


async def test_many_probes_are_all_looked_at() -> None:
    probes = {f"p{i}": Counting() for i in range(40)}
    polling, _ = poller([])
    polling.start()
    polling.adopt([watched(p, name, 0.5) for name, p in probes.items()])

    await until(lambda: all(p.looks >= 2 for p in probes.values()))
    await polling.stop()


def test_the_grid_knows_lag_and_dropped_fires() -> None:
    grid = _Grid(100.0, 10.0)

    assert grid.late(100.25) == (0.25, 0)
    assert grid.late(110.0) == (0.0, 0)
    assert grid.late(145.0) == (5.0, 2)
    assert grid.late(150.5) == (0.5, 0)
