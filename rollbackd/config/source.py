"""Reads one YAML file as text. Refuses what is not a small, readable UTF-8 file, and says why."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rollbackd.config.diagnostics import Findings, Mark

LARGEST_BYTES = 262_144  # a configuration of 10,000 lines; a parser bomb is bigger


def read(path: Path, findings: Findings) -> str | None:
    """The file's text; None when it was refused (the findings say why)."""
    start = Mark(path=str(path), line=1, column=1)
    try:
        content = _bytes(path)
    except IsADirectoryError:
        findings.error(start, "is a directory, not a file")
    except FileNotFoundError:
        findings.error(start, "no such file", "the README has the shortest one that works")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        findings.error(start, f"cannot be read: {reason.lower()}")
    else:
        return decode(content, str(path), findings)
    return None


def _bytes(path: Path) -> bytes:
    """At most one byte over the limit. Non-blocking, so that a pipe cannot hang the reader."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an open descriptor, not a path
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise OSError(0, "not a regular file")
        return file.read(LARGEST_BYTES + 1)


def decode(content: bytes, path: str, findings: Findings) -> str | None:
    """Bytes to text, or None with the reason in the findings."""
    start = Mark(path=path, line=1, column=1)
    if len(content) > LARGEST_BYTES:
        findings.error(start, f"larger than {LARGEST_BYTES // 1024} KiB")
        return None
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        findings.error(start, "starts with a byte order mark", "save it as UTF-8 without BOM")
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        findings.error(Mark(path=path, line=line, column=column), "not UTF-8", "save it as UTF-8")
        return None
    return text
