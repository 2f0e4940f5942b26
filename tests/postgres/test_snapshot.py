"""A snapshot is what was read to its end and is of this database; everything else is refused."""

import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from rollbackd.clock import FakeClock
from rollbackd.core.errors import PermanentError, TemporaryError
from rollbackd.postgres import archive, snapshot, snapshot_files, tools
from rollbackd.postgres.archive import BadSnapshot
from rollbackd.postgres.connection import connect
from rollbackd.postgres.snapshot_files import Origin, Snapshot

ROWS = 3000


@pytest.fixture
def app(database: str) -> str:
    """Names that have to be quoted, rows with everything COPY has to escape, an empty table."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            'CREATE TABLE "Session" (id text PRIMARY KEY, "select" text, at timestamptz)'
        )
        connection.execute(
            """INSERT INTO "Session"
            SELECT n::text, E'a\\tb\\nc\\\\. COPY x FROM stdin;' || n, now()
            FROM generate_series(1, %s) n""",
            [ROWS],
        )
        connection.execute('CREATE TABLE "o""dd. name" (f float8, b bytea, n text)')
        connection.execute(
            """INSERT INTO "o""dd. name" VALUES (1.0/3, '\\x00ff', NULL), ('nan', '', '')"""
        )
        connection.execute("CREATE TABLE empty (n int)")
        connection.execute("CREATE TABLE parted (n int) PARTITION BY RANGE (n)")
        connection.execute("CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
        connection.execute("INSERT INTO parted VALUES (1), (2)")
    return database


async def take(url: str, directory: Path, schemas: tuple[str, ...] = ("public",)) -> Snapshot:
    return await snapshot.take(
        SecretStr(url),
        directory=directory,
        schemas=schemas,
        limit_seconds=30,
        clock=FakeClock(),
        label="shop/production",
    )


async def origin_of(url: str) -> Origin:
    async with await connect(SecretStr(url), name="test") as connection:
        return await snapshot.origin(connection)


async def test_it_holds_every_row_and_is_ours_alone(app: str, tmp_path: Path) -> None:
    taken = await take(app, tmp_path / "kept")

    assert taken.manifest.rows == {
        ("public", "Session"): ROWS,
        ("public", 'o"dd. name'): 2,
        ("public", "empty"): 0,
        ("public", "part_1"): 2,
    }
    assert stat.S_IMODE(taken.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(taken.path.with_suffix(".json").stat().st_mode) == 0o600
    assert stat.S_IMODE(taken.path.parent.stat().st_mode) == 0o700
    assert sorted(path.suffix for path in taken.path.parent.iterdir()) == [".dump", ".json"]
    assert snapshot_files.load(taken.path) == taken
    snapshot.verify(taken, await origin_of(app), limit_seconds=30)


async def test_the_sum_over_the_rows_is_that_of_the_live_table(app: str, tmp_path: Path) -> None:
    found = archive.read((await take(app, tmp_path)).path, limit_seconds=30)

    async with await connect(SecretStr(app), name="test") as connection, connection.transaction():
        for table, rows in found.tables.items():
            assert await archive.read_live(connection, table, rows) == rows
        await connection.execute("UPDATE \"Session\" SET \"select\" = 'x' WHERE id = '7'")
        like = found.tables["public", "Session"]
        assert await archive.read_live(connection, ("public", "Session"), like) != like


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def flip_data(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 4 // 5] ^= 0x10
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def plain(path: Path) -> None:
    path.write_text("--\n-- PostgreSQL database dump\n--\nCREATE TABLE t ();\n")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "cut off or damaged"),
        (flip_data, "damaged|bytes changed"),
        (empty, "0 bytes"),
        (plain, "plain SQL"),
        (Path.unlink, "cannot be read"),
    ],
)
async def test_a_file_that_is_not_whole_is_refused(
    app: str, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    taken = await take(app, tmp_path)
    damage(taken.path)

    with pytest.raises(BadSnapshot, match=reason):
        snapshot.verify(taken, await origin_of(app), limit_seconds=30)


async def test_any_flipped_bit_is_seen(app: str, tmp_path: Path) -> None:
    taken = await take(app, tmp_path)
    whole = taken.path.read_bytes()
    expected = await origin_of(app)

    for place in range(0, len(whole), len(whole) // 12):
        taken.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BadSnapshot):
            snapshot.verify(taken, expected, limit_seconds=30)


async def test_a_dump_of_the_schema_only_is_refused(app: str, tmp_path: Path) -> None:
    taken = await take(app, tmp_path)
    program = tools.find(17).pg_dump
    async with await connect(SecretStr(app), name="test") as connection:
        access = tools.access_of(connection, "test")
    await tools.run_async(
        [program, "-Fc", "-s", "-f", str(taken.path)], limit_seconds=30, access=access
    )

    with pytest.raises(BadSnapshot, match="schema only"):
        snapshot.verify(taken, await origin_of(app), limit_seconds=30)


async def test_a_dump_without_a_tables_rows_is_refused_even_with_its_own_checksum(
    app: str, tmp_path: Path
) -> None:
    taken = await take(app, tmp_path)
    with psycopg.connect(app, autocommit=True) as connection:
        connection.execute("DELETE FROM parted WHERE n = 1")
    later = await take(app, tmp_path)
    mixed = replace(later.manifest, rows=taken.manifest.rows)

    with pytest.raises(BadSnapshot, match=r"public\.part_1 has 1 rows in it, there were 2"):
        snapshot.verify(
            Snapshot(path=later.path, manifest=mixed), await origin_of(app), limit_seconds=30
        )


async def test_one_of_another_database_server_or_major_is_refused(app: str, tmp_path: Path) -> None:
    taken = await take(app, tmp_path)
    mine = await origin_of(app)

    for other, reason in (
        (replace(mine, database="orders"), "another database"),
        (replace(mine, cluster="7000000000000000000"), "another server"),
        (replace(mine, major=15), "PostgreSQL 17, the server is PostgreSQL 15"),
    ):
        with pytest.raises(BadSnapshot, match=reason):
            snapshot.verify(taken, other, limit_seconds=30)


async def test_a_dump_without_its_manifest_is_no_snapshot(app: str, tmp_path: Path) -> None:
    taken = await take(app, tmp_path)
    manifest = taken.path.with_suffix(".json")

    manifest.write_text("{")
    with pytest.raises(BadSnapshot, match="manifest is damaged"):
        snapshot_files.load(taken.path)
    manifest.unlink()
    with pytest.raises(BadSnapshot, match="no manifest"):
        snapshot_files.load(taken.path)
    assert snapshot_files.kept(tmp_path) == []


async def test_only_the_newest_are_kept_and_none_that_is_in_use(app: str, tmp_path: Path) -> None:
    first = await take(app, tmp_path)
    copies = [first]
    for number in range(1, 5):
        path = tmp_path / f"copy-{number}.dump"
        shutil.copy(first.path, path)
        said = first.path.with_suffix(".json").read_text()
        at = first.manifest.taken_at
        path.with_suffix(".json").write_text(said.replace(str(at), str(at + number)))
        copies.append(snapshot_files.load(path))
    old = tmp_path / "lost.dump.part"
    old.touch()

    snapshot_files.prune(
        tmp_path, keep=2, now=old.stat().st_mtime + 1, spare=frozenset({first.path})
    )

    assert snapshot_files.kept(tmp_path) == [first, copies[3], copies[4]]
    assert old.exists()
    snapshot_files.prune(tmp_path, keep=2, now=old.stat().st_mtime + 100_000)
    assert snapshot_files.kept(tmp_path) == copies[3:]
    assert not old.exists()


async def test_nothing_is_left_of_a_snapshot_that_failed(app: str, tmp_path: Path) -> None:
    with pytest.raises(tools.ToolFailed, match="pg_dump"):
        await take(app, tmp_path, schemas=("nowhere",))
    with psycopg.connect(app) as writer:
        writer.execute('LOCK TABLE "Session" IN ACCESS EXCLUSIVE MODE')
        with pytest.raises(TemporaryError):
            await snapshot.take(
                SecretStr(app),
                directory=tmp_path,
                schemas=("public",),
                limit_seconds=1,
                clock=FakeClock(),
            )

    assert list(tmp_path.iterdir()) == []


async def test_without_room_none_is_begun(
    app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=1 << 10))

    with pytest.raises(PermanentError, match="no room"):
        await take(app, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_archive_tool_itself_takes_a_cut_off_dump_for_good(app: str, tmp_path: Path) -> None:
    """Why we read to the end: if this fails one day, the listing would do."""
    program = tools.find(17)
    dump = tmp_path / "cut.dump"
    subprocess.run([program.pg_dump, "-Fc", "-f", dump, app], check=True)
    cut(dump)

    listing = subprocess.run([program.pg_restore, "-l", dump], capture_output=True, check=False)

    assert listing.returncode == 0
