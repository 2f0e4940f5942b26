"""Space set aside for the day the disk is full: given up so that what runs can be finished.

Made again as soon as there is space. It is only a file: deleting it by hand does no harm.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

FILE_NAME: Final = "ballast"
_MOST_BYTES: Final = 8 * 2**20  # a rollback of a dozen machines writes about 1 MiB
_SHARE: Final = 4  # of a small disk it takes no more than a quarter
_LEAST_FREE_BYTES: Final = 256 * 2**10
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


class Ballast:
    """A file of up to 8 MiB in the state directory, really allocated."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / FILE_NAME

    @property
    def there(self) -> bool:
        return self._file.exists()

    def hold(self) -> None:
        """Set the space aside where there is enough of it; else nothing, without a word."""
        size = min(_MOST_BYTES, self._free_bytes() // _SHARE)
        if size < _LEAST_FREE_BYTES or self.there:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError:
                self._file.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def give_up(self) -> bool:
        """Whether there is space now that was not there before."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True

    def missed(self, error: sqlite3.Error) -> bool:
        """Whether this error is a full disk's, in whatever words SQLite says it."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return True
        return code in _FULL and self._free_bytes() < _LEAST_FREE_BYTES

    def _free_bytes(self) -> int:
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize
