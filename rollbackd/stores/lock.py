"""One daemon per state directory, by `flock`. Its file names the holder and shows that it lives.

A holder that dies gives way at once; one that is frozen (SIGSTOP, a suspended machine) keeps its
flock for ever, so whoever waits may take its place by putting another file there. The one who lost
learns it from `held` before it sends anything, and from the store before it writes anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rollbackd.core.errors import Rejected

BEAT_SECONDS: Final = 0.5
_HOLDER_BYTES: Final = 32


class DirectoryLock:
    """Held from `take` or `take_over` until `release`, the end of the process, or until another
    one took it over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._ended = threading.Event()

    @property
    def held(self) -> bool:
        """Whether the file that lies there is still the one we locked."""
        return self._descriptor is not None and _same_file(self._descriptor, self._path)

    def take(self) -> None:
        """Raise Rejected, naming the holder's pid, when another process has it."""
        while self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise Rejected(
                    f"another rollbackd uses {self._path.parent}: pid {holder}",
                    hint="talk to it instead (rollbackd status), or stop it first",
                ) from error
            if not _same_file(descriptor, self._path):  # another one took it over meanwhile
                os.close(descriptor)
                continue
            self._keep(descriptor)

    def sign_of_life(self) -> tuple[int, int]:
        """What changes every half second while the holder lives; (0, 0) when there is no file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def take_over(self, sign: tuple[int, int]) -> bool:
        """Put our file in the place of a frozen holder's; False when it moved after all."""
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with _alone(self._path.parent):
            if self.sign_of_life() != sign:
                return False
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.replace(self._path)
        self._keep(descriptor)
        return True

    def release(self) -> None:
        # The file stays: removing it would let two processes hold two locks of the same name.
        self._ended.set()
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # the beating thread has it open too
            os.close(self._descriptor)
            self._descriptor = None

    def _keep(self, descriptor: int) -> None:
        name = f"{os.getpid()}\n".encode("ascii").ljust(_HOLDER_BYTES)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its name
            os.pwrite(descriptor, name, 0)
        self._ended = threading.Event()
        self._descriptor = descriptor
        own = os.dup(descriptor)
        threading.Thread(target=_beat, args=(own, self._ended), name="lock", daemon=True).start()


def _beat(descriptor: int, ended: threading.Event) -> None:
    """The time of the file moves, which needs no space; from a thread, for the loop may be busy."""
    try:
        while not ended.is_set():
            with contextlib.suppress(OSError):  # it passes: whoever lives must not look frozen
                os.utime(descriptor)
            ended.wait(BEAT_SECONDS)
    finally:
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False  # cannot tell: the careful answer
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _holder(descriptor: int) -> str:
    return os.read(descriptor, _HOLDER_BYTES).decode("ascii", "replace").strip() or "unknown"


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Of several who wait only one may take the place."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
