"""The record gives back what was heard, stays small, and costs nothing when it is lost."""

import hashlib
import math
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from structlog.testing import capture_logs

from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import (
    Approved,
    Asleep,
    Check,
    CheckOutcome,
    ControlSeen,
    Fact,
    Histogram,
    MachinesSeen,
    Miss,
    PastSeen,
    Paused,
    Ratio,
    ReleasesSeen,
    RollbackStarted,
    Sample,
    TargetFact,
    Tick,
    Value,
)
from rollbackd.core.model import ProbeName, RollbackId
from rollbackd.stores import record as record_file
from rollbackd.stores.record import ASIDE, FILE_NAME, SqliteRecord, open_record
from rollbackd.stores.record_rows import fact_of, packed, row_of, unpacked
from tests.unit.core.test_properties import wild_facts
from tests.unit.core.world import SHOP, machine, release

HEALTH = ProbeName("health")
BUCKETS = Histogram(buckets=((0.5, 9.0), (math.inf, 12.0)))
ALL: list[Fact] = [
    Sample(target=SHOP, probe=HEALTH, at=1.25, measure=Check(outcome=CheckOutcome.OK, seconds=0.1)),
    Sample(
        target=SHOP,
        probe=HEALTH,
        at=2.5,
        measure=Check(outcome=CheckOutcome.FAILED, why="refused", failing_machines=2),
    ),
    Sample(
        target=SHOP, probe=ProbeName("errors"), at=3, measure=Ratio(bad=1, total=7), machine="a"
    ),
    Sample(target=SHOP, probe=ProbeName("errors"), at=3, measure=Ratio(bad=1, total=7), version=4),
    Sample(target=SHOP, probe=ProbeName("latency"), at=4, measure=BUCKETS),
    Sample(target=SHOP, probe=ProbeName("locks"), at=5, measure=Value(value=17)),
    Miss(target=SHOP, probe=HEALTH, at=6, reason="dns_failed", detail="SERVFAIL"),
    Asleep(target=SHOP, probe=HEALTH, at=7),
    ControlSeen(target=SHOP, at=8, ok=False, detail="nobody"),
    MachinesSeen(target=SHOP, at=9, machines=(machine("a", "image-41", 41),), foreign_leases=1),
    ReleasesSeen(target=SHOP, at=9, releases=(release(42, created_at=8.5), release(41))),
    PastSeen(target=SHOP, probe=HEALTH, at=10, samples=((1.0, Ratio(bad=0, total=3)),)),
    Paused(target=SHOP, at=11, until=math.inf, by="ann", reason="sale"),
    Approved(target=SHOP, at=12, rollback=RollbackId("r1"), by="ann"),
    RollbackStarted(
        target=SHOP, at=13, rollback=RollbackId("r1"), bad=release(42), good=release(41)
    ),
    Tick(at=14),
]


@pytest.fixture
async def record(tmp_path: Path) -> AsyncIterator[SqliteRecord]:
    made = SqliteRecord(tmp_path)
    yield made
    await made.close()


def heard(facts: list[Fact], since: float = 100) -> list[tuple[float, Fact]]:
    return [(since + index / 8, fact) for index, fact in enumerate(facts)]


async def test_every_fact_comes_back_as_it_was_in_its_order(record: SqliteRecord) -> None:
    told = heard(ALL)
    await record.append(told[:5])
    await record.append(told[5:])

    assert list(await record.read(0)) == told


async def test_it_gives_what_was_heard_since(record: SqliteRecord) -> None:
    told = heard(ALL)
    await record.append(told)

    assert list(await record.read(101)) == [each for each in told if each[0] >= 101]


async def test_another_process_reads_beside_it(record: SqliteRecord, tmp_path: Path) -> None:
    await record.append(heard(ALL))

    assert list(open_record(tmp_path, 0)) == heard(ALL)


def test_where_there_is_no_record_nothing_was_heard(tmp_path: Path) -> None:
    assert list(open_record(tmp_path, 0)) == []
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(fact=wild_facts.filter(lambda fact: not math.isnan(fact.at)))
def test_a_row_reads_back_as_the_fact(fact: TargetFact) -> None:
    shapes: list[str] = []

    def keep(text: str) -> int:
        shapes.append(text)
        return len(shapes) - 1

    ((heard_at, row),) = unpacked(packed([(5.0, row_of(fact, keep))]))

    assert heard_at == 5.0
    assert repr(fact_of(row, shapes.__getitem__)) == repr(fact)


async def test_what_does_not_change_is_written_once(tmp_path: Path, record: SqliteRecord) -> None:
    fleet = tuple(machine(f"m{n}", "image-41", 41) for n in range(50))
    looks: list[Fact] = [MachinesSeen(target=SHOP, at=n, machines=fleet) for n in range(100)]

    await record.append(heard(looks))
    await record.append(heard(looks, since=200))

    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        (shapes,) = connection.execute("SELECT count(*) FROM shape").fetchone()
    assert shapes == 1
    assert [fact for _, fact in await record.read(0)] == looks * 2


async def test_it_forgets_what_is_older_than_a_day(tmp_path: Path) -> None:
    record = SqliteRecord(tmp_path, keep_seconds=100)
    old, new = heard([ALL[0]], 1000), heard([ALL[1]], 1101)

    await record.append(old)
    await record.append(new)

    assert list(await record.read(0)) == new
    await record.close()


async def test_it_forgets_the_oldest_where_it_grows_too_large(tmp_path: Path) -> None:
    record = SqliteRecord(tmp_path, most_bytes=2_000)

    for n in range(200):
        await record.append(heard(ALL[:8], since=n))
    left = await record.read(0)
    await record.close()

    assert 1 <= len(left) < 400
    assert left[-1][0] >= 199
    reopened = SqliteRecord(tmp_path, most_bytes=2_000)
    await reopened.append(heard(ALL[:8], since=300))
    assert len(await reopened.read(0)) <= len(left) + 8
    await reopened.close()


async def test_what_changes_all_the_time_does_not_make_it_too_large(tmp_path: Path) -> None:
    record = SqliteRecord(tmp_path, most_bytes=40_000)
    for at in range(400):
        fleet = tuple(machine(f"m{n}", hashlib.sha256(b"%d" % at).hexdigest()) for n in range(20))
        await record.append([(at * 100.0, MachinesSeen(target=SHOP, at=at, machines=fleet))])

    left = await record.read(0)
    await record.close()

    assert left[-1][1] == MachinesSeen(target=SHOP, at=399, machines=fleet)
    assert len(left) > 30
    file = tmp_path / FILE_NAME
    assert file.stat().st_size < 120_000


async def test_what_is_read_is_read_batch_by_batch_and_what_is_forgotten_meanwhile_is_left_out(
    tmp_path: Path, record: SqliteRecord
) -> None:
    await record.append(heard(ALL[:2]))
    await record.append(heard(ALL[2:4], since=200))
    await record.append(heard(ALL[4:6], since=300))
    reading = open_record(tmp_path, 0)

    first = next(reading)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DELETE FROM batch WHERE id = 2")

    assert [first, *reading] == [*heard(ALL[:2]), *heard(ALL[4:6], since=300)]


async def test_a_disk_that_does_not_answer_for_a_moment_costs_no_record(
    tmp_path: Path, record: SqliteRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record.append(heard(ALL))
    again = SqliteRecord(tmp_path)
    monkeypatch.setattr(record_file.sqlite3, "connect", _no_answer)

    with pytest.raises(TemporaryError, match="disk I/O"):
        await again.append(heard(ALL, since=200))

    monkeypatch.undo()
    assert list(await again.read(0)) == heard(ALL)
    await again.close()


async def test_shapes_that_nobody_names_any_more_are_swept(tmp_path: Path) -> None:
    record = SqliteRecord(tmp_path, keep_seconds=3600)
    for hour in range(8):
        looks: list[Fact] = [
            MachinesSeen(target=SHOP, at=hour, machines=(machine("a", f"image-{hour}"),)),
            ReleasesSeen(target=SHOP, at=hour, releases=(release(41),)),
        ]
        await record.append([(hour * 3601.0, look) for look in looks])

    left = await record.read(0)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        (shapes,) = connection.execute("SELECT count(*) FROM shape").fetchone()
    await record.close()

    assert [fact for _, fact in left][-2:] == looks
    assert shapes <= 5


async def test_a_damaged_record_is_put_aside_said_and_begun_anew(tmp_path: Path) -> None:
    for old in (b"an earlier one, ", b"this is no database, "):
        (tmp_path / FILE_NAME).write_bytes(old * 500)
        record = SqliteRecord(tmp_path)

        with capture_logs() as logs:
            await record.append(heard(ALL))

        assert [each["event"] for each in logs] == ["record.failed"]
        assert "file is not a database" in logs[0]["error"]
        assert (tmp_path / ASIDE).read_bytes() == old * 500  # one only, the newest
        assert list(await record.read(0)) == heard(ALL)
        await record.close()


async def test_a_record_of_another_version_is_begun_anew_and_refused_to_a_reader(
    tmp_path: Path,
) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(TemporaryError, match="version is 99"):
        list(open_record(tmp_path, 0))
    record = SqliteRecord(tmp_path)
    await record.append(heard(ALL))
    assert len(await record.read(0)) == len(ALL)
    await record.close()


async def test_a_batch_that_cannot_be_read_is_left_out(
    tmp_path: Path, record: SqliteRecord
) -> None:
    await record.append(heard(ALL[:2]))
    await record.append(heard(ALL[2:4], since=200))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE batch SET body = x'00' WHERE id = 1")

    assert list(await record.read(0)) == heard(ALL[2:4], since=200)


async def test_a_disk_that_is_nearly_full_takes_no_record(
    record: SqliteRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record.append(heard(ALL))
    monkeypatch.setattr(record_file, "SPARE_BYTES", 2**62)

    with pytest.raises(TemporaryError, match="are free"):
        await record.append(heard(ALL, since=200))

    monkeypatch.undo()
    await record.append(heard(ALL, since=300))
    assert list(await record.read(0)) == [*heard(ALL), *heard(ALL, since=300)]


async def test_on_a_disk_that_is_nearly_full_nothing_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, " * 500)
    monkeypatch.setattr(record_file, "SPARE_BYTES", 2**62)
    record = SqliteRecord(tmp_path)

    with pytest.raises(TemporaryError, match="are free"):
        await record.append(heard(ALL))

    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"this is no database")
    await record.close()


async def test_a_write_that_fails_half_way_leaves_nothing(
    record: SqliteRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record.append(heard(ALL[:1]))
    monkeypatch.setattr(record_file, "packed", _refuse)

    with pytest.raises(TemporaryError, match="no space"):
        await record.append(heard(ALL, since=200))

    monkeypatch.undo()
    await record.append(heard(ALL, since=300))
    assert list(await record.read(0)) == [*heard(ALL[:1]), *heard(ALL, since=300)]


def _refuse(_rows: object) -> str:
    raise OSError("no space left")


def _no_answer(*_args: object, **_words: object) -> sqlite3.Connection:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise error
