"""What is said of data on the command line arrives, and what would be lost is printed first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from rollbackd.cli import restoring
from rollbackd.core.errors import UsageError
from rollbackd.core.model import JsonObject, Restore
from tests.support_desk import PLAN
from tests.unit.cli.conftest import Served

Run = Callable[..., Result]
TOLD: JsonObject = {
    "snapshot": "shop-100-abc",
    "way": "over",
    "tables": {
        "public.orders": {"new": 12, "other": 3, "gone": 40},
        "public.quiet": {"new": 0, "other": 0, "gone": 0},
    },
    "stays": ["function public.f() was changed since"],
    "returns": [],
    "uncounted": [],
    "left_out": [],
    "history": "1 migrations instead of 2; not: 2",
}


def test_what_was_asked_for_arrives_and_the_plan_is_that_of_data(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {**PLAN, "from_version": 43, "to_version": 43, "asks": "rows are lost", "hash": "3f0c"}
    notes = ["data: public.orders: 12 written since are lost"]
    planned = {**same, "name": "data", "data": TOLD, "notes": notes}
    monkeypatch.setattr("tests.support_desk.PLAN", planned)

    done = rollbackd(
        *("rollback", "shop", "--reason", "x", "--snapshot", "shop-100-abc"),
        *("--table", "orders", "--table", "public.quiet", "--missing-only", "--dry-run"),
    )

    assert done.exit_code == 0, done.output
    (order,) = served.desk.orders
    assert (order["plan"], order["restore"]) == ("data", "shop-100-abc")
    assert order["tables"] == ["orders", "public.quiet"]
    lines = done.stdout.splitlines()
    assert "shop: v43 stays, plan data" in lines[0]
    assert any("public.orders" in line and "12" in line and "40" in line for line in lines)
    assert not any("public.quiet" in line for line in lines)
    assert "    function public.f() was changed since" in lines
    assert sum("written since are lost" in line for line in lines) == 0
    refused = rollbackd("rollback", "shop", "--reason", "x", "--snapshot", "s", "--yes")
    assert refused.exit_code == 2
    assert "--plan-hash 3f0c" in refused.output


def test_half_a_wish_is_refused_and_none_is_none() -> None:
    with pytest.raises(UsageError, match="single tables"):
        restoring.wished("s", None, missing=True, common=False)
    assert restoring.wished("", None, missing=False, common=False) is None
    made = restoring.wished("", ["t"], missing=False, common=True)
    assert made == Restore(tables=("t",), common=True)


def test_what_is_confirmed_says_whether_the_release_stays() -> None:
    assert restoring.question("shop", {"from_version": 4, "to_version": 4}).startswith("Stop shop")
    assert "v4 to v3" in restoring.question("shop", {"from_version": 4, "to_version": 3})


def test_snapshots_are_listed_where_the_state_is(
    rollbackd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    text = "targets:\n  shop:\n    fly: {app: shop}\n    url: https://shop.example\n"
    path = folder / "rollback-monitoring.yml"
    path.write_text(text)
    monkeypatch.setenv("ROLLBACKD_CONFIG", str(folder))
    monkeypatch.setenv("ROLLBACKD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/shop")

    none: Any = rollbackd("snapshots")
    path.write_text(text + '    database: {url: "${DATABASE_URL}"}\n')
    empty: Any = rollbackd("snapshots", "shop")
    taken: Any = rollbackd("snapshots", "shop", "--take")

    assert none.exit_code == 2
    assert "none has a database:" in none.output
    assert (empty.exit_code, "There is no snapshot of shop yet." in empty.output) == (0, True)
    assert taken.exit_code == 69
