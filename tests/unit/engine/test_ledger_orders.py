"""What people and pipelines say of releases: kept, in the record with who and why, and heeded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from rollbackd.core.errors import Rejected, UsageError
from rollbackd.core.facts import ReleasesSeen, RollbackEnded, RollbackStarted, RollbackSwitched
from rollbackd.core.model import Release, RollbackId, RollbackOutcome
from rollbackd.core.rules import Mode
from rollbackd.engine.desk import Desk
from rollbackd.engine.reloader import Reloader
from rollbackd.telemetry import events
from tests.unit.core.world import SHOP, release
from tests.unit.engine.test_engine import Bench, lines

A, C = "a" * 40, "c" * 40


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.store.close()


def desk_of(bench: Bench) -> Desk:
    return Desk(
        clock=bench.clock,
        engine=bench.engine,
        store=bench.store,
        reloader=cast("Reloader", None),  # none of these orders reloads
        apps=str,
        started_at=0,
    )


async def see(bench: Bench, at: float, *releases: Release) -> None:
    bench.clock.advance(at - bench.clock.now())
    await bench.engine.turn(ReleasesSeen(target=SHOP, at=at, releases=releases))


async def roll_back(bench: Bench) -> None:
    """v42 is rolled back from at 146, and v43 is the record of that."""
    await bench.go_bad()
    bench.clock.advance(146)
    name = RollbackId("r1")
    bad, good = release(42), release(41)
    await bench.engine.turn(RollbackStarted(target=SHOP, at=146, rollback=name, bad=bad, good=good))
    await bench.engine.turn(RollbackSwitched(target=SHOP, at=150, rollback=name, version=43))
    await bench.engine.turn(
        RollbackEnded(target=SHOP, at=160, rollback=name, outcome=RollbackOutcome.RECOVERED)
    )
    await see(bench, 161, release(43, "image-41"), release(42), release(41))


def counted(bench: Bench) -> str:
    text = bench.metrics.render("")[0].decode()
    name = 'rollbackd_quarantined_deploys_total{target="shop"}'
    return next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize(("word", "standing"), [("bless", "good"), ("quarantine", "quarantined")])
async def test_what_is_said_is_in_the_record_with_who_and_why_and_outlives_us(
    tmp_path: Path, word: str, standing: str
) -> None:
    first = Bench(tmp_path)
    await first.open()
    await first.go_bad()
    order = getattr(desk_of(first), word)
    answer = await order("shop", version=42, reason="I looked", by="ann")
    (said,) = await lines(first, {"bless": "blessed"}.get(word, "quarantined"))
    await first.store.close()

    second = Bench(tmp_path)
    await second.open()
    found = second.engine.states[SHOP].ledger.standing(release(42))
    await second.store.close()

    assert answer == {"target": "shop", "version": 42, "was": "bad", "standing": standing}
    assert (said["by"], said["reason"], said["version"]) == ("ann", "I looked", 42)
    assert found == standing


async def test_a_quarantine_is_taken_back_and_only_a_quarantine(bench: Bench) -> None:
    await bench.go_bad()
    desk = desk_of(bench)
    await desk.quarantine("shop", version=41, reason="leaks", by="ann")

    answer = await desk.unquarantine("shop", version=41, reason="fixed", by="bob")

    assert (answer["was"], answer["standing"]) == ("quarantined", "unknown")
    with pytest.raises(Rejected, match="v41 is not quarantined, it is unknown"):
        await desk.unquarantine("shop", version=41, reason="fixed", by="bob")
    assert len(await lines(bench, "unquarantined")) == 1


async def test_an_unknown_release_or_target_is_one_clear_error_and_no_order(bench: Bench) -> None:
    await bench.go_bad()
    desk = desk_of(bench)

    with pytest.raises(UsageError, match="shop has no release v7") as no_release:
        await desk.bless("shop", version=7, reason="x", by="ann")
    with pytest.raises(UsageError, match="no target 'blog'"):
        await desk.quarantine("blog", version=42, reason="x", by="ann")
    with pytest.raises(UsageError, match="is no git commit"):
        await desk.announce("shop", sha="main", actor="", url="", by="ci")
    with pytest.raises(UsageError, match="is no address"):
        await desk.announce("shop", sha=A, actor="", url="javascript:alert(1)", by="ci")

    assert no_release.value.hint == "newest: v42, v41"
    assert not await bench.store.facts(1e9) or all(
        isinstance(fact, ReleasesSeen) for fact in await bench.store.facts(0)
    )


async def test_an_announced_deploy_knows_its_author_also_after_a_restart(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    await first.open()
    await first.go_bad()
    bench_desk = desk_of(first)
    answer = await bench_desk.announce(
        "shop", sha=A.upper(), actor="ann", url="https://ci", by="ci"
    )
    await first.store.close()

    second = Bench(tmp_path)
    await second.open()
    await see(second, 200, release(44), release(42), release(41))
    newest = second.engine.states[SHOP].deploys.known[0]
    await second.store.close()

    assert answer["ok"] is True
    assert (newest.commit, newest.author) == (A, "ann")


async def test_a_commit_that_was_rolled_back_from_is_refused_until_a_person_says_otherwise(
    bench: Bench,
) -> None:
    desk = desk_of(bench)
    await see(bench, 0, release(41))
    await desk.announce("shop", sha=C, actor="", url="", by="ci")
    await roll_back(bench)
    refused = desk.gate("shop", C[:9])
    other = desk.gate("shop", A)

    await desk.bless("shop", version=42, reason="it was the database", by="ann")

    assert refused["ok"] is False
    assert refused["why"] == "v42 was rolled back to v41 by a person"
    assert (other["ok"], other["why"]) == (True, "nothing is known against it")
    assert desk.gate("shop", C)["ok"] is True


async def test_what_was_rolled_back_from_is_noticed_when_it_is_deployed_again_and_once(
    bench: Bench,
) -> None:
    bench.metrics.adopt(bench.engine.policy)
    await roll_back(bench)
    assert counted(bench) == "0.0"
    old = (release(43, "image-41"), release(42), release(41))

    with capture_logs() as logs:
        await see(bench, 200, release(44, "image-42"), *old)
        await see(bench, 205, release(44, "image-42"), *old)

    (told,) = [line for line in logs if line["event"] == events.RELEASE_RELAPSED]
    assert told["log_level"] == "warning"
    assert (told["version"], told["why"]) == (
        44,
        "has the content of v42, which was rolled back to v41 by a person",
    )
    assert counted(bench) == "1.0"
    assert "has the content of v42" in str(desk_of(bench).target("shop")["relapse"])


async def test_history_tells_what_only_the_mode_held(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Mode.OBSERVE)
    await bench.open()
    await bench.go_bad()
    await bench.tick(146)
    desk = desk_of(bench)

    told = (await desk.rollbacks(None, 10))["would_have"]
    explained = desk.explain("shop")
    await bench.store.close()

    assert isinstance(told, list)
    (row,) = told
    assert isinstance(row, dict)
    assert (row["target"], row["version"], row["to_version"]) == ("shop", 42, 41)
    sentence = "shop v42 is bad: health failing in 4 of the last 4 looks"
    assert row["why"] == explained["headline"] == sentence
    assert explained["then"] == "ROLLBACKD_MODE is observe"
    assert explained["trial"] == "would have acted once in 1 release"
