"""What the web asks of the daemon. The engine's desk fits `Desk`; the daemon fits `Vitals`."""

from __future__ import annotations

from typing import Protocol

from rollbackd.core.model import JsonObject, Restore


class Desk(Protocol):
    """What people may ask and order. Raises `core.errors` only; unknown names are UsageError."""

    def status(self) -> JsonObject: ...

    def target(self, name: str) -> JsonObject: ...

    def releases(self, name: str) -> JsonObject: ...

    def explain(self, name: str) -> JsonObject: ...

    async def database(self, name: str) -> JsonObject: ...

    def gate(self, name: str, sha: str) -> JsonObject:
        """Whether the commit may go out: `ok`, and `why`."""
        ...

    async def rollbacks(self, target: str | None, limit: int) -> JsonObject: ...

    async def rollback(self, rollback: str, /) -> JsonObject: ...

    async def order_rollback(
        self,
        target: str,
        *,
        to: int | None,
        plan: str | None,
        reason: str,
        kind: str,
        dry_run: bool,
        by: str,
        plan_hash: str = "",
        to_migration: str = "",
        restore: Restore | None = None,
    ) -> JsonObject:
        """The plan for a dry run, else the plan with the `rollback` id of the one that began."""
        ...

    async def pause(self, target: str, *, seconds: float, reason: str, by: str) -> JsonObject: ...

    async def resume(self, target: str, *, reason: str, by: str) -> JsonObject: ...

    async def set_mode(
        self, target: str, *, mode: str, seconds: float | None, reason: str, by: str
    ) -> JsonObject: ...

    async def approve(self, what: str, /, *, seen: str, reason: str, by: str) -> JsonObject:
        """`result` is began, with `rollback`, or held, with `reason` and `why`."""
        ...

    async def reject(self, what: str, /, *, reason: str, by: str) -> JsonObject: ...

    async def abort(self, rollback: str, /, *, reason: str, by: str) -> JsonObject: ...

    async def undo(self, rollback: str, /, *, reason: str, by: str) -> JsonObject: ...

    async def unlock(self, target: str, *, reason: str, by: str) -> JsonObject: ...

    async def announce(self, target: str, *, sha: str, actor: str, url: str, by: str) -> JsonObject:
        """A deploy is coming; answers as `gate` does."""
        ...

    async def bless(self, target: str, *, version: int, reason: str, by: str) -> JsonObject: ...

    async def quarantine(
        self, target: str, *, version: int, reason: str, by: str
    ) -> JsonObject: ...

    async def unquarantine(
        self, target: str, *, version: int, reason: str, by: str
    ) -> JsonObject: ...

    async def reload(self, cause: str) -> JsonObject:
        """`result` is success, unchanged or failed; `error` says why it failed."""
        ...


class Saying(Protocol):
    """One of the orders that say something of a release."""

    async def __call__(self, target: str, *, version: int, reason: str, by: str) -> JsonObject: ...


class About(Protocol):
    """One of the orders about one proposal or rollback."""

    async def __call__(self, what: str, /, *, reason: str, by: str) -> JsonObject: ...


class Vitals(Protocol):
    """Whether the daemon lives. Never asks Fly, the target or the disk: a restart heals none."""

    def turning(self) -> tuple[bool, str]:
        """Whether the evaluation loop turned within max(3 x tick, 30 s), and a line about it."""
        ...

    def ready(self) -> tuple[bool, JsonObject]:
        """Whether configuration, store and the first round of probes are there."""
        ...
