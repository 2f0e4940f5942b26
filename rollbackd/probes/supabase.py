"""The `supabase` probe: whether the services of a Supabase project are well.

It looks at what the app depends on, not at the app: made for `unless:`. Failing to ask Supabase is
a miss, and a veto that cannot be looked at holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr

from rollbackd.config.types import Many, Spec
from rollbackd.core.errors import (
    ConfigError,
    RateLimited,
    RollbackdError,
    Unauthorized,
    Unreachable,
)
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, MissReason
from rollbackd.core.ports import Missed, Reading
from rollbackd.plugins import ProbeContext, SupabaseAccess
from rollbackd.supabase.client import ServiceHealth, Status, SupabaseClient

Service = Literal[
    "auth", "db", "db_postgres_user", "pooler", "realtime", "rest", "storage", "pg_bouncer"
]


class SupabaseConfig(Spec):
    """A project, and which of its services the app needs."""

    project: str = Field(
        pattern="^[a-z]{20}$",
        description="The project's ref: 20 lower-case letters.",
        examples=["abcdefghijklmnopqrst"],
    )
    services: Many[Service] = Field(
        ("db", "rest", "auth"), min_length=1, description="The services the app needs."
    )
    token: SecretStr | None = Field(
        None, description="${NAME} of a token of its own; by default ROLLBACKD_SUPABASE_TOKEN."
    )


class SupabaseProbe:
    """Failing: one of the wanted services is UNHEALTHY or COMING_UP."""

    kind: ClassVar[str] = "supabase"
    Config: ClassVar[type[SupabaseConfig]] = SupabaseConfig

    @classmethod
    def measure(cls, config: SupabaseConfig) -> MeasureKind:
        del config
        return MeasureKind.CHECK

    @classmethod
    def dependency(cls, config: SupabaseConfig) -> bool:
        del config
        return True

    @classmethod
    def defaults(cls) -> dict[str, float]:
        # 120 requests a minute are allowed per token, over all who use it.
        return {"interval_seconds": 15.0, "timeout_seconds": 5.0}

    @classmethod
    def build(cls, config: SupabaseConfig, context: ProbeContext) -> Self:
        access = context.supabase or SupabaseAccess()
        token = config.token or access.token
        if token is None:
            raise ConfigError(
                f"probe {context.name} of target {context.target}: there is no Supabase token",
                hint="set ROLLBACKD_SUPABASE_TOKEN (project_admin_read is enough)",
            )
        return cls(config, access.url, token, context)

    def __init__(
        self, config: SupabaseConfig, url: str, token: SecretStr, context: ProbeContext
    ) -> None:
        self._config = config
        self._clock = context.clock
        self._timeout_seconds = context.timeout_seconds
        self._quiet_until = 0.0  # monotonic: asking before would only be refused again
        self._client = SupabaseClient(
            url, token, user_agent=context.user_agent, ssl_context=context.ssl_context
        )

    async def take(self) -> Reading:
        if self._clock.monotonic() < self._quiet_until:
            return Missed(reason=MissReason.SOURCE_ERROR, detail="asked to slow down")
        try:
            found = await self._client.health(
                self._config.project,
                self._config.services,
                within_seconds=self._timeout_seconds,
            )
        except RateLimited as error:
            self._quiet_until = self._clock.monotonic() + (error.retry_after_seconds or 0.0)
            return Missed(reason=MissReason.SOURCE_ERROR, detail="asked to slow down")
        except Unauthorized as error:
            return Missed(reason=MissReason.SOURCE_UNAUTHORIZED, detail=error.message)
        except Unreachable as error:
            return Missed(reason=MissReason.SOURCE_UNREACHABLE, detail=error.message)
        except RollbackdError as error:
            return Missed(reason=MissReason.SOURCE_ERROR, detail=error.message)
        return judge(self._config.services, found)

    async def close(self) -> None:
        await self._client.close()


def judge(wanted: Sequence[str], found: Sequence[ServiceHealth]) -> Reading:
    """What the services say together. One that is ill outweighs one that is not told of."""
    by_name = {service.name: service.status for service in found}
    ill = [
        f"{name} {by_name[name]}"
        for name in wanted
        if by_name.get(name, Status.ACTIVE_HEALTHY) is not Status.ACTIVE_HEALTHY
    ]
    if ill:
        return Check(outcome=CheckOutcome.FAILED, why=", ".join(ill))
    silent = [name for name in wanted if name not in by_name]
    if silent:
        detail = f"nothing is said of {', '.join(silent)}"
        return Missed(reason=MissReason.SOURCE_BAD_BODY, detail=detail)
    return Check(outcome=CheckOutcome.OK)
