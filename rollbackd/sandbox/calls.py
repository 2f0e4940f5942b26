"""One authenticated API call: token, scope, limit, body, answer and its request id."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollbackd.sandbox.errors import FlyError
from rollbackd.sandbox.ids import owner_of
from rollbackd.sandbox.objects import FlyApp, Machine, Token
from rollbackd.sandbox.platform import Platform
from rollbackd.sandbox.tokens import Backend, authenticate, authorize
from rollbackd.sandbox.world import World, request_id

NO_CONTENT = 204
NONCE = "fly-machine-lease-nonce"


@dataclass(slots=True, kw_only=True)
class Call:
    """What a route function gets; it answers with a JSON value or a whole Response."""

    request: Request
    platform: Platform
    token: Token
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.platform.world

    @property
    def app(self) -> FlyApp:
        return self.world.app(self.request.path_params["app"])

    @property
    def machine(self) -> Machine:
        params = self.request.path_params
        return self.world.machine(params["app"], params["machine"])

    @property
    def nonce(self) -> str:
        return self.request.headers.get(NONCE, "")

    @property
    def owner(self) -> str:
        return owner_of(self.token.secret)

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def flag(self, name: str) -> bool:
        return (self.query(name) or "").lower() in {"1", "true"}

    def number(self, name: str, *, default: int, most: int) -> int:
        text = self.query(name)
        if text is None or text == "":
            return default
        if not text.isdigit():
            raise FlyError(400, f"invalid_argument: {name} is not a number")
        return min(int(text), most)


Answer = Any
Function = Callable[[Call], Awaitable[Answer]]


def route(
    method: str,
    path: str,
    function: Function,
    *,
    backend: Backend = Backend.MACHINES,
    write: bool = False,
    status: int = 200,
    action: str = "",
    limited: bool = True,
) -> Route:
    """A Starlette route with everything around it that all calls have in common."""

    async def endpoint(request: Request) -> Response:
        platform: Platform = request.app.state.platform
        headers = _answer_headers()
        try:
            token = authenticate(platform.world, request.headers.get("authorization"), backend)
            params = request.path_params
            if "app" in params:
                authorize(token, app=params["app"], write=write)
            elif write:
                authorize(token, app=token.app, write=True)
            if limited:
                identifier = params.get("machine") or params.get("app") or "all"
                platform.limits.take(action or f"{method} {function.__name__}", identifier)
            call = Call(
                request=request, platform=platform, token=token, body=await read_body(request)
            )
            answer = await function(call)
        except FlyError as refusal:
            return JSONResponse(refusal.body(), status_code=refusal.status, headers=headers)
        headers |= call.headers
        if isinstance(answer, Response):
            answer.headers.update(headers)
            return answer
        if status == NO_CONTENT:
            return Response(status_code=204, headers=headers)
        return JSONResponse(answer, status_code=status, headers=headers)

    return Route(path, endpoint, methods=[method])


def _answer_headers() -> dict[str, str]:
    return {"fly-request-id": request_id.get(), "fly-trace-id": request_id.get().lower()}


async def read_body(request: Request) -> dict[str, Any]:
    """No body is an empty object: start, restart and cordon are sent without one."""
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise FlyError(400, "invalid request body: not JSON") from error
    if not isinstance(body, dict):
        raise FlyError(400, "invalid request body: not an object")
    return body
