"""Sends one call to Fly: turn, permit, time-outs, size, errors. Knows no endpoint.

A read is tried again a few times; a mutation never, except after 429, where Fly says it was not
carried out. Reaches Fly and the sandbox alike: nothing but the base URL differs.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Protocol
from urllib.parse import quote

import httpx

from rollbackd.core.errors import (
    Ambiguous,
    LeaseHeld,
    RateLimited,
    RollbackdError,
    TemporaryError,
    Unreachable,
)
from rollbackd.core.model import Json
from rollbackd.core.ports import Clock
from rollbackd.fly.auth import Token
from rollbackd.fly.errors import Refusal, bad_body, error_of
from rollbackd.fly.ratelimit import ACTION, Buckets, Rate

_MOST_BYTES = 16 * 1024 * 1024  # a full list of 500 machines with configs is about 4 MB
_READ_TRIES = 3
_LIMITED_TRIES = 5
_BACKOFF_SECONDS = 0.25
_LIMITED_SECONDS = 1.0  # Fly's limits refill once a second
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_CONNECT_SECONDS = 5.0
_ABOUT_TO_SEND = "http11.send_request_headers.started"
_ABOUT_TO_SEND_BODY = "http11.send_request_body.started"
_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=30)


class Api(enum.StrEnum):
    MACHINES = "machines"
    GRAPHQL = "graphql"
    RELEASES = "releases"
    LOGS = "logs"


class Meter(Protocol):
    """Counts calls. `endpoint` is a template and `code` a status or an error class: closed sets."""

    def called(
        self, *, api: str, endpoint: str, method: str, code: str, seconds: float
    ) -> None: ...

    def sent_again(self, *, api: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `endpoint` is its path template, `fills` what stands for the braces.

    `turn` is the (action, object) whose rate limit it counts against.
    """

    api: Api
    method: str
    endpoint: str
    turn: tuple[str, str]
    fills: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Json = None
    nonce: str | None = None
    mutates: bool = False
    with_write_token: bool = False  # a read that must be made with the acting token
    rate: Rate = ACTION
    timeout_seconds: float = 10

    @property
    def what(self) -> str:
        """For people, with the names filled in."""
        return f"{self.method} {self.path}"

    @property
    def path(self) -> str:
        return self.endpoint.format(**{k: quote(v, safe="") for k, v in self.fills.items()})


