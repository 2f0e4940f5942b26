"""Looks whether our own connectivity works: any HTTP answer from any control address is enough."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from rollbackd.core.ports import Clock
from rollbackd.probes.http_exchange import Answer, Ask, HttpExchange
from rollbackd.probes.resolver import Resolver


class HttpControl:
    """Concurrent callers share a look, but only one that began after they called.

    A look that is under way when a failed sample comes in may have been answered before the
    network broke; it cannot vouch for what came later.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        ssl_context: ssl.SSLContext,
        clock: Clock,
        user_agent: str,
        timeout_seconds: float = 2.0,
        resolver: Resolver | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._timeout_seconds = timeout_seconds
        self._exchange = HttpExchange(
            ssl_context=ssl_context, clock=clock, user_agent=user_agent, resolver=resolver
        )
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[bool] | None = None
        self._looks: set[asyncio.Task[bool]] = set()

    async def look(self) -> bool:
        """True when any control address answered anything. False where there is none to ask."""
        if self._next is None:
            self._next = asyncio.create_task(self._shared())
            self._looks.add(self._next)
            self._next.add_done_callback(self._looks.discard)
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        await self._exchange.close()

    async def _shared(self) -> bool:
        async with self._turn:  # until then callers still join: the look has not begun
            self._next = None
            return await self._any_answers()

    async def _any_answers(self) -> bool:
        looks = {asyncio.ensure_future(self._answers(url)) for url in self._urls}
        try:
            for first in asyncio.as_completed(looks):
                if await first:
                    return True
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        return False

    async def _answers(self, url: str) -> bool:
        seen = await self._exchange.look(
            Ask(url=url, seconds=self._timeout_seconds, headers_only=True)
        )
        return isinstance(seen, Answer)
