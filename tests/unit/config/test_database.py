"""`database:` of a target: what the core gets, what is refused at which line, what is warned of."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from rollbackd.config.database_advice import Installed, advise_database, without_reverse
from rollbackd.config.diagnostics import Findings
from rollbackd.config.load import Loaded
from rollbackd.config.nodes import Table
from rollbackd.config.parse import parse
from rollbackd.config.scope import Scope
from rollbackd.config.types import Spec
from rollbackd.core.database import (
    CriticalTable,
    DatabasePolicy,
    Harm,
    History,
    Invariant,
    MigrationTool,
    Rehearsal,
    Snapshots,
)
from rollbackd.core.model import TargetName
from rollbackd.core.policy import Traffic
from rollbackd.plugins import Need
from tests.unit.config.fakes import PLUGINS, FakeHttp, load_text, refusals, warnings
from tests.unit.config.texts import HEAD

URL = "postgresql://shop:s3cret@db.test:5432/shop"
PLANS = "    plans: {both: {steps: [database, app], traffic: stop}}\n"
SHOP = TargetName("shop")
ALL_THERE = Installed(psycopg=True, pg_dump=True)


class AsksDatabase(FakeHttp):
    """A probe of what the target's own database says."""

    kind = "asks"

    class Config(Spec):
        invariants: bool = False

    @classmethod
    def needs(cls, config: Any) -> tuple[Need, ...]:
        return (Need.INVARIANTS,) if config.invariants else (Need.DATABASE,)

    @classmethod
    def dependency(cls, config: Any) -> bool:
        return not config.invariants


@pytest.fixture(autouse=True)
def _more_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGINS, "asks", AsksDatabase)


def database(*lines: str, url: str = "${DATABASE_URL}") -> str:
    """A target whose `database:` is on line 5, its url on 6 and `lines` on 7 and following."""
    more = "".join(f"      {line}\n" for line in lines)
    return HEAD + f'    database:\n      url: "{url}"\n' + more


def loaded(tmp_path: Path, text: str, **environ: str) -> Loaded:
    return load_text(tmp_path, text, **({"DATABASE_URL": URL} | environ))


def policy(tmp_path: Path, text: str) -> DatabasePolicy:
    found = loaded(tmp_path, text).policy.targets[SHOP].database
    assert found is not None
    return found


def test_without_it_there_is_no_database(tmp_path: Path) -> None:
    made = loaded(tmp_path, HEAD)
    assert made.policy.targets[SHOP].database is None
    assert made.targets[SHOP].database is None


def test_an_address_is_enough_and_nothing_is_done_unasked_then(tmp_path: Path) -> None:
    assert policy(tmp_path, database()) == DatabasePolicy()
    assert policy(tmp_path, database()).auto == frozenset()


