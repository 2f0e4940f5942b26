"""Whether anything may still be sent: the STOP file and the drain. Read afresh for every call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rollbackd.core.errors import Stopped

FILE_NAME: Final = "STOP"


class StopSwitch:
    """`check` stands before every mutating call. Nothing is cached: a person said stop *now*."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE_NAME
        self._draining = False

    @property
    def stopped(self) -> bool:
        """A STOP file lies in the state directory."""
        try:
            os.lstat(self._file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # cannot tell: the careful answer
        return True

    @property
    def draining(self) -> bool:
        """The process is on its way out; a successor goes on."""
        return self._draining

    def drain(self) -> None:
        self._draining = True

    def check(self, what: str) -> None:
        """Raise Stopped when `what` may not be sent."""
        if self._draining:
            raise Stopped(f"shutting down, not sent: {what}", hint="the next daemon goes on")
        if self.stopped:
            raise Stopped(f"{self._file} is there, not sent: {what}", hint=f"rm {self._file}")
