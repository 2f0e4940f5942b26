"""The models of a target's `database:`. Form only; no driver is needed to read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from rollbackd.config.types import Duration, Many, Ratio, Spec, Word, refused
from rollbackd.core.database import Harm, MigrationTool, Rehearsal

NEVER_BY_ITSELF: Final = {
    Harm.LOSSY: "rows or columns would be gone without a person's approval of the exact plan",
    Harm.SECURITY: "what the outside world may read or write is never opened unasked",
    Harm.NON_TRANSACTIONAL: "what cannot be taken back as a whole is not begun unasked",
    Harm.UNKNOWN: "nobody can tell what it would cost",
}
_PART = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+")'
_NAME = re.compile(rf"{_PART}(?:\.{_PART})?")
_READS = re.compile(r"(?:select|with|values|table)\b", re.IGNORECASE)


def _table(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    if re.search(r"[A-Z]", name) and _NAME.fullmatch(name.lower()):
        quoted = ".".join(f'"{part}"' for part in name.split("."))
        raise refused(f"Postgres reads {name} in lower case", f"write '{quoted}'")
    raise refused("not the name of a table", "write public.facts, or 'public.\"Session\"'")


def _one_select(sql: str) -> str:
    text = sql.strip().removesuffix(";").rstrip()
    if not _READS.match(text):
        raise refused("not a query: it only reads", "write SELECT …")
    return text


def _leftover(pattern: str) -> str:
    kind, _, name = pattern.partition(" ")
    if not kind.strip("*?") or not name.strip("*?. "):
        raise refused(
            f"this would let everything stay: {pattern}" if "*" in pattern else "not an object",
            'write kind and name: "function public.touch()"',
        )
    return pattern


def _mild(harm: Harm) -> Harm:
    if harm in NEVER_BY_ITSELF:
        raise refused(f"{harm} is never automatic: {NEVER_BY_ITSELF[harm]}", "write auto: [safe]")
    return harm


@dataclass(frozen=True, slots=True)
class _OrText:
    """Takes a plain text for a mapping with that one key, and says so in the JSON Schema."""

    key: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}

    def _mapping(self, value: object) -> object:
        return {self.key: value} if isinstance(value, str) else value


Table: TypeAlias = Annotated[str, AfterValidator(_table)]
Query: TypeAlias = Annotated[str, AfterValidator(_one_select)]


class MigrationsSpec(Spec):
    """Whose table says which migrations are applied: `prisma`, or a mapping with the table."""

    tool: Word[MigrationTool] = Field(description="The tool that writes it.")
    table: Table | None = Field(None, description="Where it is not the tool's usual one.")


class CriticalTableSpec(Spec):
    """What a rollback must leave in a table: its name alone means that no row may be lost."""

    table: Table = Field(description='As the server writes it: facts, public."Session".')
    least_rows: int = Field(0, ge=0, description="Fewer are a failure.")
    most_lost: Ratio = Field(0.0, description="Share of its rows that a rollback may lose.")
    never_fewer: bool = Field(
        default=False, description="Append-only: fewer than the good release had are a failure."
    )


class InvariantSpec(Spec):
    """SQL that must hold: no row, or one single true. Read-only, one SELECT."""

    name: str = Field(
        "", max_length=63, description="How it is called where it is broken; else its number."
    )
    sql: Query = Field(description="The query.")


class DatabaseTimeoutsSpec(Spec):
    """How long a rollback of the database may wait and work."""

    lock: Duration = Field(2.0, description="For one lock; longer would hold up everybody else.")
    statement: Duration = Field(30.0, description="For one statement.")
    lock_budget: Duration = Field(
        30.0, description="For locks over all tries; the app stays fenced no longer."
    )


class SnapshotsSpec(Spec):
    """Dumps that are made, and read back whole, before anything is lost."""

    keep: int = Field(3, ge=1, le=100, description="How many of a target.")
    limit: Duration = Field(300.0, description="Ends a dump or a restore that takes longer.")
    directory: str | None = Field(
        None, description="Relative to this file; by default snapshots in ROLLBACKD_STATE."
    )


class SupabaseSpec(Spec):
    """Its Supabase project, for what only the Management API can do."""

    project: str = Field(
        pattern="^[a-z]{20}$",
        description="The project's ref: 20 lower-case letters.",
        examples=["abcdefghijklmnopqrst"],
    )
    token: SecretStr | None = Field(
        None, description="${NAME} of a token of its own; by default ROLLBACKD_SUPABASE_TOKEN."
    )


Leftover: TypeAlias = Annotated[str, AfterValidator(_leftover)]
History: TypeAlias = Annotated[MigrationsSpec, _OrText("tool")]
Critical: TypeAlias = Annotated[CriticalTableSpec, _OrText("table")]
Invariants: TypeAlias = Many[Annotated[InvariantSpec, _OrText("sql")]]


class DatabaseSpec(Spec):
    """The target's Postgres. Without it, rollbacks leave the database alone."""

    url: SecretStr = Field(
        description='"${DATABASE_URL}": a direct or session connection, of a role that may change '
        "the schema."
    )
    migrations: Many[History] = Field(
        (), description="Whose histories count; by default of every tool whose table is found."
    )
    rollback_dirs: Many[str] = Field(
        (), description="Directories with the reverse SQL of migrations, relative to this file."
    )
    schemas: Many[str] = Field(
        ("public",), min_length=1, description="The schemas that migrations change."
    )
    exposed_roles: Many[str] = Field(
        ("anon", "authenticated"),
        description="Roles that reach the schemas from outside: what they gain needs approval.",
    )
    auto: Many[Annotated[Word[Harm], AfterValidator(_mild)]] = Field(
        (), description="[safe]: reverse without asking where nothing is lost; nothing else can be."
    )
    leftovers: Many[Leftover] = Field(
        (),
        description="What a reversal may leave behind, as the dry run names it; * stands for "
        "anything.",
        examples=[["function public.touch()"]],
    )
    critical_tables: Many[Critical] = Field(
        (), description="Tables whose rows are counted before and after."
    )
    invariants: Invariants = Field(
        (), description="SQL that must hold before a rollback is committed, and after any rollback."
    )
    rehearsal: Word[Rehearsal] = Field(
        Rehearsal.CLONE,
        description="clone tries the steps on a copy of the schema; in_place where they will run, "
        "with its locks.",
    )
    snapshot: SnapshotsSpec = Field(SnapshotsSpec(), description="Dumps before anything is lost.")
    timeouts: DatabaseTimeoutsSpec = Field(
        DatabaseTimeoutsSpec(), description="Limits of a rollback."
    )
    end_idle_after: Duration | None = Field(
        None,
        description="End sessions in the way that are idle in a transaction for this long; by "
        "default nobody's.",
    )
    migrates_at_boot: bool = Field(
        default=False,
        description="The app migrates when it boots: bad machines are stopped before the database.",
    )
    supabase: SupabaseSpec | None = Field(None, description="Its Supabase project.")