def test_every_key_arrives(tmp_path: Path) -> None:
    reverse = tmp_path / "reverse"
    reverse.mkdir()
    text = database(
        "migrations: [supabase, {tool: prisma, table: public._prisma_migrations}]",
        "rollback_dirs: [reverse]",
        "schemas: [public, shop]",
        "exposed_roles: [anon]",
        "auto: [safe]",
        "leftovers: ['function public.touch()', 'index public.*']",
        "critical_tables:",
        "  - facts",
        "  - {table: 'public.\"Session\"', least_rows: 3, most_lost: 1%, never_fewer: true}",
        "invariants: [{name: tokens, sql: 'SELECT 1 WHERE false;'}, SELECT true]",
        "rehearsal: in_place",
        "snapshot: {keep: 2, limit: 10m, directory: dumps}",
        "timeouts: {lock: 1s, statement: 20s, lock_budget: 25s}",
        "end_idle_after: 10s",
        "migrates_at_boot: true",
        "supabase: {project: abcdefghijklmnopqrst, token: '${SUPABASE}'}",
    )
    text += PLANS + "    after: {invariants: [SELECT 2 = 2]}\n"
    made = loaded(tmp_path, text, SUPABASE="sbp_1")
    assert made.policy.targets[SHOP].database == DatabasePolicy(
        histories=(
            History(tool=MigrationTool.SUPABASE),
            History(tool=MigrationTool.PRISMA, table="public._prisma_migrations"),
        ),
        rollback_dirs=(str(reverse),),
        schemas=("public", "shop"),
        exposed_roles=("anon",),
        auto=frozenset({Harm.SAFE}),
        leftovers=("function public.touch()", "index public.*"),
        critical_tables=(
            CriticalTable(table="facts"),
            CriticalTable(
                table='public."Session"', least_rows=3, most_lost_share=0.01, never_fewer=True
            ),
        ),
        invariants=(
            Invariant(name="tokens", sql="SELECT 1 WHERE false"),
            Invariant(name="invariant 2", sql="SELECT true"),
            Invariant(name="after 1", sql="SELECT 2 = 2"),
        ),
        rehearsal=Rehearsal.IN_PLACE,
        snapshots=Snapshots(keep=2, limit_seconds=600.0, directory=str(tmp_path / "dumps")),
        lock_timeout_seconds=1.0,
        statement_timeout_seconds=20.0,
        lock_budget_seconds=25.0,
        end_idle_after_seconds=10.0,
        migrates_at_boot=True,
        supabase_project="abcdefghijklmnopqrst",
    )
    settings = made.targets[SHOP].database
    assert settings is not None
    assert settings.access.url == SecretStr(URL)
    assert settings.token == SecretStr("sbp_1")


def test_directories_are_where_the_file_says_even_for_who_is_like_it(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    text = database("rollback_dirs: [sql]") + "  two: {like: shop}\n"
    two = loaded(tmp_path, text).policy.targets[TargetName("two")].database
    assert two is not None
    assert two.rollback_dirs == (str(tmp_path / "sql"),)


def test_the_password_is_shown_nowhere(tmp_path: Path) -> None:
    made = loaded(tmp_path, database())
    assert "s3cret" not in repr(made)
    assert "s3cret" not in str(made.policy.targets[SHOP].settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@[::1]:5432/db",
        "postgresql:///db?host=/run/postgresql",
        "host=db.test port=5432 user=u password='a b' dbname=shop",
        "service=shop",
    ],
)
def test_whatever_libpq_reads_is_an_address(tmp_path: Path, url: str) -> None:
    loaded(tmp_path, database(), DATABASE_URL=url)


@pytest.mark.parametrize(
    ("line", "at", "message"),
    [
        ("auto: [lossy]", 7, "lossy is never automatic: rows or columns would be gone"),
        ("auto: [safe, security]", 7, "security is never automatic: what the outside world"),
        ("auto: [non_transactional]", 7, "non_transactional is never automatic"),
        ("auto: [unknown]", 7, "unknown is never automatic: nobody can tell"),
        ("auto: [mild]", 7, "expected 'safe'"),
        ("leftovers: ['*']", 7, "this would let everything stay"),
        ("leftovers: ['table *']", 7, "this would let everything stay"),
        ("leftovers: [touch]", 7, "not an object"),
        ("migrations: [rails]", 7, "expected 'supabase', 'prisma'"),
        ("migrations: [prisma, prisma]", 7, "'prisma' stands there twice"),
        ("rollback_dirs: [nowhere]", 7, "nowhere is not there"),
        ("rollback_dirs: [rollback-monitoring.yml]", 7, "is not a directory"),
        ("schemas: []", 7, "at least 1 item"),
        ("critical_tables: [Session]", 7, "Postgres reads Session in lower case"),
        ("critical_tables: ['facts; drop table facts']", 7, "not the name of a table"),
        ("critical_tables: [{table: facts, least_rows: -1}]", 7, "greater than or equal to 0"),
        ("critical_tables: [{table: facts, most_lost: 5}]", 7, "ambiguous ratio"),
        ("critical_tables: [facts, facts]", 7, "'facts' stands there twice"),
        ("invariants: [DELETE FROM facts]", 7, "not a query"),
        ("invariants: [{name: a, sql: SELECT 1}, {name: a, sql: SELECT 2}]", 7, "twice"),
        ("invariants: [{name: a}]", 7, "missing key 'sql'"),
        ("rehearsal: nowhere", 7, "expected 'clone' or 'in_place'"),
        ("timeouts: {lock: 0s}", 7, "a timeout of 0 waits for ever"),
        ("timeouts: {lock: 40s}", 7, "lock_budget is shorter than one wait"),
        ("snapshot: {keep: 0}", 7, "greater than or equal to 1"),
        ("supabase: {project: shop}", 7, "should match pattern"),
        ("urll: x", 7, "unknown key 'urll'"),
        ("end_idle_after: 10", 7, "a duration needs a unit"),
    ],
)
def test_a_mistake_is_one_error_at_its_line(
    tmp_path: Path, line: str, at: int, message: str
) -> None:
    found = refusals(tmp_path, database(line), DATABASE_URL=URL)
    assert [d.line for d in found] == [at]
    assert message in found[0].message


