"""A target's `database:` -> the core's policy, with the secrets apart. It connects to nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from rollbackd.config import data_step
from rollbackd.config.compiled import plan
from rollbackd.config.nodes import Items, Leaf, Table, reach
from rollbackd.config.schema import PlanSpec, TargetSpec
from rollbackd.config.schema_database import DatabaseSpec, InvariantSpec
from rollbackd.config.scope import Scope
from rollbackd.core.database import (
    CriticalTable,
    DatabasePolicy,
    History,
    Invariant,
    Snapshots,
)
from rollbackd.core.policy import PlanPolicy, Traffic
from rollbackd.plugins import DatabaseAccess, Need
from rollbackd.postgres.address import refused

STEP: Final = "database"  # the executor's word in `plans: {x: {steps: [database, app]}}`
APP_STEP: Final = "app"
DATA_STEP: Final = "data"  # rows of a snapshot of ours
_DATA_SECONDS: Final = 1800.0  # a dump, a restore and a copy: nobody waits for it unasked
PITR_STEP: Final = "pitr"  # the whole project back to a moment, by Supabase itself

_PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s']*)")
_URL_HINT = "write postgresql://user:password@host:5432/postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """What only the daemon may know of a target's database. `token` None: the process's own."""

    access: DatabaseAccess
    token: SecretStr | None


def compile_database(
    spec: TargetSpec, scope: Scope
) -> tuple[DatabasePolicy, DatabaseSettings] | None:
    """Both, or None without a `database:` or where the findings say what is wrong with it.

    `scope` stands at the target's own table.
    """
    given = spec.database
    if given is None:
        _refuse_without(spec, scope)
        return None
    inner = scope.into(STEP)
    settings = _settings(given, inner.into("url"))
    policy = DatabasePolicy(
        histories=tuple(History(tool=h.tool, table=h.table or "") for h in given.migrations),
        rollback_dirs=_directories(given.rollback_dirs, inner.into("rollback_dirs")),
        schemas=given.schemas,
        exposed_roles=given.exposed_roles,
        auto=frozenset(given.auto),
        leftovers=given.leftovers,
        critical_tables=tuple(
            CriticalTable(
                table=critical.table,
                least_rows=critical.least_rows,
                most_lost_share=critical.most_lost,
                never_fewer=critical.never_fewer,
            )
            for critical in given.critical_tables
        ),
        invariants=(
            *_invariants(given.invariants, "invariant"),
            *_invariants(spec.after.invariants, "after"),
        ),
        rehearsal=given.rehearsal,
        snapshots=Snapshots(
            keep=given.snapshot.keep,
            limit_seconds=given.snapshot.limit,
            directory=_beside(inner.into("snapshot", "directory"), given.snapshot.directory),
        ),
        lock_timeout_seconds=given.timeouts.lock,
        statement_timeout_seconds=given.timeouts.statement,
        lock_budget_seconds=given.timeouts.lock_budget,
        end_idle_after_seconds=given.end_idle_after,
        migrates_at_boot=given.migrates_at_boot,
        supabase_project=given.supabase.project if given.supabase else "",
    )
    _refuse_repeated(policy, inner)
    _refuse_times(policy, inner.into("timeouts"))
    return None if settings is None else (policy, settings)


def at_hand(table: Table) -> frozenset[Need]:
    """What a probe of this target can ask, right or wrong as it may be written."""
    if table.get(STEP) is None:
        return frozenset()
    for path in ((STEP, "invariants"), ("after", "invariants")):
        place = reach(table, path)
        if place.path == path and not (isinstance(place.node, Items) and not place.node.values):
            return frozenset({Need.DATABASE, Need.INVARIANTS})
    return frozenset({Need.DATABASE})


def usual_plans(target: TargetSpec | None, steps: Collection[str]) -> dict[str, PlanPolicy]:
    """What a target with a database can always be asked for; the YAML may say them otherwise."""
    if target is None or target.database is None or target.fly is None or STEP not in steps:
        return {}
    both = f"{APP_STEP}-and-{STEP}"
    made = plan(DATA_STEP, PlanSpec(steps=(DATA_STEP,), traffic=Traffic.STOP))
    data = {DATA_STEP: replace(made, deadline_seconds=_DATA_SECONDS)}
    return {
        **(data if DATA_STEP in steps else {}),
        STEP: plan(STEP, PlanSpec(steps=(STEP,))),
        both: plan(both, PlanSpec(steps=(STEP, APP_STEP), traffic=Traffic.STOP)),
    }


def judge_plan(
    made: PlanPolicy, database: DatabaseSpec | None, scope: Scope, *, has_fly: bool
) -> None:
    """What the steps of a plan ask of each other and of the target. `scope` stands at the plan."""
    steps = made.steps
    for at, step in enumerate(steps):
        if step in steps[:at]:
            scope.into("steps", at).error(f"the step {step} stands there twice", "once is enough")
    if PITR_STEP in steps and (database is None or database.supabase is None):
        hint = "add database: {url: …, supabase: {project: …}} to the target"
        at = steps.index(PITR_STEP)
        scope.into("steps", at).error("a step pitr, and the target has no project", hint)
    if DATA_STEP in steps:
        data_step.judge(made, scope, has_database=database is not None, has_fly=has_fly)
    if STEP not in steps:
        return
    at = steps.index(STEP)
    if database is None:
        hint = 'add database: {url: "${DATABASE_URL}"} to the target'
        scope.into("steps", at).error("a step database, and the target has no database:", hint)
        return
    if not has_fly:
        hint = "add fly: {app: …}: which migrations to reverse follows from its releases"
        scope.into("steps", at).error("a step database, and the target has no fly:", hint)
    database_first = APP_STEP in steps and at < steps.index(APP_STEP)
    if database.migrates_at_boot and database_first and made.traffic is not Traffic.STOP:
        scope.error(
            f"traffic {made.traffic}, and the app migrates when it boots: a restart of the bad "
            "release would apply the migrations again",
            "write traffic: stop",
        )
    elif database_first and made.traffic is not Traffic.STOP:
        scope.warn(
            f"traffic {made.traffic}: the bad release serves while its schema is taken away",
            "write traffic: stop",
        )
    elif database.migrates_at_boot and APP_STEP not in steps:
        scope.warn(
            "the bad release stays and migrates when it boots: a restart undoes this plan",
            f"write steps: [{STEP}, {APP_STEP}], traffic: stop",
        )


def warn_of_password(table: Table, scope: Scope) -> None:
    """Once for each place where a password or token stands in the file itself."""
    place = reach(table, (STEP, "url"))
    leaf = place.node
    if len(place.path) == 2 and isinstance(leaf, Leaf) and not leaf.secrets:  # noqa: PLR2004 -- both keys
        found = _address(str(leaf.value))
        if found is not None and found.password:
            hint = 'write url: "${DATABASE_URL}" and set it as a secret'
            scope.findings.warn(leaf.mark, "a password stands in the file", hint)


def _settings(given: DatabaseSpec, scope: Scope) -> DatabaseSettings | None:
    url = given.url.get_secret_value().strip()
    found = _address(url)
    if found is None:
        scope.error("not the address of a Postgres database", _URL_HINT)
        return None
    if against := refused(found.hosts, found.ports, found.sslmode):
        scope.error(*against)
        return None
    return DatabaseSettings(
        access=DatabaseAccess(url=SecretStr(url)),
        token=given.supabase.token if given.supabase else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """What of an address can be wrong in itself."""

    hosts: tuple[str, ...]
    ports: tuple[str, ...]
    sslmode: str
    password: bool


def _address(url: str) -> _Address | None:
    """None where libpq could not read it."""
    if "://" not in url:
        return _of_pairs(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    more = parse_qs(parts.query)
    if parts.scheme not in {"postgres", "postgresql"} or not (parts.hostname or "host" in more):
        return None
    last = {name: values[-1] for name, values in more.items()}
    return _Address(
        hosts=(last.get("hostaddr") or last.get("host") or parts.hostname or "",),
        ports=(last.get("port") or (str(port) if port else ""),),
        sslmode=last.get("sslmode", ""),
        password=bool(parts.password or "password" in more),
    )


def _of_pairs(text: str) -> _Address | None:
    """The other form that libpq reads: host=… port=… dbname=…."""
    pairs = {name: value.strip("'") for name, value in _PAIR.findall(text)}
    if _PAIR.sub("", text).strip() or not {"host", "hostaddr", "service"} & pairs.keys():
        return None
    ports = tuple(pairs.get("port", "").split(","))
    if not all(port.isdigit() for port in ports if port):
        return None
    return _Address(
        hosts=tuple((pairs.get("hostaddr") or pairs.get("host", "")).split(",")),
        ports=ports,
        sslmode=pairs.get("sslmode", ""),
        password="password" in pairs,
    )


def _directories(names: Sequence[str], scope: Scope) -> tuple[str, ...]:
    found = []
    for at, name in enumerate(names):
        inner = scope.into(at)
        path = _beside(inner, name)
        if Path(path).is_dir():
            found.append(path)
        else:
            missing = "is not a directory" if Path(path).exists() else "is not there"
            inner.error(f"{name} {missing}", f"it is looked for as {path}")
    return tuple(found)


def _beside(scope: Scope, name: str | None) -> str:
    """Absolute; relative to the file that names it."""
    if not name:
        return ""
    return str((Path(scope.value_mark().path).parent / Path(name).expanduser()).resolve())


def _invariants(given: Iterable[InvariantSpec], word: str) -> tuple[Invariant, ...]:
    return tuple(
        Invariant(name=spec.name or f"{word} {number}", sql=spec.sql)
        for number, spec in enumerate(given, start=1)
    )


def _refuse_without(spec: TargetSpec, scope: Scope) -> None:
    if spec.after.invariants:
        hint = 'add database: {url: "${DATABASE_URL}"} to the target'
        scope.into("after", "invariants").key_error(
            "invariants are asked of the target's database, and there is no database:", hint
        )


def _refuse_repeated(policy: DatabasePolicy, scope: Scope) -> None:
    for key, names in (
        ("invariants", [each.name for each in policy.invariants]),
        ("critical_tables", [each.table for each in policy.critical_tables]),
        ("migrations", [f"{each.tool} {each.table}".strip() for each in policy.histories]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            scope.into(key).key_error(f"{twice[0]!r} stands there twice", "once is enough")


def _refuse_times(policy: DatabasePolicy, scope: Scope) -> None:
    if policy.lock_timeout_seconds <= 0 or policy.statement_timeout_seconds <= 0:
        scope.key_error("a timeout of 0 waits for ever", "write lock: 2s, statement: 30s")
    elif policy.lock_budget_seconds < policy.lock_timeout_seconds:
        hint = "lock_budget >= lock"
        scope.key_error("lock_budget is shorter than one wait for a lock", hint)
