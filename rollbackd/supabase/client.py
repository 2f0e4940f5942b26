"""One exchange with Supabase's Management API, and a project's health, the question most asked.

It asks once and says what came back; whether that speaks against a release is for others.
Source: the Management API's OpenAPI, `v1-get-services-health`. Errors have no shape there.
"""

from __future__ import annotations

import asyncio
import enum
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from rollbackd.core.errors import (
    Ambiguous,
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
_FORBIDDEN: Final = "the token has to cover this project, with project_admin_read"
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
        look_ms = min(_LONGEST_LOOK_MS, int(1000 * within_seconds * _SHARE))
        params = {"services": list(services), "timeout_ms": look_ms}
        path = f"{project_path(project)}/health"
        return _read(await self.send("GET", path, params=params, within_seconds=within_seconds))

    async def send(
        self,
        method: str,
        path: str,
        *,
        within_seconds: float,
        params: Mapping[str, Any] | None = None,
        body: Json = None,
    ) -> bytes:
        """The body of a successful answer. A write of which nobody knows whether it was taken is
        Ambiguous: look before you send it again.
        """
        import httpx  # noqa: PLC0415 -- as above

        doubt = Unreachable if method == "GET" else Ambiguous
        try:
            async with asyncio.timeout(within_seconds):
                response, answer = await self._exchange(method, path, params, body, within_seconds)
        except httpx.ConnectError as error:
            raise Unreachable(f"the Management API: {type(error).__name__}") from None
        except (TimeoutError, httpx.TimeoutException):
            raise doubt("the Management API did not answer in time") from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            # Only the error's class: a library's text may quote a header.
            raise doubt(f"the Management API: {type(error).__name__}") from None
        if not response.is_success:
            raise refusal(response.status_code, response.headers, answer, writes=method != "GET")
        return answer

    async def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Json,
        within_seconds: float,
    ) -> tuple[httpx.Response, bytes]:
        request = self._http.build_request(
            method,
            path,
            params=params,
            json=body,
            headers={"Authorization": f"Bearer {self._token.get_secret_value()}"},
            timeout=within_seconds,
        )
        response = await self._http.send(request, stream=True)
        try:
            answer = bytearray()
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MOST_BYTES:
                    raise TemporaryError("the Management API: an answer over the limit")
        finally:
            await response.aclose()
        return response, bytes(answer)


def project_path(project: str) -> str:
    return f"/v1/projects/{quote(project, safe='')}"


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, writes: bool = False
) -> RollbackdError:
    """What a refusal means. A page of HTML says no more than its status."""
    message = f"the Management API: status {status}"
    match status:
        case 401:
            hint = "the token is wrong or expired: Supabase, account, access tokens"
            return Unauthorized(message, hint=hint)
        case 403:
            missing = ", ".join(_missing(body))
            hint = f"the token needs {missing}" if missing else _FORBIDDEN
            return Unauthorized(message, hint=hint)
        case 404:
            return NotFound(message, hint="is the project's ref right?")
        case 429:
            seconds = _seconds(headers.get("x-ratelimit-reset"))
            return RateLimited(message, retry_after_seconds=seconds)
        case _ if status >= 500:  # noqa: PLR2004 - HTTP's server errors
            return Ambiguous(message) if writes else TemporaryError(message)
        case _:
            return Rejected(message)


def _missing(body: bytes) -> list[str]:
    """Of a 403 with a scoped token: the permissions it lacks."""
    try:
        parsed: Json = json.loads(body)
    except ValueError:
        return []
    named = parsed.get("missing_permissions") if isinstance(parsed, dict) else None
    return [str(each) for each in named] if isinstance(named, list) else []


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