@pytest.mark.parametrize(
    "url",
    [
        "https://db.test/shop",
        "db.test",
        "postgresql://",
        "postgresql://h:99999/x",
        "host=db port=x",
        "host=db and more",
    ],
)
def test_what_libpq_cannot_read_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    (found,) = refusals(tmp_path, database(), DATABASE_URL=f"{url}?s3cret")
    assert (found.line, found.message) == (6, "not the address of a Postgres database")
    assert "s3cret" not in str(found)


def test_an_address_that_is_not_set_is_named(tmp_path: Path) -> None:
    (found,) = refusals(tmp_path, database())
    assert found.message == "environment variable DATABASE_URL is not set"


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (HEAD + PLANS, 5, "a step database, and the target has no database:"),
        (
            database() + "    plans: {both: {steps: [database, app, database]}}\n",
            7,
            "the step database stands there twice",
        ),
        (
            database() + "    plans: {back: {steps: [pitr]}}\n",
            7,
            "a step pitr, and the target has no project",
        ),
        (
            database("migrates_at_boot: true") + "    plans: {both: {steps: [database, app]}}\n",
            8,
            "a restart of the bad release would apply the migrations again",
        ),
        (
            HEAD.replace("fly: {app: shop}", "database: {url: '${DATABASE_URL}'}")
            + "    plans: {both: {steps: [database]}}\n",
            5,
            "the target has no fly:",
        ),
        (HEAD + PLANS.replace("database, app", "data"), 5, "a step data, and the target has no"),
        (
            database() + "    plans: {both: {steps: [data]}}\n",
            7,
            "the app would write while its data is put back",
        ),
        (
            database() + PLANS.replace("database, app", "app, data"),
            7,
            "the good release would run while its data is put back",
        ),
        (
            database() + PLANS.replace("database, app", "data, database"),
            7,
            "data and database in one plan",
        ),
        (HEAD + "    after: {invariants: [SELECT 1]}\n", 5, "there is no database:"),
        (HEAD + "    probes: {db: {asks: {}}}\n", 5, "the target has no database:"),
        (
            database("invariants: []") + "    probes: {db: {asks: {invariants: true}}}\n",
            8,
            "there are no invariants to ask",
        ),
    ],
)
def test_what_does_not_fit_together_is_one_error(
    tmp_path: Path, text: str, at: int, message: str
) -> None:
    found = refusals(tmp_path, text, DATABASE_URL=URL)
    assert [(d.line, message in d.message) for d in found] == [(at, True)]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (database(url=URL) + PLANS, "a password stands in the file"),
        (
            database("supabase: {project: abcdefghijklmnopqrst, token: sbp_1}") + PLANS,
            "a token stands in the file",
        ),
        (database() + PLANS, "no rollback_dirs: only what the history itself holds"),
        (
            database() + "    plans: {both: {steps: [database, app]}}\n",
            "traffic drain: the bad release serves while its schema is taken away",
        ),
        (
            database("migrates_at_boot: true") + "    plans: {d: {steps: [database]}}\n",
            "the bad release stays and migrates when it boots",
        ),
        (
            database() + PLANS + "    mode: auto\n    probes: {health: {http: {}}}\n"
            "    triggers: {t: {probe: health, breach_when: {failing: true}, plan: both}}\n",
            "its plan both always asks",
        ),
    ],
)
def test_what_may_not_do_what_its_author_wants_is_warned_of(
    tmp_path: Path, text: str, warning: str
) -> None:
    assert [w for w in warnings(loaded(tmp_path, text)) if warning in w] != []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (URL.replace("5432", "6543"), "port 6543 is a transaction pooler"),
        ("host=db.test port=5432,6543", "port 6543 is a transaction pooler"),
        ("postgresql://db.test/x?sslmode=requir", "there is no sslmode requir"),
        ("postgresql://db.test/x?sslmode=disable", "in the clear"),
        ("host=db.test sslmode='prefer'", "in the clear"),
    ],
)
def test_an_address_that_is_not_used_is_an_error_at_its_line(
    tmp_path: Path, url: str, says: str
) -> None:
    (found,) = refusals(tmp_path, database(), DATABASE_URL=url)
    assert found.line == 6
    assert says in found.message


