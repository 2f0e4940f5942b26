"""The database's part of a plan as people read it: 60 columns, numbers first."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import Result

from rollbackd.cli.database_plan import database_part
from rollbackd.core.database import CriticalTable, DatabasePolicy, Harm, MigrationTool
from rollbackd.core.model import JsonObject
from rollbackd.core.runbook import Plan
from rollbackd.executors.plan_hash import plan_hash
from rollbackd.postgres.telling import told
from rollbackd.postgres.words import Applied, Cost, Difference, Reverse
from rollbackd.telemetry import shapes
from tests.support_desk import PLAN, past
from tests.support_rollback import decision
from tests.support_rollback import plan as frozen_plan
from tests.unit.cli.conftest import Served

Run = Callable[..., Result]

STEP = Reverse(
    applied=Applied(
        tool=MigrationTool.SUPABASE,
        version="20251016",
        name="tokens",
        order=3,
        table="supabase_migrations.schema_migrations",
    ),
    text="DROP TABLE tokens;",
    where="20251016_tokens.rollback.sql",
    sha256="a" * 64,
)
PRISMA = Reverse(
    applied=Applied(
        tool=MigrationTool.PRISMA,
        version="id-1",
        name="2025_it's",
        order=0,
        table="public._prisma_migrations",
    ),
    text="x",
    where="down.sql",
    line=7,
    transactional=False,
)
LOSSY = Cost(
    harm=Harm.LOSSY,
    reasons=("1,234 rows of tokens would be lost",),
    step=Difference(
        lost={("table", "public.tokens"): "", ("column", "public.tokens.id"): "integer"},
        changed={("column", "public.facts.note"): ("text; null", "text;\n not null")},
        extra={("acl", 'anon on table public."Se.ssion"'): "SELECT"},
    ),
    rows_lost={"public.tokens": 1234},
    columns_lost={"public.facts": ("note", "mood")},
    residue=Difference(extra={("function", "public.touch()"): "x"}),
)


def part(cost: Cost = LOSSY) -> JsonObject:
    policy = DatabasePolicy(critical_tables=(CriticalTable(table="facts", least_rows=3),))
    return told([STEP, PRISMA], cost, policy, snapshot=True)


def printed(capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    database_part({**PLAN, "hash": "3f0c", "asks": "lossy", "database": part(**more)})
    return capsys.readouterr().out.splitlines()


def test_costs_residue_and_approval_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == [
        "",
        "database: lossy, rows or columns are lost",
        "  the database alone: the release that runs stays",
        "  1. supabase 20251016 tokens",
        "     reversed by 20251016_tokens.rollback.sql:1",
        "  2. prisma id-1 2025_it's",
        "     reversed by down.sql:7",
        "     outside of a transaction, by itself",
        "  why:",
        "    1,234 rows of tokens would be lost",
        "  lost for good:",
        "    1,234 rows of public.tokens",
        "    columns note, mood of public.facts",
        "  what it changes:",
        "    - column public.tokens.id",
        "    - table public.tokens",
        '    + acl anon on table public."Se.ssion"',
        "    ~ column public.facts.note: text; null -> text; not null",
        "  left over, beside the good release's schema:",
        "    + function public.touch()",
        "  snapshot: a dump is made and read back first",
        "  approval: needed, by hash 3f0c",
        "",
    ]


def test_nothing_left_over_and_not_known_are_two_things(capsys: pytest.CaptureFixture[str]) -> None:
    clean = Cost(harm=Harm.SAFE, reasons=(), step=Difference(), residue=Difference())
    lines = printed(capsys, cost=clean)
    assert lines[lines.index("  left over, beside the good release's schema:") + 1] == "    nothing"
    unknown = Cost(harm=Harm.SAFE, reasons=(), step=Difference())
    assert any("left over: not known" in line for line in printed(capsys, cost=unknown))


def test_long_lists_are_cut_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    many = Difference(lost={("index", f"public.i{n}"): "x" for n in range(20)})
    lines = printed(capsys, cost=Cost(harm=Harm.SAFE, reasons=(), step=many, residue=None))
    assert "    and 12 more (--json has all)" in lines


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["machine", "database_reverse"], "the app goes back first, the database after it"),
        (["database_reverse", "machine"], "the database goes back while the app runs"),
        (["stop_machine", "database_reverse", "machine"], "the app is stopped, the database goes"),
    ],
)
def test_the_order_is_read_off_the_steps(
    capsys: pytest.CaptureFixture[str], kinds: list[str], said: str
) -> None:
    steps = [{"kind": kind} for kind in kinds]
    database_part({**PLAN, "steps": steps, "database": part()})
    assert said in capsys.readouterr().out


def test_a_plan_of_the_app_alone_says_nothing_of_a_database(
    capsys: pytest.CaptureFixture[str],
) -> None:
    database_part(PLAN)
    assert capsys.readouterr().out == ""


def test_the_queries_look_at_history_rows_and_tables() -> None:
    history = "supabase_migrations.schema_migrations"
    prisma = "SELECT rolled_back_at FROM public._prisma_migrations"
    assert part()["verify"] == [
        f"SELECT * FROM {history} WHERE version::text = '20251016';  -- no row",
        f"{prisma} WHERE migration_name::text = '2025_it''s';  -- a time, or no row",
        "SELECT count(*) FROM facts;  -- 3 at least",
        '\\d+ public."Se.ssion"',
        "\\d+ public.facts",
    ]


def with_told(harm: str, **more: Any) -> Plan:
    frozen = frozen_plan(decision())
    params: JsonObject = {"told": {"harm": harm}, **more}
    look = replace(frozen.steps[0], kind="database_check", params=params)
    return replace(frozen, steps=(look, *frozen.steps[1:]))


def test_the_answer_of_a_dry_run_has_it() -> None:
    assert shapes.plan(frozen_plan(decision()))["database"] is None
    assert shapes.plan(with_told("lossy"))["database"] == {"harm": "lossy"}


def test_no_approval_is_bound_to_what_is_only_said() -> None:
    """Rows move while the app writes, and the reasons name them."""
    assert plan_hash(with_told("lossy")) == plan_hash(with_told("safe"))
    assert plan_hash(with_told("lossy", migrations=["2"])) != plan_hash(with_told("lossy"))


def test_a_dry_run_prints_it_and_a_rollback_prints_the_queries(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = {**PLAN, "hash": "3f0c", "database": part()}
    monkeypatch.setattr("tests.support_desk.PLAN", planned)
    told_of = rollbackd("rollback", "shop", "--reason", "x", "--plan", "database", "--dry-run")
    assert "database: lossy, rows or columns are lost" in told_of.stdout
    assert "To see for yourself" not in told_of.stdout
    served.desk.ends = [past("r1")]
    done = rollbackd("rollback", "shop", "--reason", "x", "--yes")
    assert "  SELECT count(*) FROM facts;  -- 3 at least" in done.stdout.splitlines()


def test_a_refused_plan_is_shown_and_no_hash_orders_it(
    served: Served, rollbackd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "function public.touch() is left over"
    planned = {**PLAN, "hash": "3f0c", "asks": "lossy", "refuses": why, "database": part()}
    monkeypatch.setattr("tests.support_desk.PLAN", planned)
    seen = rollbackd("rollback", "shop", "--reason", "x", "--dry-run")
    done = rollbackd("rollback", "shop", "--reason", "x", "--yes", "--plan-hash", "3f0c")

    assert seen.exit_code == 1
    assert f"  refused: {why}" in seen.stdout.splitlines()
    assert "  approval: of no use, it is refused" in seen.stdout.splitlines()
    assert done.exit_code == 2
    assert f"it is not done: {why}" in done.stderr
    assert [order["dry_run"] for order in served.desk.orders] == [True, True]
