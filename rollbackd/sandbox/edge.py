"""The proxy as an ASGI application: on an app's own port, and by host name on the main one."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from rollbackd.sandbox.objects import FlyApp
from rollbackd.sandbox.proxy import Proxy
from rollbackd.sandbox.upstream import HOP_BY_HOP, Message
from rollbackd.sandbox.world import World


class Edge:
    """Serves one app to its users."""

    def __init__(self, proxy: Proxy, app: FlyApp) -> None:
        self.proxy = proxy
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        query = scope["query_string"].decode("latin-1")
        request = Message(
            method=scope["method"],
            target=scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
            headers={k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]},
            body=await _whole_body(receive),
        )
        answer = await self.proxy.handle(self.app, request)
        kept = {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in kept.items()]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _whole_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


class ByHost:
    """`<app>.fly.dev` on the main port goes to the app, everything else to the platform."""

    def __init__(self, inner: ASGIApp, world: World, proxy: Proxy) -> None:
        self.inner = inner
        self.world = world
        self.proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers") or []).get(b"host", b"").decode("latin-1")
        name, _, domain = host.partition(":")[0].partition(".")
        if scope["type"] == "http" and domain == "fly.dev" and name in self.world.apps:
            await Edge(self.proxy, self.world.apps[name])(scope, receive, send)
            return
        await self.inner(scope, receive, send)