@pytest.mark.parametrize(
    "url", ["postgresql://db.internal/x?sslmode=disable", "postgresql://[::1]:5433/x?sslmode=allow"]
)
def test_in_a_private_network_nobody_insists_on_tls(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, database(), DATABASE_URL=url)


def test_with_a_database_there_is_always_a_plan_for_it(tmp_path: Path) -> None:
    plans = loaded(tmp_path, database()).policy.targets[SHOP].plans
    assert {name: (plan.steps, plan.traffic) for name, plan in plans.items()} == {
        "app": (("app",), Traffic.DRAIN),
        "database": (("database",), Traffic.DRAIN),
        "app-and-database": (("database", "app"), Traffic.STOP),
        "data": (("data",), Traffic.STOP),
    }
    own = "    plans: {database: {steps: [app, database]}}\n"
    plans = loaded(tmp_path, database() + own).policy.targets[SHOP].plans
    assert plans["database"].steps == ("app", "database")
    assert set(loaded(tmp_path, HEAD).policy.targets[SHOP].plans) == {"app"}


def test_without_an_app_it_is_only_watched(tmp_path: Path) -> None:
    text = HEAD.replace("fly: {app: shop}", "database: {url: '${DATABASE_URL}'}")
    made = loaded(tmp_path, text)
    assert set(made.policy.targets[SHOP].plans) == {"app"}
    assert any("no plan has the step database" in warning for warning in warnings(made))


def test_app_first_is_no_reason_to_stop_traffic(tmp_path: Path) -> None:
    text = database("migrates_at_boot: true") + "    plans: {later: {steps: [app, database]}}\n"
    assert not [w for w in warnings(loaded(tmp_path, text)) if "traffic" in w]


@pytest.mark.parametrize(
    ("here", "warning"),
    [
        (dataclasses.replace(ALL_THERE, psycopg=False), "psycopg is not installed"),
        (dataclasses.replace(ALL_THERE, pg_dump=False), "pg_dump is not there"),
        (ALL_THERE, None),
    ],
)
def test_what_this_machine_lacks_is_warned_of(
    tmp_path: Path, here: Installed, warning: str | None
) -> None:
    (tmp_path / "sql").mkdir()
    text = database("rollback_dirs: [sql]") + PLANS
    made = loaded(tmp_path, text)
    findings = Findings()
    document = parse(text, "x.yml", findings)
    assert isinstance(document, Table)
    advise_database(
        made.policy.targets[SHOP],
        made.targets[SHOP].database,
        here,
        Scope(root=document, findings=findings, path=("targets", "shop")),
    )
    said = [d.message for d in findings.sorted()]
    assert said == ([] if warning is None else [said[0]])
    assert warning is None or said[0].startswith(warning)


