"""Finds the SQL that takes each migration back: a file beside it, or what the history stores.

By version and name, never by version alone where a name is known. All that is wrong is told at
once, with file and line; nothing is run, and nothing outside the folders is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rollbackd.core.database import MigrationTool
from rollbackd.postgres.file_faults import MOST_BYTES, FileProblem, faults
from rollbackd.postgres.sql_text import line_of
from rollbackd.postgres.words import Applied, Reverse

_SAFE: Final = re.compile(r"^[\w.+ -]+$")
_DECLARED: Final = re.compile(r"^\s*--\s*rollbackd:\s*no-transaction\s*$", re.MULTILINE)
_DOWN: Final = re.compile(r"^--\s*migrate:down(?P<options>[^\n]*)$", re.MULTILINE)
_UP: Final = re.compile(r"^--\s*migrate:up\b", re.MULTILINE)
_FLYWAY_FILE: Final = re.compile(r"^U(?P<version>[^_].*?)__(?P<name>.+)\.sql$")
_FILE: Final = re.compile(r"^(?P<version>\d+)_(?P<name>.+?)(?P<end>\.rollback|\.down|\.up)?\.sql$")

Key = tuple[MigrationTool, str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """`reverses` in the order asked for, complete only where `problems` is empty."""

    reverses: tuple[Reverse, ...] = ()
    problems: tuple[FileProblem, ...] = field(default=())


def find(
    steps: Sequence[Applied],
    directories: Sequence[str | Path],
    stored: Mapping[Key, tuple[str, ...]] | None = None,
) -> Found:
    """One reverse a step. `stored`: as `histories.stored_reverses` gives it; files come first."""
    reverses: list[Reverse] = []
    folders = [Path(directory) for directory in directories]
    problems = [
        FileProblem(str(folder), 0, "there is no such folder")
        for folder in folders
        if not folder.is_dir()
    ]
    for step in steps:
        try:
            reverse = _one(step, folders, (stored or {}).get(step.key, ()))
        except _Refused as refused:
            problems.append(refused.problem)
            continue
        wrong = faults(reverse)
        problems.extend(wrong)
        if not wrong:
            reverses.append(reverse)
    return Found(tuple(reverses), tuple(problems))


def changed(planned: Sequence[Reverse], found: Sequence[Reverse]) -> tuple[FileProblem, ...]:
    """Where today's files are not those that were planned and approved."""
    today = {each.applied.key: each for each in found}
    problems: list[FileProblem] = []
    for each in planned:
        now = today.get(each.applied.key)
        if now is None:
            problems.append(FileProblem(each.where, 0, "is not there any more"))
        elif (now.sha256, now.transactional) != (each.sha256, each.transactional):
            problems.append(FileProblem(now.where, 0, "changed since the plan was made"))
    return tuple(problems)


