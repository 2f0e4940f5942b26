"""The words of a database rollback: what is applied, what reverses it, what that would cost.

Values only: no connection, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollbackd.core.database import Harm, MigrationTool


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One row of a history. `failed`: the tool began it and did not finish (it may block boots).

    `order`: its place in that history, oldest 0. `checksum`: what the history or the row itself
    gives, SHA-256 in hex, empty where there is nothing to sum up. `table`: the history it stands
    in, as the server writes it. `before`: for tools that keep one row only (Alembic,
    golang-migrate), the version that row has once this one is taken back, "" for none; None where
    that is not known, and for the other tools.
    """

    tool: MigrationTool
    version: str
    name: str
    order: int
    checksum: str = ""
    failed: bool = False
    applied_at: float | None = None
    table: str = ""
    before: str | None = None

    @property
    def key(self) -> tuple[MigrationTool, str, str]:
        """Versions repeat (two files of one day): version and name together do not."""
        return self.tool, self.version, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """The SQL that takes one migration back. `where`: file, or table and column, for people.

    `line`: of `text`'s first line in that file. `transactional` False: the file declares
    `-- rollbackd: no-transaction` and holds one statement.
    """

    applied: Applied
    text: str
    where: str
    line: int = 1
    transactional: bool = True
    sha256: str = ""


ObjectKey = tuple[str, str]  # kind (table, column, function, policy, acl, rls, …), full name


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Everything a schema is made of, one definition an object. `sha256` over all of it, sorted."""

    objects: Mapping[ObjectKey, str]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """From one fingerprint to another. Values: the definition (lost, extra), or (before, after)."""

    lost: Mapping[ObjectKey, str] = field(default_factory=dict)
    extra: Mapping[ObjectKey, str] = field(default_factory=dict)
    changed: Mapping[ObjectKey, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lost or self.extra or self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What reversing costs, measured by doing it where it does not count.

    `rows_lost` and `columns_lost` by table. `step`: what the reversal changes. `residue`: in what
    the result differs from the schema of the good release; None where that one is not known.
    `reasons`: why it is as harmful as it is, one line each, numbers first.
    """

    harm: Harm
    reasons: tuple[str, ...]
    step: Difference
    rows_lost: Mapping[str, int] = field(default_factory=dict)
    columns_lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    residue: Difference | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The database as it was while a release was well: the ledger's entry. `at` epoch seconds."""

    version: int
    content: str
    at: float
    applied: tuple[Applied, ...]
    fingerprint: Fingerprint
    row_counts: Mapping[str, int] = field(default_factory=dict)
