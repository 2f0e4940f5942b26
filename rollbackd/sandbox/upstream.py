"""Speaks HTTP/1.1 to one machine, once. No retry and no routing here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
BODY_LIMIT = 8 << 20


class Refused(Exception):
    """No connection: the request cannot have been seen, so another machine may get it."""


class Broken(Exception):
    """The connection was lost before a whole answer came."""


@dataclass(slots=True, kw_only=True)
class Message:
    """A request or an answer, as far as a proxy cares."""

    method: str = "GET"
    target: str = "/"
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(port: int, request: Message) -> Message:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        raise Refused(str(error)) from error
    try:
        writer.write(_serialized(request))
        return await _read_answer(reader)
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        raise Broken(str(error)) from error
    finally:
        writer.close()


def _serialized(request: Message) -> bytes:
    headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
    lines = [f"{request.method} {request.target} HTTP/1.1", "Host: app"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + request.body


async def _read_answer(reader: asyncio.StreamReader) -> Message:
    parts = (await reader.readline()).split(b" ", 2)
    if len(parts) == 1:
        raise ValueError("no status line")
    status = int(parts[1])
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    length = min(int(headers.get("content-length", 0)), BODY_LIMIT)
    return Message(status=status, headers=headers, body=await reader.readexactly(length))
