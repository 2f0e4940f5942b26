"""Reads a response's body within a limit, packed or not. A bomb costs the limit and no more."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import httpcore

_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class BodyTooLarge(httpcore.ProtocolError):
    """The body is over the limit; nothing more of it was read."""


async def read_body(response: httpcore.Response, headers: Mapping[str, str], limit: int) -> bytes:
    """The decoded body. Raises BodyTooLarge, or httpcore's and the socket's own errors."""
    unpack = _unpacker(headers.get("content-encoding", ""))
    kept = bytearray()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            kept += unpack.feed(chunk, limit + 1 - len(kept))
            if len(kept) > limit:
                raise BodyTooLarge
    if unpack.cut_short:
        raise httpcore.RemoteProtocolError("peer closed connection within packed body")
    return bytes(kept)


async def _chunks(response: httpcore.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.stream:  # type: ignore[union-attr]  # always async here
        yield chunk


class _Plain:
    cut_short = False

    def feed(self, chunk: bytes, room: int) -> bytes:
        del room
        return chunk


class _Packed:
    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)
        self._began = False  # an answer to HEAD names an encoding and has no body

    @property
    def cut_short(self) -> bool:
        return self._began and not self._zlib.eof

    def feed(self, chunk: bytes, room: int) -> bytes:
        self._began = True
        try:
            return self._zlib.decompress(chunk, room)  # unpacks `room` bytes at most
        except zlib.error as error:
            raise httpcore.RemoteProtocolError("packed body is broken") from error


def _unpacker(encoding: str) -> _Plain | _Packed:
    # We ask for `identity`; what we cannot unpack stays as it is and fits no expectation.
    wbits = _WBITS.get(encoding.strip().lower())
    return _Packed(wbits) if wbits else _Plain()
