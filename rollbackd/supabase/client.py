"""The one question we ask of Supabase's Management API: are a project's services well?

It asks once and says what came back; whether that speaks against a release is for others.
Source: the Management API's OpenAPI, `v1-get-services-health`.
"""

from __future__ import annotations

import asyncio
import enum
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pydantic import SecretStr

from rollbackd.core.errors import (
    NotFound,
    RateLimited,
    Rejected,
    RollbackdError,
    TemporaryError,
    Unauthorized,
    Unreachable,
)
from rollbackd.core.model import Json

if TYPE_CHECKING:
    import httpx

_MOST_BYTES: Final = 256 * 1024  # the answer is a few hundred bytes
_LONGEST_LOOK_MS: Final = 10_000  # the API's own limit for its look at the services
_SHARE: Final = 0.7  # of our deadline: its own look has to end before we hang up
_LIMITED_SECONDS: Final = 60.0  # the limit is per minute, where it does not say for how long


class Status(enum.StrEnum):
    COMING_UP = "COMING_UP"
    ACTIVE_HEALTHY = "ACTIVE_HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """`name` is db, rest, auth, … . The API's own error text is left out: it may quote anything."""

    name: str
    status: Status


class SupabaseClient:
    """`url` comes without /v1. The token is never in an error's text."""

    def __init__(
        self,
        url: str,
        token: SecretStr,
        *,
        user_agent: str,
        ssl_context: ssl.SSLContext,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx  # noqa: PLC0415 -- every configuration loads this file, few ask Supabase

        self._token = token
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"User-Agent": user_agent},
            trust_env=False,
            verify=ssl_context,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            transport=transport,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def health(
        self, project: str, services: Sequence[str], *, within_seconds: float
    ) -> tuple[ServiceHealth, ...]:
        """How the services are, in the API's order. Raises `core.errors` only."""
        import httpx  # noqa: PLC0415 -- as above

        try:
            async with asyncio.timeout(within_seconds):
                response, body = await self._get(project, services, within_seconds)
        except (TimeoutError, httpx.TimeoutException):
            raise Unreachable("the Management API did not answer in time") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            # Only the error's class: a library's text may quote a header.
            raise Unreachable(f"the Management API: {type(error).__name__}") from None
        if not response.is_success:
            raise _refusal(response)
        return _read(body)

    async def _get(
        self, project: str, services: Sequence[str], within_seconds: float
    ) -> tuple[httpx.Response, bytes]:
        look_ms = min(_LONGEST_LOOK_MS, int(1000 * within_seconds * _SHARE))
        request = self._http.build_request(
            "GET",
            f"/v1/projects/{quote(project, safe='')}/health",
            params={"services": list(services), "timeout_ms": look_ms},
            headers={"Authorization": f"Bearer {self._token.get_secret_value()}"},
            timeout=within_seconds,
        )
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise TemporaryError("the Management API: an answer over the limit")
        finally:
            await response.aclose()
        return response, bytes(body)


def _refusal(response: httpx.Response) -> RollbackdError:
    message = f"the Management API: status {response.status_code}"
    match response.status_code:
        case 401 | 403:
            hint = "the token has to cover this project, with project_admin_read"
            return Unauthorized(message, hint=hint)
        case 404:
            return NotFound(message, hint="is the project's ref right?")
        case 429:
            seconds = _seconds(response.headers.get("x-ratelimit-reset"))
            return RateLimited(message, retry_after_seconds=seconds)
        case status if status >= 500:  # noqa: PLR2004 - HTTP's server errors
            return TemporaryError(message)
        case _:
            return Rejected(message)


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else _LIMITED_SECONDS


def _read(body: bytes) -> tuple[ServiceHealth, ...]:
    try:
        parsed: Json = json.loads(body)
    except ValueError:
        raise TemporaryError("the Management API: the answer is not JSON") from None
    if not isinstance(parsed, list):
        raise TemporaryError("the Management API: the answer is no list of services")
    return tuple(_service(each) for each in parsed)


def _service(each: Json) -> ServiceHealth:
    match each:
        case {"name": str() as name, "status": str() as status} if status in set(Status):
            return ServiceHealth(name=name, status=Status(status))
        case _:
            raise TemporaryError("the Management API: a service that cannot be read")
