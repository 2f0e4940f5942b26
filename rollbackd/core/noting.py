"""What an executor may offer besides `core.ports.Executor`: a word on disk within a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from rollbackd.core.model import JsonObject
from rollbackd.core.runbook import Plan, Step

Note: TypeAlias = Callable[[JsonObject], Awaitable[None]]


@runtime_checkable
class NotesMidway(Protocol):
    """A step of which something must be on disk before its effect is final (a transaction's id
    before COMMIT). What was noted comes back among the `results` of `observe`.
    """

    async def apply_noting(
        self, plan: Plan, step: Step, results: Mapping[int, JsonObject], note: Note
    ) -> JsonObject:
        """As `apply`. `note` is on disk when it returns; it raises Fenced where the rollback is
        not ours any more, and then nothing may become final.
        """
        ...
