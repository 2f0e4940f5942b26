"""The `postgres` probe: whether the target's database answers, what it says, whether it is whole.

Reads only. For `value` and `invariants` a database that is down is a miss: an outage of the
database never speaks against a release.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from rollbackd.config.schema_database import Query
from rollbackd.config.types import Spec, refused
from rollbackd.core.errors import ConfigError, NotFound, RollbackdError, Unauthorized
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason, Value
from rollbackd.core.ports import Missed, Reading
from rollbackd.plugins import Need, ProbeContext

if TYPE_CHECKING:
    from rollbackd.postgres.connection import Connection
    from rollbackd.postgres.reader import Reader, Row


class PostgresConfig(Spec):
    """The target's own database: `{}` asks whether it answers. One of the two keys, or none."""

    value: Query | None = Field(None, description="A query that gives one number.")
    invariants: bool = Field(
        default=False, description="Failing when one of the target's invariants is broken."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.value is not None and self.invariants:
            raise refused("value and invariants are two probes", "make two of it")
        return self


class PostgresProbe:
    """One kept session, one read-only transaction a look."""

    kind: ClassVar[str] = "postgres"
    Config: ClassVar[type[PostgresConfig]] = PostgresConfig

    @classmethod
    def measure(cls, config: PostgresConfig) -> MeasureKind:
        return MeasureKind.CHECK if config.value is None else MeasureKind.VALUE

    @classmethod
    def dependency(cls, config: PostgresConfig) -> bool:
        """That it answers does not tell of the app; what stands in it is the app's doing."""
        return config.value is None and not config.invariants

    @classmethod
    def needs(cls, config: PostgresConfig) -> tuple[Need, ...]:
        return (Need.DATABASE, Need.INVARIANTS) if config.invariants else (Need.DATABASE,)

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: PostgresConfig, context: ProbeContext) -> Self:
        place = f"probe {context.name} of target {context.target}"
        if context.database is None:
            raise ConfigError(
                f"{place}: the target has no database:", hint="add database: {url: …}"
            )
        if importlib.util.find_spec("psycopg") is None:
            raise ConfigError(
                f"{place}: psycopg is not installed", hint="pip install 'rollbackd[postgres]'"
            )
        return cls(config, context, context.database.url)

    def __init__(self, config: PostgresConfig, context: ProbeContext, url: SecretStr) -> None:
        from rollbackd.postgres.reader import Reader  # noqa: PLC0415 -- psycopg is an extra

        self._config = config
        self._invariants = context.invariants
        self._clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        self._reader: Reader = Reader(url, name=f"probe {context.name}")

    async def take(self) -> Reading:
        import psycopg  # noqa: PLC0415 -- as above

        from rollbackd.postgres.connection import problem  # noqa: PLC0415 -- as above

        began = self._clock.monotonic()
        try:
            reading = await self._reader.ask(self._look, within_seconds=self._timeout_seconds)
        except (psycopg.Error, RollbackdError, OSError) as error:
            return self._not_asked(error, problem(error))
        if isinstance(reading, Check):
            return Check(
                outcome=reading.outcome,
                why=reading.why,
                seconds=self._clock.monotonic() - began,
            )
        return reading

    async def close(self) -> None:
        await self._reader.close()

    async def _look(self, connection: Connection) -> Reading:
        from rollbackd.postgres.reader import select  # noqa: PLC0415 -- as above

        if self._config.value is not None:
            return number(await select(connection, self._config.value))
        if not self._config.invariants:
            await select(connection, "SELECT 1")
            return Check(outcome=CheckOutcome.OK)
        from rollbackd.postgres.invariants import broken  # noqa: PLC0415 -- as above

        lines = await broken(connection, self._invariants)
        return Check(outcome=CheckOutcome.FAILED if lines else CheckOutcome.OK, why=_short(lines))

    def _not_asked(self, error: Exception, told: RollbackdError) -> Reading:
        from rollbackd.postgres.connection import is_outage  # noqa: PLC0415 -- as above

        state = getattr(error, "sqlstate", None)
        why = f"postgres {state}" if state else _KNOWN.get(type(told), "no answer")
        if not is_outage(error):
            return Missed(reason=_reason(told), detail=why)
        why = "time-out" if isinstance(error, TimeoutError) else why
        if self.dependency(self._config):
            return Check(outcome=CheckOutcome.FAILED, why=why)
        return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail=why)


_KNOWN = {
    Unauthorized: "it lets us not in",
    NotFound: "no such user or database",
    ConfigError: "the address is refused",
}
_LONGEST = 90


def number(rows: Sequence[Row]) -> Reading:
    """One row with one number; everything else is nothing that could be judged."""
    if not rows or any(len(row) != 1 for row in rows):
        detail = "no row" if not rows else "more than one column"
        return Missed(
            reason=MissReason.EMPTY if not rows else MissReason.SEVERAL_SERIES, detail=detail
        )
    if len(rows) > 1:
        return Missed(reason=MissReason.SEVERAL_SERIES, detail="more than one row")
    found = rows[0][0]
    if found is None:
        return Missed(reason=MissReason.EMPTY, detail="null")
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
        return Missed(reason=MissReason.NOT_A_NUMBER, detail=type(found).__name__)
    if not math.isfinite(found):
        return Missed(reason=MissReason.NOT_A_NUMBER, detail="not finite")
    return Value(value=float(found))


def _reason(told: RollbackdError) -> MissReason:
    if isinstance(told, Unauthorized):
        return MissReason.SOURCE_UNAUTHORIZED
    return MissReason.PROBE_ERROR if isinstance(told, ConfigError) else MissReason.SOURCE_ERROR


def _short(lines: Sequence[str]) -> str:
    text = "; ".join(lines)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
