"""What is kept of a database while a release is well, and what of it answers for the release."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.database import MigrationTool
from rollbackd.core.model import TargetName
from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.observations import MOST_CONTENTS, SETTLED_SECONDS, Observations
from rollbackd.postgres.words import Applied, Observed
from rollbackd.stores.sqlite import SqliteStore

T0 = 1_700_000_000.0
LASTED = SETTLED_SECONDS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path, FakeClock(T0))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def ledger(store: SqliteStore) -> Observations:
    return Observations(store, TargetName("shop"))


def migration(version: str, **more: Any) -> Applied:
    given: dict[str, Any] = {"name": "x", "order": 0, "table": "s.m", "checksum": f"sum {version}"}
    return Applied(tool=MigrationTool.SUPABASE, version=version, **(given | more))


def seen(at: float, *versions: str, content: str = "img:42", **more: Any) -> Observed:
    """The database with these migrations, one table each."""
    return Observed(
        version=42,
        content=content,
        at=T0 + at,
        applied=tuple(migration(version, order=n) for n, version in enumerate(versions)),
        fingerprint=made_of({("table", f"public.t{v}"): f"owner x, {v}" for v in versions}),
        row_counts={"facts": 7},
        **more,
    )


async def versions(ledger: Observations, content: str = "img:42") -> list[str] | None:
    found = await ledger.of(content)
    return None if found is None else [one.version for one in found.applied]


async def test_what_was_seen_comes_back_whole(ledger: Observations) -> None:
    row = migration("3", failed=True, applied_at=5.5, before="2", name='the "third"')
    observed = replace(seen(0, "1", "2"), applied=(migration("1"), row))
    await ledger.keep(observed)
    assert await ledger.of("img:42") == observed
    assert await ledger.of("img:41") is None


async def test_an_image_alone_names_the_content_it_ran_with(ledger: Observations) -> None:
    observed = seen(0, "1", content="img:42+config:a")
    await ledger.keep(observed)
    assert await ledger.of("img:42") == observed
    assert await ledger.of("img:42+config:b") is None


async def test_targets_do_not_share_it(ledger: Observations, store: SqliteStore) -> None:
    await ledger.keep(seen(0, "1"))
    assert await Observations(store, TargetName("other")).of("img:42") is None


async def test_a_change_counts_only_once_it_lasted(ledger: Observations) -> None:
    await ledger.keep(seen(0, "1"))
    await ledger.keep(seen(60, "1", "2"))
    assert await versions(ledger) == ["1"]  # perhaps the next release's own migration
    await ledger.keep(seen(60 + LASTED - 1, "1", "2"))
    assert await versions(ledger) == ["1"]
    await ledger.still("img:42", 42, T0 + 60 + LASTED)
    assert await versions(ledger) == ["1", "2"]


async def test_the_first_state_counts_at_once(ledger: Observations) -> None:
    await ledger.keep(seen(0, "1", "2"))
    assert await versions(ledger) == ["1", "2"]


async def test_what_comes_and_goes_leaves_what_lasted(ledger: Observations) -> None:
    await ledger.keep(seen(0, "1"))
    await ledger.keep(seen(LASTED, "1"))
    await ledger.keep(seen(LASTED + 10, "1", "2"))
    await ledger.keep(seen(LASTED + 20, "1", "2", "3"))
    await ledger.keep(seen(LASTED + 30, "1"))
    assert await versions(ledger) == ["1"]
    found = await ledger.of("img:42")
    assert found is not None
    assert found.at == T0 + LASTED
    assert len(await ledger.entries()) == 2


async def test_a_change_of_rows_is_no_change(ledger: Observations) -> None:
    await ledger.keep(seen(0, "1"))
    await ledger.keep(replace(seen(9, "1"), row_counts={"facts": 8}))
    (entry,) = await ledger.entries()
    assert (entry.since, entry.at, entry.row_counts) == (T0, T0 + 9, {"facts": 8})


async def test_an_unwritten_change_of_the_schema_is_one(ledger: Observations) -> None:
    await ledger.keep(seen(0, "1"))
    await ledger.keep(replace(seen(5, "1"), fingerprint=made_of({("table", "public.t9"): "new"})))
    assert len(await ledger.entries()) == 2


async def test_each_schema_is_kept_once_and_no_longer_than_who_had_it(
    ledger: Observations, store: SqliteStore
) -> None:
    await ledger.keep(seen(0, "1", content="img:0"))
    key = f"database/shop/schema/{(await ledger.entries())[0].schema}"
    await ledger.keep(seen(1, "1", content="img:1"))
    assert await store.get_blob(key) is not None
    for number in range(2, MOST_CONTENTS + 5):
        await ledger.keep(seen(number, "1", "2", content=f"img:{number}"))
    assert len(await ledger.entries()) == MOST_CONTENTS
    assert await ledger.of("img:0") is None
    assert await store.get_blob(key) is None
    assert await versions(ledger, "img:7") == ["1", "2"]


async def test_what_is_damaged_is_left_out_and_the_rest_answers(
    ledger: Observations, store: SqliteStore
) -> None:
    await ledger.keep(seen(0, "1"))
    await ledger.keep(seen(0, "1", "2", content="img:43"))
    kept = await store.get_blob("database/shop/observed")
    assert isinstance(kept, list)
    first = kept[0]
    assert isinstance(first, dict)
    for broken in (
        [],
        {"version": 1},
        first | {"rows": 3},
        first | {"applied": [["rails", "1", "x", 0, "", False, None, "", None]]},
        first | {"applied": [["prisma"]]},
        first | {"at": float("nan")},
    ):
        await store.put_blob("database/shop/observed", [broken, kept[1]])
        assert await versions(ledger) is None
        assert await versions(ledger, "img:43") == ["1", "2"]
    await store.put_blob("database/shop/observed", kept)
    for schema in ("", "x", "eJw=", 7, None):
        await store.put_blob(f"database/shop/schema/{first['schema']}", schema)
        assert await ledger.of("img:42") is None
