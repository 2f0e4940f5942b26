"""What every answer gets, whoever gives it: safe headers, and a count by route template."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Count: TypeAlias = Callable[[str, str, str], None]  # (route template, method, status code)

ROUTE = "rollbackd.route"  # where an endpoint leaves its template in the scope
_METHODS = frozenset({"GET", "HEAD", "POST"})
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
STRICT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Frame:
    """Plain ASGI: a middleware class with a task per request would cost more than the request."""

    def __init__(self, app: ASGIApp, *, count: Count, policy: str = STRICT) -> None:
        self._app = app
        self._count = count
        self._policy = policy.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._add(message.get("headers", []))}
                self._tell(scope, message["status"])
            await send(message)

        await self._app(scope, receive, framed)

    def _add(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in headers}
        ours = (*_HEADERS, (b"content-security-policy", self._policy))
        return [*headers, *((n, v) for n, v in ours if n not in given)]

    def _tell(self, scope: Scope, status: int) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._count(scope.get(ROUTE, "other"), method, str(status))
