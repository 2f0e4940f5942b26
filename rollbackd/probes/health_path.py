"""Finds the path to look at for `path: auto`: the platform's own checks, the usual ones, else `/`.

A found path is kept: a release that breaks it must show as broken, not be looked at elsewhere.
Only a path that refuses us (it moved, or went behind a login) is searched for anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from rollbackd.core.errors import RollbackdError
from rollbackd.core.ports import Clock, KnowsHealthPaths, Missed, Platform
from rollbackd.probes.blame import Failed
from rollbackd.probes.expect import REFUSALS, Expect
from rollbackd.probes.http_exchange import Answer

USUAL = ("/healthz", "/health", "/up", "/livez", "/api/health", "/status")
SHALLOW = "/"
SEARCH_EVERY_SECONDS = 60.0  # a search costs seven requests at once
WAITED_AT_MOST_SECONDS = 0.8

Seen: TypeAlias = Answer | Failed | Missed
Look: TypeAlias = Callable[[str], Awaitable[Seen]]


class HealthPath:
    """Looks at the right path. `shallow` says that nothing better than `/` was found yet."""

    def __init__(self, platform: Platform | None, clock: Clock, expect: Expect) -> None:
        self._platform = platform
        self._clock = clock
        self._expect = expect
        self._found: str | None = None
        self._known: tuple[str, ...] = ()
        self._refused = False
        self._searched_at: float | None = None

    @property
    def path(self) -> str:
        return self._found or SHALLOW

    @property
    def shallow(self) -> bool:
        return self._found is None

    async def ask_platform(self) -> None:
        """Where a search is due, ask the platform first; it takes none of the look's deadline."""
        if not self._search_is_due() or not isinstance(self._platform, KnowsHealthPaths):
            return
        try:
            async with asyncio.timeout(WAITED_AT_MOST_SECONDS):
                self._known = await self._platform.health_paths()
        except (RollbackdError, TimeoutError):
            return

    async def look(self, look: Look) -> Seen:
        """One look at the path in use, or a search, whose winner's answer is the look's."""
        seen = await (self._search(look) if self._search_is_due() else look(self.path))
        self._refused = isinstance(seen, Answer) and seen.status in REFUSALS
        return seen

    def _search_is_due(self) -> bool:
        if self._searched_at is None:
            return True
        wanted = self._refused or self.shallow
        return wanted and self._clock.monotonic() - self._searched_at >= SEARCH_EVERY_SECONDS

    async def _search(self, look: Look) -> Seen:
        self._searched_at = self._clock.monotonic()
        if self._known:
            self._found = self._known[0]
            return await look(self._known[0])
        paths = (*USUAL, self.path)  # at once, so that a hanging app costs one deadline, not seven
        for path, seen in zip(paths, await asyncio.gather(*map(look, paths)), strict=True):
            if isinstance(seen, Answer) and self._expect.wants(seen.status):
                self._found = path if path != SHALLOW else self._found
                return seen
        return seen  # of the path in use, which stands last
