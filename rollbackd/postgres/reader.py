"""One kept session that only reads, each time within a deadline. It judges nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import psycopg
from pydantic import SecretStr

from rollbackd.postgres.connection import Connection, connect, is_outage

T = TypeVar("T")
Row = tuple[Any, ...]
Work = Callable[[Connection], Awaitable[T]]

# The server gives up before we do: a query that ends by itself leaves the session in order.
_SERVERS_SHARE: Final = 0.8


class Reader:
    """Asks one database. The session is kept between the times and made anew when it is lost."""

    def __init__(self, url: SecretStr, *, name: str) -> None:
        """`name`: what others see in pg_stat_activity, after rollbackd/."""
        self._url = url
        self._name = name
        self._kept: Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, work: Work[T], *, within_seconds: float) -> T:
        """What `work` finds in a read-only transaction that is never committed.

        Raises TimeoutError at the deadline, what `connect` raises, or what psycopg does.
        """
        async with self._one_at_a_time:
            until = asyncio.get_running_loop().time() + within_seconds
            if self._kept is not None:
                try:
                    return await self._within(self._kept, work, until)
                except psycopg.Error as error:
                    if self._kept is not None or not is_outage(error):
                        raise
            # None was kept, or the server closed it since: that is not yet an outage.
            self._kept = await self._connect(_left(until))
            return await self._within(self._kept, work, until)

    async def close(self) -> None:
        """End the session. May be called at any time, and again."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def _connect(self, seconds: float) -> Connection:
        try:
            return await connect(self._url, name=self._name, connect_timeout_seconds=seconds)
        except asyncio.CancelledError as error:
            # Its half-open socket stays open for as long as somebody keeps the error.
            traceback.clear_frames(error.__traceback__)
            raise

    async def _within(self, connection: Connection, work: Work[T], until: float) -> T:
        loop = asyncio.get_running_loop()
        cut = loop.call_later(_left(until), _cut, connection)
        whole = False
        try:
            await connection.execute(_begin(_left(until)))
            found = await work(connection)
            await connection.execute("ROLLBACK")
            whole = True
        except psycopg.Error as error:
            if loop.time() >= until:
                raise TimeoutError from error
            # A refused query leaves a session that is well.
            whole = not is_outage(error) and await _rolled_back(connection)
            raise
        finally:
            cut.cancel()
            if not whole or connection.closed:
                await self.close()
        return found


async def select(connection: Connection, sql: str) -> list[Row]:
    """The rows of one statement: the server refuses more than one."""
    # A binary answer makes it the extended protocol, which takes one statement only.
    cursor = await connection.execute(sql, binary=True)
    return await cursor.fetchall()


def _begin(seconds: float) -> str:
    limit = max(1, int(seconds * _SERVERS_SHARE * 1000))
    return (
        f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}"
    )


def _left(until: float) -> float:
    left = until - asyncio.get_running_loop().time()
    if left <= 0:
        raise TimeoutError
    return left


def _cut(connection: Connection) -> None:
    """Wakes whoever waits for this session: cancelling would ask the silent server first."""
    wire = socket.socket(fileno=connection.pgconn.socket)
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
    wire.detach()  # it is libpq's to close


async def _rolled_back(connection: Connection) -> bool:
    try:
        await connection.execute("ROLLBACK")
    except psycopg.Error:
        return False
    return True
