"""One daemon per state directory, by `flock`. Gives way when the holder dies, never before."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from rollbackd.core.errors import Rejected


class DirectoryLock:
    """Held from `take` until `release` or the end of the process. Its file names the holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raise Rejected, naming the holder's pid, when another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Rejected(
                f"another rollbackd uses {self._path.parent}: pid {holder}",
                hint="talk to it instead (rollbackd status), or stop it first",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        self._descriptor = descriptor

    def release(self) -> None:
        # The file stays: removing it would let two processes hold two locks of the same name.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