def test_what_a_reverse_file_cannot_do_is_warned_of_at_its_own_line(tmp_path: Path) -> None:
    for name, text in (
        ("20251015_a.sql", "SELECT 1"),
        ("20251015_a.rollback.sql", "DROP TABLE a;\nCOMMIT;"),
        ("20251016_b.sql", "SELECT 1"),
        ("20251016_b.down.sql", "DROP INDEX CONCURRENTLY i;"),
        ("20251017_c/migration.sql", "SELECT 1"),
        ("20251017_c/down.sql", "-- nothing"),
    ):
        (tmp_path / "sql" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sql" / name).write_text(text)

    made = loaded(tmp_path, database("rollback_dirs: [sql]") + PLANS, DATABASE_URL=URL)

    told = [str(d).split("/sql/")[-1] for d in made.diagnostics if d.path.endswith(".sql")]
    assert [line.partition(",")[0] for line in told] == [
        "20251015_a.rollback.sql:2:1: warning: COMMIT: it runs in a transaction of ours",
        "20251016_b.down.sql:1:1: warning: CONCURRENTLY cannot run in a transaction",
        "20251017_c/down.sql:1:1: warning: holds no statement (a rollback over it is refused)",
    ]


def test_migrations_that_nothing_reverses_are_named(tmp_path: Path) -> None:
    files = {
        "20251001_old.sql": "",
        "20251015_facts.sql": "",
        "20251015_facts.rollback.sql": "",
        "20251016_tokens.sql": "",
        "20251016_tokens.down.sql": "",
        "20251016_users.up.sql": "",
        "20251016_users.down.sql": "",
        "20251017_dbmate.sql": "-- migrate:up\n-- migrate:down\n",
        "20251018_alone.sql": "",
        "notes.sql": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for name, files_in in {
        "20251019_prisma": ["migration.sql"],
        "20251020_both": ["down.sql"],
    }.items():
        (tmp_path / name).mkdir()
        for file in files_in:
            (tmp_path / name / file).write_text("")
    assert list(without_reverse((str(tmp_path),))) == ["20251019_prisma", "20251018_alone.sql"]
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "1_a.sql").write_text("")
    found = warnings(loaded(tmp_path, database("rollback_dirs: [sql]") + PLANS))
    assert "no reverse file for 1_a.sql: a rollback over them is refused" in found


def test_a_probe_says_for_each_form_whether_it_looks_at_what_the_app_needs(tmp_path: Path) -> None:
    text = database("invariants: [SELECT true]") + (
        "    probes: {up: {asks: {}}, whole: {asks: {invariants: true}}}\n"
    )
    probes = loaded(tmp_path, text).policy.targets[SHOP].probes
    assert {name: probe.dependency for name, probe in probes.items()} == {
        "up": True,
        "whole": False,
    }


def test_a_reload_keeps_what_a_probe_remembers_unless_it_asks_another_database(
    tmp_path: Path,
) -> None:
    text = database("invariants: [SELECT true]") + (
        "    probes: {db: {asks: {}}, health: {http: {path: /up}}}\n"
    )

    def marks(changed: str, **environ: str) -> dict[str, str]:
        return dict(loaded(tmp_path, changed, **environ).policy.targets[SHOP].fingerprints)

    before = marks(text)
    assert marks(text.replace("      url", "      schemas: [a]\n      url")) == before
    for after in (
        marks(text.replace("SELECT true", "SELECT false")),
        marks(text, DATABASE_URL=f"{URL}2"),
    ):
        assert after["probe:db"] != before["probe:db"]
        assert after["probe:health"] == before["probe:health"]
