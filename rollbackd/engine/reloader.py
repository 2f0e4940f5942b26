"""Reloads the configuration: all or nothing, the last good one kept. Never exits on a bad file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from rollbackd.config.load import Loaded, content_hash, load_directory
from rollbackd.config.settings import Settings
from rollbackd.core.errors import ConfigError, TemporaryError
from rollbackd.core.ports import Clock
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()

EVERY_SECONDS = 10.0  # by content: mtime and inotify miss bind mounts and swapped symlinks


@dataclass(kw_only=True)
class Reloader:
    """Polls the content hash, loads, and hands a good configuration on."""

    clock: Clock
    metrics: Metrics
    settings: Settings
    adopt: Callable[[Loaded], Awaitable[None]]
    hash: str
    error: str = ""
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.clock.sleep(EVERY_SECONDS)
            if await asyncio.to_thread(content_hash, self.settings.config) != self.hash:
                await self.reload("watch")

    async def reload(self, cause: str) -> str:
        """Load now. Returns success, unchanged or failed; a failure is kept in `error`."""
        async with self._one_at_a_time:
            return await self._reload(cause)

    async def _reload(self, cause: str) -> str:
        seen = await asyncio.to_thread(content_hash, self.settings.config)
        try:
            loaded = await asyncio.to_thread(
                load_directory, self.settings.config, settings=self.settings
            )
            changed = seen != self.hash or bool(self.error)
            if changed:
                await self.adopt(loaded)
        except (ConfigError, TemporaryError) as error:
            if isinstance(error, ConfigError):
                self.hash = seen  # do not complain again about the same content
            self.error = error.message
            log.error(events.CONFIG_REFUSED, cause=cause, error=error.message, hint=error.hint)
            self.metrics.reloaded("failed", cause)
            return "failed"
        if changed:
            log.info(events.CONFIG_RELOADED, cause=cause, hash=loaded.policy.hash)
        self.hash, self.error = seen, ""
        result = "success" if changed else "unchanged"
        self.metrics.reloaded(result, cause, self.clock.now())
        return result
