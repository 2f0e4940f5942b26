"""Ends a process whose loop does not turn, or that does not leave: the journal resumes what ran.

A thread of its own. It counts its own rounds, not seconds: a process that was frozen as a whole
(SIGSTOP, a suspended machine) is not stuck. Judges nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

import structlog

from rollbackd.telemetry import events

log = structlog.get_logger()

EX_STUCK: Final = 70
STUCK_SECONDS: Final = 30.0  # /healthz says no after as long
LEAVE_SECONDS: Final = 14.0  # Fly, and whoever asked, counts to 15
_ROUND_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 2.0


class Watchdog:
    """Watches from `start` until `end`."""

    def __init__(self) -> None:
        self._asked = 0
        self._answered = 0
        self._rounds_to_leave: float = float("inf")
        self._ended = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop, busy: Callable[[], bool]) -> None:
        """`busy`: a call on another thread has not ended (a slow disk); it gets as long again."""
        args = (loop, busy)
        threading.Thread(target=self._watch, args=args, name="watchdog", daemon=True).start()

    def expect_end(self) -> None:
        """From now on there are 14 seconds until the process has gone."""
        self._rounds_to_leave = LEAVE_SECONDS / _ROUND_SECONDS

    def end(self) -> None:
        self._ended.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, busy: Callable[[], bool]) -> None:
        main = threading.main_thread().ident or 0
        while not self._ended.wait(_ROUND_SECONDS):
            self._rounds_to_leave -= 1
            if self._rounds_to_leave <= 0:
                _leave(events.DAEMON_LATE, main)
            self._ask(loop)
            silent = self._asked - self._answered
            limit = STUCK_SECONDS / _ROUND_SECONDS
            if silent > (2 * limit if busy() else limit):
                _leave(events.DAEMON_STUCK, main)

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked += 1
        try:
            loop.call_soon_threadsafe(self._answer, self._asked)
        except RuntimeError:  # the loop is closed: what is left is the interpreter's own end
            self._answered = self._asked

    def _answer(self, number: int) -> None:
        self._answered = number


def _leave(event: str, thread: int) -> None:
    """Say where it hangs, then go at once. Saying may hang as well: whoever reads us is gone."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 -- the only way to another's stack
    stack = "".join(traceback.format_stack(frame)) if frame else ""
    hint = "the supervisor starts it anew; the journal resumes what ran"
    say = threading.Thread(target=lambda: log.critical(event, stack=stack, hint=hint), daemon=True)
    say.start()
    say.join(_SAY_SECONDS)
    os._exit(EX_STUCK)
