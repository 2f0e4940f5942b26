"""Data of a snapshot comes back behind a fence, as a plan says and a person approved, or not at
all; and whatever happens the app is back.
"""

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollbackd.core.asked import NeedsApproval
from rollbackd.core.errors import PlanRefused, RollbackdError
from rollbackd.core.model import Restore, RollbackOutcome
from rollbackd.core.runbook import Journal, Plan, RollbackState
from rollbackd.postgres import keeping, snapshot_files
from rollbackd.sandbox.server import Sandbox
from tests.integration_fly.walking import effects
from tests.postgres.restoring import (
    FIRST,
    HARMED,
    QUICK,
    STATE,
    WELL,
    Where,
    approved,
    harm,
    house,
    policy,
    taken,
    unfenced,
    wanted,
)
from tests.postgres.shop import execute, reading
from tests.support_runner import House

# As the server says it when its own disk is full: in the real database, and only for us.
FULL = """
CREATE FUNCTION room() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
  IF current_database() LIKE 'test%' AND current_setting('application_name') LIKE 'rollbackd/%' THEN
    RAISE 'could not extend file' USING ERRCODE = '53100';
  END IF;
  RETURN true;
END$$;
ALTER TABLE orders ADD CONSTRAINT room CHECK (room());
"""

pytestmark = pytest.mark.process


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(machines=2, rate_limits=False, **QUICK) as made:
        await made.ready()
        yield made


@pytest.fixture
def where(box: Sandbox, database: str, tmp_path: Path) -> Where:
    execute(database, FIRST)
    return Where.of(box, database, tmp_path / "state")


async def journal(made: House) -> Journal:
    found = await made.store.journal(wanted(Restore()).id)
    assert found is not None
    return found


def result(done: Journal, kind: str) -> dict[str, Any]:
    return dict(next(row.result for row in done.rows if row.step.kind == kind))


def told(plan: Plan) -> dict[str, Any]:
    found = next(s.params["told"] for s in plan.steps if s.kind == "data_restore")
    assert isinstance(found, dict)
    return found


