"""Injected faults: which request goes wrong, how, and whether before or after it took effect."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollbackd.sandbox.world import World, request_id

DRIP_SECONDS = 1.0


class Kind(StrEnum):
    STATUS = "status"
    RESET = "reset"
    HANG = "hang"
    DRIP = "drip"
    SLOW = "slow"
    TRUNCATED = "truncated"
    TEXT = "text"
    HTML = "html"


@dataclass(slots=True, kw_only=True)
class Fault:
    """`path` is a regular expression searched in the path; `count` how often it still strikes."""

    kind: Kind
    method: str = "*"
    path: str = ""
    count: int = 1
    skip: int = 0
    when: str = "before"
    status: int = 500
    text: str = "internal server error"
    code: str = ""
    seconds: float = 1.0
    struck: int = 0

    def fits(self, method: str, path: str) -> bool:
        if self.count <= 0 or self.method not in {"*", method}:
            return False
        if not re.search(self.path, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        return True

    def wire(self) -> dict[str, Any]:
        return asdict(self)


class Faults:
    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, kind: str, **options: Any) -> Fault:
        fault = Fault(kind=Kind(kind), **options)
        re.compile(fault.path)
        if fault.when not in {"before", "after"}:
            raise ValueError(f"when is before or after, not {fault.when!r}")
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        self.faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.fits(method, path):
                fault.count -= 1
                fault.struck += 1
                return fault
        return None


class FaultLayer:
    """Outermost on the main server; `/_sandbox` itself is never struck."""

    def __init__(self, inner: ASGIApp, faults: Faults, world: World) -> None:
        self.inner = inner
        self.faults = faults
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        request_id.set(self.world.ids.request(self.world.now()))
        path = scope["path"]
        own = path.startswith("/_sandbox")
        fault = None if own else self.faults.strike(scope["method"], path)
        if fault is None:
            await self.inner(scope, receive, send)
            return
        answer = _Kept()
        if fault.when == "after" or fault.kind in {Kind.DRIP, Kind.SLOW, Kind.TRUNCATED}:
            await self.inner(scope, receive, answer.send)
        await self._answer(fault, answer, send)

    async def _answer(self, fault: Fault, answer: _Kept, send: Send) -> None:
        match fault.kind:
            case Kind.RESET:
                _reset(send)
            case Kind.HANG:
                await self.world.closing.wait()
            case Kind.SLOW:
                await asyncio.sleep(fault.seconds)
                await answer.replay(send)
            case Kind.DRIP:
                await _drip(answer, send)
            case Kind.TRUNCATED:
                await _send(send, answer.status, answer.body[: len(answer.body) // 2])
            case Kind.TEXT:
                await _send(send, fault.status, fault.text.encode(), kind="text/plain")
            case Kind.HTML:
                page = f"<html><body><h1>{fault.status}</h1></body></html>".encode()
                await _send(send, fault.status, page, kind="text/html")
            case Kind.STATUS:
                body = {"error": fault.text} | ({"status": fault.code} if fault.code else {})
                await _send(send, fault.status, json.dumps(body).encode())


class _Kept:
    """An answer that was made but not sent."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    @property
    def status(self) -> int:
        return int(self.start.get("status", 200))

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    async def replay(self, send: Send) -> None:
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})


async def _send(send: Send, status: int, body: bytes, *, kind: str = "application/json") -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"fly-request-id", request_id.get().encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _drip(answer: _Kept, send: Send) -> None:
    await send(answer.start)
    for at in range(len(answer.body)):
        part = {"type": "http.response.body", "body": answer.body[at : at + 1], "more_body": True}
        await send(part)
        await asyncio.sleep(DRIP_SECONDS)
    await send({"type": "http.response.body", "body": b""})


def _reset(send: Send) -> None:
    """Cut the connection with RST. ASGI has no word for it, so reach through uvicorn's cycle."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's bound method
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