class Wire:
    """One origin's client plus what every call to it passes through."""

    def __init__(
        self,
        *,
        clients: Mapping[Api, httpx.AsyncClient],
        token: Token,
        read_token: Token,
        clock: Clock,
        permit: Callable[[str], None],
        meter: Meter | None,
        rng: random.Random,
    ) -> None:
        self.permit = permit
        self._clients = clients
        self._token = token
        self._read_token = read_token
        self._clock = clock
        self._meter = meter
        self._rng = rng
        self.buckets = Buckets(clock)

    async def send(self, call: Call) -> Json:
        """The answer's JSON, None for an empty one. Raises `core.errors` only."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self.send_once(call)
            except RateLimited as error:
                if tries >= _LIMITED_TRIES:
                    raise
                pause = self._pause(_LIMITED_SECONDS, tries, error.retry_after_seconds)
            except (LeaseHeld, Ambiguous):
                raise
            except TemporaryError as error:
                if call.mutates or tries >= _READ_TRIES:
                    raise
                pause = self._pause(_BACKOFF_SECONDS, tries, error.retry_after_seconds)
            if self._meter is not None:
                self._meter.sent_again(api=call.api)
            await self._clock.sleep(pause)

    def _pause(self, first: float, tries: int, wished: float | None) -> float:
        longest: float = first * 2 ** (tries - 1)
        return max(min(wished or 0.0, 30.0), longest * self._rng.uniform(0.5, 1.0))

    async def send_once(self, call: Call) -> Json:
        """As `send`, but whatever goes wrong is raised at once."""
        await self.buckets.take(*call.turn, call.rate)
        if call.mutates:
            self.permit(call.what)  # after the wait for a turn: a stop counts at once
        begun = self._clock.monotonic()
        code = "error"
        try:
            async with asyncio.timeout(call.timeout_seconds):  # httpx has no limit on the whole
                status, body, headers = await self._exchange(call)
            code = str(status)
        except (httpx.RequestError, TimeoutError) as error:
            code = type(error).__name__
            raise self._no_answer(call, error) from error
        except httpx.InvalidURL as error:
            raise Unreachable(f"{call.what}: {error}") from error
        except RollbackdError as error:
            code = type(error).__name__
            raise
        finally:
            self._count(call, code, self._clock.monotonic() - begun)
        return self._read(call, status, body, headers)

    async def _exchange(self, call: Call) -> tuple[int, bytes, httpx.Headers]:
        client = self._clients[call.api]
        request = client.build_request(
            call.method,
            call.path,
            params=dict(call.query) or None,
            json=call.body,
            headers=self._headers(call),
            timeout=httpx.Timeout(call.timeout_seconds, connect=_CONNECT_SECONDS),
            extensions={"trace": partial(self._last_look, call)} if call.mutates else None,
        )
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    why = f"an answer over {_MOST_BYTES} bytes"
                    raise bad_body(
                        call.what, why, _request_id(response.headers), mutates=call.mutates
                    )
            return response.status_code, bytes(body), response.headers
        finally:
            await response.aclose()

    async def _last_look(self, call: Call, event: str, _info: object) -> None:
        """Permitted still? Connecting takes a while, and who was frozen any time.
        A request with a body is none before its body is there.
        """
        whole = _ABOUT_TO_SEND if call.body is None else _ABOUT_TO_SEND_BODY
        if event in {_ABOUT_TO_SEND, whole}:
            self.permit(call.what)

    def _headers(self, call: Call) -> dict[str, str]:
        token = self._token if call.mutates or call.with_write_token else self._read_token
        headers = {"Authorization": _authorization(call.api, token)}
        if call.nonce:
            headers["fly-machine-lease-nonce"] = call.nonce
        return headers

    def _no_answer(self, call: Call, error: Exception) -> RollbackdError:
        message = self._scrub(f"{call.what}: {type(error).__name__} {error}".rstrip())
        if isinstance(error, _NOT_SENT):
            return Unreachable(message, hint="is the network up, is the address right?")
        if call.mutates:
            return Ambiguous(message, hint="read the object back before sending it again")
        return TemporaryError(message)

    def _read(self, call: Call, status: int, body: bytes, headers: httpx.Headers) -> Json:
        request_id = _request_id(headers)
        if not httpx.codes.is_success(status):
            raise error_of(
                Refusal(
                    what=call.what,
                    status=status,
                    body=self._scrub(body.decode("utf-8", "replace")).encode(),
                    request_id=request_id,
                    mutates=call.mutates,
                    retry_after=headers.get("retry-after"),
                )
            )
        if not body.strip():
            return None
        try:
            parsed: Json = json.loads(body)
        except ValueError as error:
            why = "the answer is not JSON"
            raise bad_body(call.what, why, request_id, mutates=call.mutates) from error
        return parsed

    def _scrub(self, text: str) -> str:
        return self._read_token.scrub(self._token.scrub(text))

    def _count(self, call: Call, code: str, seconds: float) -> None:
        if self._meter is not None:
            self._meter.called(
                api=call.api, endpoint=call.endpoint, method=call.method, code=code, seconds=seconds
            )


def client_for(
    base_url: str, user_agent: str, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    """The one client of an origin. No proxy from the environment, no redirects, no cookies."""
    return httpx.AsyncClient(
        base_url=base_url.rstrip("/"),
        headers={"User-Agent": user_agent},
        trust_env=False,
        timeout=_CONNECT_SECONDS,
        limits=_LIMITS,
        transport=transport,
        verify=_trust() if transport is None else True,
    )


@cache
def _trust() -> ssl.SSLContext:
    """Reading the certificates takes a tenth of a start: once for all clients."""
    return httpx.create_ssl_context(trust_env=False)


def _request_id(headers: httpx.Headers) -> str:
    return str(headers.get("fly-request-id", ""))[:64]


def _authorization(api: Api, token: Token) -> str:
    match api:
        case Api.MACHINES | Api.LOGS:
            return token.for_machines
        case Api.GRAPHQL:
            return token.for_graphql
        case Api.RELEASES:
            return token.for_releases
