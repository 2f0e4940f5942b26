"""`rollbackd database` over a live listener, and from the store alone."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from rollbackd.clock import SystemClock
from rollbackd.core.database import MigrationTool
from rollbackd.core.facts import ReleasesSeen
from rollbackd.core.model import JsonObject
from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.observations import Observations, told
from rollbackd.postgres.words import Applied, Observed
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import SHOP, release
from tests.unit.cli.conftest import Served

Run = Callable[..., Result]
T0 = 1_700_000_000.0


def seen(version: int, *migrations: str, failed: bool = False, **rows: int) -> Observed:
    applied = tuple(
        Applied(tool=MigrationTool.SUPABASE, version=one, name="tokens", order=order, failed=failed)
        for order, one in enumerate(migrations)
    )
    return Observed(
        version=version,
        content=f"img:{version}",
        at=T0 + version,
        applied=applied,
        fingerprint=made_of({("table", f"public.t{one}"): "x" for one in migrations}),
        row_counts=rows,
    )


async def leave(directory: Path) -> JsonObject:
    store = SqliteStore(directory, SystemClock())
    await store.open()
    try:
        await store.keep(ReleasesSeen(target=SHOP, at=T0, releases=(release(42), release(41))))
        ledger = Observations(store, SHOP)
        await ledger.keep(seen(41, "20251014"))
        await ledger.keep(seen(42, "20251014", "20251015", failed=True, facts=1234))
        return await told(ledger, SHOP)
    finally:
        await store.close()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ROLLBACKD_URL", raising=False)
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_each_release_is_shown_with_what_came_with_it(
    served: Served, rollbackd: Run, tmp_path: Path
) -> None:
    served.desk.observed = asyncio.run(leave(tmp_path / "left"))
    lines = rollbackd("database").stdout.splitlines()
    assert lines[1].split()[:2] == ["->", "v42"]
    assert lines[2].split()[:2] == ["->", "v41"]
    assert "v42 came with 20251015_tokens" in lines
    assert "v42: supabase did not finish 20251015_tokens" in lines
    assert "v42 had rows: facts 1,234" in lines


def test_without_a_daemon_the_store_tells(state: Path, rollbackd: Run) -> None:
    left = asyncio.run(leave(state))
    answer = json.loads(rollbackd("database", "shop", "--json").stdout)
    assert answer == {"daemon": "down", **left}
    assert [one["version"] for one in answer["observed"]] == [42, 41]


def test_an_unknown_target_is_told_which_there_are(state: Path, rollbackd: Run) -> None:
    asyncio.run(leave(state))
    refused = rollbackd("database", "blog")
    assert refused.exit_code == 2
    assert "releases were kept of: shop" in refused.stderr


def test_nothing_observed_yet_is_said(served: Served, rollbackd: Run) -> None:
    served.desk.observed = {"target": "shop", "observed": []}
    assert "Nothing was observed of the database of shop yet" in rollbackd("database").stdout