class _Refused(Exception):
    def __init__(self, where: str, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.problem = FileProblem(where, line, message)


def _one(step: Applied, folders: Sequence[Path], stored: tuple[str, ...]) -> Reverse:
    label = full_name(step)
    for part in (step.version, step.name):
        if part and (not _SAFE.match(part) or ".." in part):
            raise _Refused(f"{step.tool} {label!r}", "its name cannot be a file's name")
    candidates = [
        (folder, path) for folder in folders if folder.is_dir() for path in _files(step, folder)
    ]
    distinct = {os.path.realpath(path): (folder, path) for folder, path in candidates}
    if len(distinct) > 1:
        names = ", ".join(str(path) for _, path in distinct.values())
        raise _Refused(f"{step.tool} {label}", f"several files take it back: {names}")
    for folder, path in distinct.values():
        return _read(step, folder, path)
    if stored:
        text = ";\n".join(each.rstrip().rstrip(";") for each in stored) + ";\n"
        return _reverse(step, text, f"{step.table} {label}, rollback", 1)
    where = f"{step.tool} {label}"
    if not step.version:
        raise _Refused(where, "has no version: nothing takes it back")
    raise _Refused(
        where,
        f"nothing takes it back: no {label}.rollback.sql, .down.sql and the like in "
        + (", ".join(map(str, folders)) or "rollback_dirs, which is empty"),
    )


def full_name(step: Applied) -> str:
    return f"{step.version}_{step.name}" if step.name else step.version


def _files(step: Applied, folder: Path) -> list[Path]:
    """What can take it back in one folder, the best kind of file only."""
    if step.tool is MigrationTool.FLYWAY:
        return _flyway_files(step, folder)
    if step.name or step.tool is MigrationTool.PRISMA:
        name = full_name(step)
        kinds = [
            [folder / f"{name}.rollback.sql"],
            [folder / f"{name}.down.sql"],
            [folder / name / "down.sql"],
        ]
        plain = [folder / f"{name}.sql"]
    else:
        numbered = [
            (path, match)
            for path in sorted(folder.iterdir())
            if (match := _FILE.match(path.name)) and _same_number(step, match["version"])
        ]
        kinds = [
            [path for path, match in numbered if match["end"] == end]
            for end in (".rollback", ".down")
        ]
        kinds.append([folder / f"{step.version}{end}.sql" for end in (".rollback", ".down")])
        plain = [path for path, match in numbered if not match["end"]]
    for kind in kinds:
        if there := [path for path in kind if os.path.lexists(path)]:
            return there
    return [path for path in plain if os.path.lexists(path) and _has_down(path)]


def _same_number(step: Applied, version: str) -> bool:
    if step.tool is MigrationTool.GOLANG_MIGRATE and step.version.isdecimal():
        return int(version) == int(step.version)  # 000012_x.up.sql is version 12
    return version == step.version


def _flyway_files(step: Applied, folder: Path) -> list[Path]:
    """U1_1__name.sql and U1.1__name.sql are both of version 1.1."""
    return [
        path
        for path in sorted(folder.iterdir())
        if (match := _FLYWAY_FILE.match(path.name))
        and match["version"].replace("_", ".") == step.version
        and match["name"] == step.name
    ]


def _has_down(path: Path) -> bool:
    """Whether one file holds both ways, as dbmate's do."""
    try:
        with path.open("rb") as file:
            return b"migrate:down" in file.read(MOST_BYTES)
    except OSError:
        return False


def _read(step: Applied, folder: Path, path: Path) -> Reverse:
    where = str(path)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _Refused(where, f"leads out of {folder}")
    try:
        # Not a pipe: opening one would wait for its writer.
        with open(path, "rb", opener=_opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Refused(where, "is no file")
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _Refused(where, f"cannot be read: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise _Refused(where, f"is over {MOST_BYTES // 1024 // 1024} MB")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise _Refused(where, "there is a NUL in it: saved as UTF-16, or no text at all", line)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Refused(where, "is not UTF-8", line) from error
    if path.name.endswith((".rollback.sql", ".down.sql")) or path.name == "down.sql":
        return _reverse(step, text, where, 1)
    if step.tool is MigrationTool.FLYWAY:
        return _reverse(step, text, where, 1)
    return _down_part(step, text, where)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _down_part(step: Applied, text: str, where: str) -> Reverse:
    """From `-- migrate:down` to the end, or to the next `-- migrate:up`."""
    down = _DOWN.search(text)
    if down is None:
        raise _Refused(where, "has no line `-- migrate:down`")
    up = _UP.search(text, down.end())
    part = text[down.end() : up.start() if up else len(text)]
    plain = "transaction:false" in down["options"].replace(" ", "")
    return _reverse(step, part, where, line_of(text, down.end()), transactional=not plain)


def _reverse(
    step: Applied, text: str, where: str, line: int, *, transactional: bool = True
) -> Reverse:
    return Reverse(
        applied=step,
        text=text,
        where=where,
        line=line,
        transactional=transactional and not _DECLARED.search(text),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
