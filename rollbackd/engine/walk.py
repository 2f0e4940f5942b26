"""One rollback under way: its journal as it stands on disk, and the way to write it on.

What it says of a step is true on disk first; nothing is done here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypeVar

from rollbackd.core.errors import TemporaryError
from rollbackd.core.model import JsonObject
from rollbackd.core.ports import Clock, Executor, Store
from rollbackd.core.runbook import (
    Journal,
    Plan,
    Progress,
    RollbackState,
    Step,
    StepRow,
    StepState,
    progress,
)
from rollbackd.engine.ending import Ending
from rollbackd.engine.pauses import Pauses
from rollbackd.telemetry import events

T = TypeVar("T")
Tell: TypeAlias = Callable[[str, dict[str, Any]], None]

_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass(kw_only=True)
class Walk:
    journal: Journal
    executor: Executor
    store: Store
    clock: Clock
    pauses: Pauses
    tell_all: Tell
    resumed: bool
    switched: bool = False  # told in this process
    late: bool = False
    looked_at: float = 0.0  # when the world was last compared with what the plan knows
    longest_gap: float = 0.0  # since then: the most seconds in which this rollback did nothing
    _rows: dict[int, StepRow] = field(init=False)

    def __post_init__(self) -> None:
        self._rows = {row.step.seq: row for row in self.journal.rows}

    @property
    def plan(self) -> Plan:
        return self.journal.plan

    @property
    def rows(self) -> tuple[StepRow, ...]:
        return tuple(self._rows.values())

    @property
    def results(self) -> Mapping[int, JsonObject]:
        return {
            seq: dict(row.result)
            for seq, row in self._rows.items()
            if row.state in {StepState.DONE, StepState.SKIPPED}
        }

    def results_for(self, step: Step) -> Mapping[int, JsonObject]:
        """Those, and what this very step noted before it came to an end."""
        noted = dict(self._rows[step.seq].result)
        return {**self.results, step.seq: noted} if noted else self.results

    @property
    def moved_at(self) -> float:
        """When this rollback last did anything."""
        times = [self.journal.created_at]
        for row in self.rows:
            times += [at for at in (row.started_at, row.finished_at) if at is not None]
        return max(times)

    @property
    def gap_seconds(self) -> float:
        """For how long it did nothing, at its worst since the world was last looked at. A process
        that was suspended does not know: its first line after it tells.
        """
        idle = self.clock.now() - max(self.moved_at, self.looked_at)
        return max(self.longest_gap, idle)

    def looked(self) -> None:
        self.looked_at, self.longest_gap = self.clock.now(), 0.0

    def row(self, step: Step) -> StepRow:
        return self._rows[step.seq]

    def progress(self) -> Progress:
        return progress(self.rows)

    def tell(self, event: str, **words: object) -> None:
        self.tell_all(event, {"rollback": self.plan.rollback, "target": self.plan.target, **words})

    async def note(
        self,
        step: Step,
        state: StepState,
        *,
        result: Mapping[str, Any] | None = None,
        error: str = "",
    ) -> None:
        """Write a step's transition; on disk when this returns."""
        body = None if result is None else dict(result)
        await self._persist(
            lambda: self.store.note(
                self.plan.rollback,
                step.seq,
                state,
                fence=self.journal.fence,
                result=body,
                error=error,
            )
        )
        row = self._rows[step.seq]
        self.longest_gap = self.gap_seconds
        now = self.clock.now()
        started, open_again = state is StepState.STARTED, state is StepState.PENDING
        self._rows[step.seq] = replace(
            row,
            state=state,
            attempts=row.attempts + started,
            result=row.result if body is None else body,
            error=error,
            started_at=now if started else row.started_at,
            finished_at=None if started or open_again else now,
        )

    async def checkpoint(self, step: Step, result: JsonObject) -> None:
        """Keep how far a look that takes long has come; on disk when this returns."""
        await self._persist(
            lambda: self.store.checkpoint(
                self.plan.rollback, step.seq, result, fence=self.journal.fence
            )
        )
        self._rows[step.seq] = replace(self._rows[step.seq], result=result)

    async def turn(self, state: RollbackState, reason: str = "") -> None:
        await self._persist(
            lambda: self.store.turn(
                self.plan.rollback, state, fence=self.journal.fence, reason=reason
            )
        )
        self.journal = replace(self.journal, state=state, reason=reason)

    async def finish(self, end: Ending) -> None:
        await self._persist(
            lambda: self.store.finish(
                self.plan.rollback,
                end.state,
                end.outcome,
                fence=self.journal.fence,
                detail=end.detail,
                recovered_at=end.recovered_at,
                proved_at=end.proved_at,
            )
        )
        self.journal = replace(self.journal, state=end.state, reason=end.detail)

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        await persistently(write, self.pauses, self.tell)


async def persistently(
    write: Callable[[], Awaitable[T]], pauses: Pauses, tell: Callable[..., None]
) -> T:
    """Wait for the disk however long it takes: without the line nothing may be done."""
    pause = _FIRST_PAUSE_SECONDS
    told = False
    while True:
        try:
            return await write()
        except TemporaryError as error:
            if not told:
                tell(events.STORE_FAILED, op="journal", error=error.message, hint=error.hint)
                told = True
        await pauses.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