async def failed_and_given_back(
    box: Sandbox, where: Where, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More faults are in `make faults`: tests/faults/test_dying_data.py."""
    if fault == "full server":
        execute(where.url, FULL)
    chosen = await taken(where)
    harm(where.url)
    wish = wanted(Restore(snapshot=chosen.id))
    rules = policy()
    async with house(where, rules) as made:
        begun = await made.runner.begin(await approved(made, wish))
    if fault == "limit":
        rules = policy(limit_seconds=0.3)
    if fault == "full disk":
        real = shutil.disk_usage(where.state)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=1 << 10))
    if fault == "changed":
        execute(where.url, "ALTER TABLE orders ADD COLUMN loud boolean")
    async with house(where, rules) as made:
        if fault == "reader":
            with reading(where.url, "orders"):
                outcome = await made.runner.carry_out(begun)
        else:
            outcome = await made.runner.carry_out(begun)
        done = await journal(made)

    why = {
        "reader": "a lock is held by",
        "limit": "0.3 s",
        "full server": "53100",
        "full disk": "no room for a snapshot",
        "changed": "the schema changed since the plan was made",
    }[fault]
    assert why in done.reason
    # Before the one step that is never taken twice, or in it; the limit holds for both.
    early = fault in {"full disk", "changed"}
    ends = {RollbackOutcome.FAILED_BEFORE_EFFECT if early else RollbackOutcome.FAILED}
    assert outcome in ends | ({RollbackOutcome.FAILED_BEFORE_EFFECT} if fault == "limit" else set())
    assert done.state in {RollbackState.COMPENSATED, RollbackState.FAILED}
    assert execute(where.url, STATE) == HARMED
    assert await unfenced(box)


async def test_all_data_comes_back_behind_a_fence_and_what_was_there_is_kept(
    box: Sandbox, where: Where
) -> None:
    chosen = await taken(where)
    harm(where.url)
    wish = wanted(Restore(snapshot=chosen.id))
    async with house(where, policy()) as made:
        with pytest.raises(NeedsApproval) as asked:
            await made.runner.begin(wish)
        plan = asked.value.plan
        outcome = await made.run(replace(wish, plan_hash=plan.hash))
        done = await journal(made)

    assert told(plan)["tables"]["public.orders"] == {"new": 2, "other": 0, "gone": 10}
    assert told(plan)["tables"]["public.products"] == {"new": 0, "other": 10, "gone": 0}
    assert "2 rows written since are lost, 10 changed ones go back" in plan.asks
    assert outcome is RollbackOutcome.RECOVERED
    assert execute(where.url, STATE) == WELL
    assert len(effects(box, "machine.stop")) == 2
    assert await unfenced(box)
    # The way back: what was there behind the fence, verified.
    kept = snapshot_files.named(where.state / "snapshots", result(done, "data_keep")["snapshot"])
    assert kept.manifest.rows["public", "orders"] == 92
    again = replace(wanted(Restore(snapshot=kept.id)), at=500.0)
    async with house(where, policy()) as made:
        assert await made.run(await approved(made, again)) is RollbackOutcome.RECOVERED
    assert execute(where.url, STATE) == HARMED


async def test_single_tables_come_back_and_only_what_is_missing_where_that_is_said(
    where: Where,
) -> None:
    chosen = await taken(where)
    harm(where.url)
    wish = wanted(Restore(snapshot=chosen.id, tables=("orders",), missing=True))
    async with house(where, policy()) as made:
        plan = await made.runner.dry_run(wish)
        outcome = await made.run(replace(wish, plan_hash=plan.hash))

    assert "nothing is lost" in plan.asks
    assert outcome is RollbackOutcome.RECOVERED
    assert execute(where.url, STATE) == [(0, 102, 102)]


async def test_a_schema_that_changed_comes_back_whole_under_the_databases_name(
    box: Sandbox, where: Where
) -> None:
    chosen = await taken(where)
    execute(where.url, "ALTER TABLE products DROP COLUMN name; DELETE FROM orders WHERE id > 9")
    execute(where.url, "DELETE FROM supabase_migrations.schema_migrations")
    wish = wanted(Restore(snapshot=chosen.id))
    async with house(where, policy()) as made:
        plan = await made.runner.dry_run(wish)
        outcome = await made.run(replace(wish, plan_hash=plan.hash))
        done = await journal(made)

    assert told(plan)["way"] == "swap"
    assert "column public.products.name is gone since" in told(plan)["returns"]
    assert told(plan)["uncounted"] == ["public.products"]
    assert outcome is RollbackOutcome.RECOVERED, done.reason
    assert result(done, "data_restore")["kept_as"].endswith("_before_100")
    assert execute(where.url, STATE) == WELL
    assert execute(where.url, "SELECT version FROM supabase_migrations.schema_migrations") == [
        ("1",)
    ]
    assert await unfenced(box)


async def test_data_and_app_go_back_behind_one_fence(box: Sandbox, where: Where) -> None:
    """Every machine once, also one that runs the good release already."""
    chosen = await taken(where)
    async with house(where, policy(), "data", "app") as made:
        await made.executor._parts["app"]._platform.machines()  # type: ignore[attr-defined]
        await box.deploy(image="errors-60", strategy="immediate")
        harm(where.url)
        platform = made.executor._parts["app"]._platform  # type: ignore[attr-defined]
        await platform.machines()
        by_version = {release.version: release for release in await platform.releases()}
        wish = replace(
            wanted(Restore(snapshot=chosen.id), good=by_version[1]),
            bad=replace(by_version[2], created_at=4e9),
        )
        plan = await made.runner.dry_run(wish)
        outcome = await made.run(replace(wish, plan_hash=plan.hash))

    kinds = [step.kind for step in plan.steps]
    assert (kinds.count("cordon"), kinds.count("stop_machine")) == (2, 2)
    assert kinds.index("data_restore") < kinds.index("machine")
    assert outcome is RollbackOutcome.RECOVERED
    assert execute(where.url, STATE) == WELL
    assert {machine.config["image"].partition(":")[2][:4] for machine in box.machines} == {"good"}
    assert await unfenced(box)


@pytest.mark.parametrize("fault", ["reader", "full server", "full disk"])
async def test_whatever_fails_the_data_is_as_before_and_the_app_is_back(
    box: Sandbox, where: Where, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a failure taken for one that may pass the app would stay down."""
    await failed_and_given_back(box, where, fault, monkeypatch)


async def test_what_is_no_snapshot_of_this_database_is_refused_before_anything_is_touched(
    box: Sandbox, where: Where, database: str
) -> None:
    chosen = await taken(where)
    whole, manifest = chosen.path.read_bytes(), chosen.path.with_suffix(".json").read_text()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    cases: list[tuple[bytes, str, str]] = [
        (whole[: len(whole) // 2], manifest, "damaged|cut off|bytes"),
        (bytes(flipped), manifest, "damaged|checksum|not what is in"),
        (b"", manifest, "empty"),
        (
            whole,
            manifest.replace(str(chosen.manifest.origin.database), "other"),
            "another database",
        ),
        (whole, "{", "there is no snapshot"),
    ]
    async with house(where, policy()) as made:
        for body, beside, why in cases:
            chosen.path.write_bytes(body)
            chosen.path.with_suffix(".json").write_text(beside)
            with pytest.raises(RollbackdError, match=why):
                await made.runner.dry_run(wanted(Restore(snapshot=chosen.id)))

    assert effects(box, "machine.stop") == []


async def test_without_a_name_it_is_the_newest_from_before_the_release(where: Where) -> None:
    where.state.mkdir()
    if os.geteuid() == 0:  # as over `fly ssh console`, beside a daemon that is not root
        os.chown(where.state, 12345, 12345)
    older = await taken(where)
    newer = await taken(where)
    files = (newer.path, newer.path.with_suffix(".json"), newer.path.parent)
    assert {path.stat().st_uid for path in files} == {where.state.stat().st_uid}
    async with house(where, policy()) as made:
        plan = await made.runner.dry_run(wanted(Restore()))
        execute(where.url, "DELETE FROM orders WHERE id = 1")
        seen = replace(wanted(Restore()), plan_hash=plan.hash)
        again = await made.runner.dry_run(seen)
        anew = await made.runner.dry_run(wanted(Restore()))
        early = wanted(Restore())
        with pytest.raises(PlanRefused, match="no snapshot of this database from before v1"):
            await made.runner.dry_run(replace(early, bad=replace(early.bad, created_at=5.0)))

    # It is tried again for whoever asks to look, and not for one who has looked.
    assert told(plan)["tables"] == told(again)["tables"] != told(anew)["tables"]
    assert plan.hash == again.hash == anew.hash
    assert older.id != newer.id
    assert told(plan)["snapshot"] == newer.id
    assert [one["snapshot"] for one in keeping.listed(where.state / "snapshots", "shop")] == [
        newer.id,
        older.id,
    ]
