"""What is decided about a target's database: who migrates it, what may be done without asking.

Values only. Who asks the database, and how, is in `rollbackd.postgres`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class MigrationTool(enum.StrEnum):
    """Whose history table says which migrations are applied."""

    SUPABASE = "supabase"
    PRISMA = "prisma"
    ALEMBIC = "alembic"
    FLYWAY = "flyway"
    GOLANG_MIGRATE = "golang-migrate"
    DBMATE = "dbmate"


class Harm(enum.StrEnum):
    """What reversing a migration can cost, mildest first. A plan has the worst of its steps."""

    SAFE = "safe"
    LOSSY = "lossy"
    SECURITY = "security"
    NON_TRANSACTIONAL = "non_transactional"
    UNKNOWN = "unknown"


class Rehearsal(enum.StrEnum):
    """Where the reverse steps are tried before anything is decided."""

    CLONE = "clone"  # a scratch database with the schema of `pg_dump -s`: no lock where it matters
    IN_PLACE = "in_place"  # a transaction that is rolled back: real rows, real locks


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A tool's history: `table` as the server writes it, empty for the tool's own default."""

    tool: MigrationTool
    table: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """Holds where the query gives no row, or one single true. `sql` is one SELECT."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalTable:
    """What a rollback must leave in a table. `most_lost_share` of its rows, 0 to 1."""

    table: str
    least_rows: int = 0
    most_lost_share: float = 0.0
    never_fewer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """Kept beside our own state. `limit_seconds` ends a dump or a restore that takes too long."""

    keep: int = 3
    limit_seconds: float = 300.0
    directory: str = ""  # empty: `snapshots` in our own state directory


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePolicy:
    """What a target's `database:` says. Secrets are not in here.

    `histories` empty: whichever tools' tables are found. `auto`: what may be reversed without an
    approval; nothing by default. `exposed_roles` reach `schemas` from outside, so what they gain
    there is a matter of security. `leftovers`: patterns of what a reversal may leave behind, as
    "function public.touch()" or "index public.*". Times in seconds.
    """

    histories: tuple[History, ...] = ()
    rollback_dirs: tuple[str, ...] = ()  # absolute
    schemas: tuple[str, ...] = ("public",)
    exposed_roles: tuple[str, ...] = ("anon", "authenticated")
    auto: frozenset[Harm] = frozenset()
    leftovers: tuple[str, ...] = ()
    critical_tables: tuple[CriticalTable, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    rehearsal: Rehearsal = Rehearsal.CLONE
    snapshots: Snapshots = Snapshots()
    lock_timeout_seconds: float = 2.0
    statement_timeout_seconds: float = 30.0
    lock_budget_seconds: float = 30.0  # over all tries; the app stays fenced no longer
    end_idle_after_seconds: float | None = None  # of sessions in our way; None: end nobody's
    migrates_at_boot: bool = False  # a restart of the bad release would apply it all again
    supabase_project: str = ""
