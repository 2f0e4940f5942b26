"""The state directory in SQLite: what survives. Waits for the disk, judges nothing.

One thread owns the connection and does everything in the order it was asked, so nothing needs
a lock. One daemon owns the directory (`stores.tenancy`); a reader opens it beside a living daemon.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from rollbackd.core.errors import NotFound, PermanentError
from rollbackd.core.facts import TargetFact
from rollbackd.core.model import (
    Decision,
    Json,
    JsonObject,
    RollBack,
    RollbackId,
    RollbackOutcome,
    TargetName,
)
from rollbackd.core.ports import Clock, Recorded
from rollbackd.core.runbook import Journal, Plan, RollbackState, StepState
from rollbackd.stores import audit, codec, database, history, journal_rows, kept
from rollbackd.stores.state_file import StateFile
from rollbackd.stores.tenancy import Tenancy

FILE_NAME: Final = "rollbackd.db"
T = TypeVar("T")


class SqliteStore:
    """Fits `core.ports.Store`. Every awaited write is on disk when it returns, but for lines of the
    journal that a power cut may take back (`journal_rows.must_sync`).
    """

    kind: ClassVar[str] = "sqlite"

    def __init__(self, directory: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._path = directory / FILE_NAME
        self._clock = clock
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._tenancy = Tenancy(directory / f"{FILE_NAME}.lock", clock)
        self._file = StateFile(self._path, clock, None if read_only else self._tenancy)
        self._thread: ThreadPoolExecutor | None = None
        self._working = False

    async def stand_by(self, told: Callable[[str], None]) -> bool:
        """Wait until the directory is ours; `open` comes next. True: its holder was frozen and is
        deposed. `told` once, with who has it.
        """
        database.make_directory(self._path.parent)
        try:
            return await self._tenancy.stand_by(told)
        except OSError as error:
            raise database.untouchable(error, str(error.filename or self._path.parent)) from error

    @property
    def busy(self) -> bool:
        """A call on the store's thread has begun and not ended."""
        return self._working

    def check_ours(self, what: str) -> None:
        """Raise Fenced, before `what` is sent, when another daemon took the directory over."""
        self._tenancy.check_lock(what)

    async def open(self) -> None:
        """Take the directory, check and migrate the file. Raises Rejected when it is taken."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            await self._ask(lambda: self._file.open(self._owner))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._thread is None:
            self._tenancy.end()  # stood by, and never opened
            return
        thread, self._thread = self._thread, None
        await asyncio.get_running_loop().run_in_executor(thread, self._file.close)
        thread.shutdown(wait=True)

    async def facts(self, since: float) -> Sequence[TargetFact]:
        now = self._clock.now()
        return await self._read(lambda c: kept.load(c, since, now))

    async def keep(self, fact: TargetFact) -> None:
        def work(connection: sqlite3.Connection) -> None:
            kept.keep(connection, fact)
            audit.append(
                connection,
                codec.fact_kind(fact),
                at=self._clock.now(),
                target=fact.target,
                rollback=getattr(fact, "rollback", ""),
                data=codec.plain_object(fact),
            )

        await self._write(work)

    async def record(self, decision: Decision) -> None:
        word = "roll_back" if isinstance(decision, RollBack) else "hold"
        data: JsonObject = {"decision": word, **codec.plain_object(decision)}
        await self.record_line("decision", data, target=decision.target)

    async def record_line(self, kind: str, data: JsonObject, *, target: str = "") -> None:
        """Any other line for the record: a control by a person, a reload, a hand-over."""
        now = self._clock.now()
        await self._write(lambda c: audit.append(c, kind, at=now, target=target, data=data))

    async def begin(self, decision: RollBack, plan: Plan) -> Journal:
        now = self._clock.now()

        def work(connection: sqlite3.Connection) -> Journal:
            journal_rows.begin(connection, decision, plan, owner=self._owner, now=now)
            return journal_rows.load(connection, plan.rollback, now)

        return await self._write(work)

    async def claim(self, rollback: RollbackId) -> Journal:
        """Take an unfinished rollback over. Its `resumes`: `stores.resumes`."""
        now = self._clock.now()

        def work(connection: sqlite3.Connection) -> Journal:
            journal_rows.claim(connection, rollback, owner=self._owner, now=now)
            return journal_rows.load(connection, rollback, now)

        return await self._write(work)

    async def note(
        self,
        rollback: RollbackId,
        seq: int,
        state: StepState,
        *,
        fence: int,
        result: JsonObject | None = None,
        error: str = "",
    ) -> None:
        now = self._clock.now()

        def work(connection: sqlite3.Connection) -> None:
            journal_rows.note(
                connection, rollback, seq, state, fence=fence, result=result, error=error, now=now
            )

        started = state is StepState.STARTED
        await self._write(
            work, syncs=lambda c: started and journal_rows.must_sync(c, rollback, seq)
        )

    async def checkpoint(
        self, rollback: RollbackId, seq: int, result: JsonObject, *, fence: int
    ) -> None:
        now = self._clock.now()
        await self._write(
            lambda c: journal_rows.checkpoint(c, rollback, seq, result, fence=fence, now=now),
            syncs=lambda c: journal_rows.must_sync(c, rollback, seq),
        )

    async def turn(
        self, rollback: RollbackId, state: RollbackState, *, fence: int, reason: str = ""
    ) -> None:
        now = self._clock.now()
        await self._write(
            lambda c: journal_rows.turn(c, rollback, state, fence=fence, reason=reason, now=now)
        )

    async def finish(
        self,
        rollback: RollbackId,
        state: RollbackState,
        outcome: RollbackOutcome,
        *,
        fence: int,
        detail: str = "",
        recovered_at: float | None = None,
        proved_at: float | None = None,
    ) -> None:
        now = self._clock.now()
        await self._write(
            lambda c: journal_rows.finish(
                c, rollback, state, outcome, fence=fence, detail=detail, now=now,
                recovered_at=recovered_at, proved_at=proved_at,
            )
        )  # fmt: skip

    async def unfinished(self) -> Sequence[Journal]:
        now = self._clock.now()
        return await self._read(
            lambda c: [journal_rows.load(c, name, now) for name in journal_rows.unfinished(c)]
        )

    async def journal(self, rollback: RollbackId) -> Journal | None:
        now = self._clock.now()
        try:
            return await self._read(lambda c: journal_rows.load(c, rollback, now))
        except NotFound:
            return None

    async def history(self, target: TargetName | None, limit: int) -> Sequence[JsonObject]:
        now = self._clock.now()
        return await self._read(lambda c: history.load(c, target, limit, now))

    async def past(self, rollback: RollbackId) -> JsonObject | None:
        now = self._clock.now()
        return await self._read(lambda c: history.one(c, rollback, now))

    async def record_lines(self, target: TargetName | None, limit: int) -> Sequence[Recorded]:
        return await self._read(lambda c: audit.lines(c, target, limit))

    async def record_broken_at(self) -> int | None:
        """The id of the first line that was tampered with; None when the chain holds."""
        return await self._read(audit.broken_at)

    async def put_blob(self, key: str, value: Json) -> None:
        body = codec.text(value)
        now = self._clock.now()
        await self._write(
            lambda c: c.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", (key, body, now))
        )

    async def put_blobs(self, values: Mapping[str, Json]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            # In this thread: they may be large, and the loop must not wait for their text.
            rows = [(key, json.dumps(value, separators=(",", ":")), now) for key, value in given]
            connection.executemany("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", rows)

        now, given = self._clock.now(), list(values.items())
        await self._write(work)

    async def get_blob(self, key: str) -> Json:
        """None where there is none. Raises PermanentError, naming the key, where it is damaged."""

        def work(connection: sqlite3.Connection) -> Json:
            row = connection.execute("SELECT body FROM blob WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            try:
                return codec.parse_json(row["body"])
            except (ValueError, TypeError, RecursionError) as error:
                raise PermanentError(
                    f"what is kept as {key} in {self._path} is damaged: it is not JSON",
                    hint="a snapshot has it whole; a daemon that starts goes on without it",
                ) from error

        return await self._read(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._ask(lambda: self._file.read(work))

    async def _write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        syncs: Callable[[sqlite3.Connection], bool] = lambda _: True,
    ) -> T:
        return await self._ask(lambda: self._file.write(work, syncs=syncs))

    async def _ask(self, work: Callable[[], T]) -> T:
        """Run in the store's thread; a cancelled caller does not cut a transaction short."""
        if self._thread is None:
            raise PermanentError("the store is closed", hint="this is a bug in rollbackd")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._worked, work
            )
        except sqlite3.Error as error:
            raise database.translated(error, self._path) from error
        except OSError as error:
            raise database.untouchable(error, str(error.filename or self._path)) from error

    def _worked(self, work: Callable[[], T]) -> T:
        self._working = True
        try:
            return work()
        finally:
            self._working = False
