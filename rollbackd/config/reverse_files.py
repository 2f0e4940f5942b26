"""Warnings about the SQL that would take the newest migrations back, at its own file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rollbackd.config.diagnostics import Mark
from rollbackd.config.scope import Scope
from rollbackd.core.database import MigrationTool
from rollbackd.postgres import reverses
from rollbackd.postgres.words import Applied

_NAME: Final = re.compile(r"([0-9]+)_(.+?)(?:\.up)?(?:\.sql)?")


def advise_files(migrations: Iterable[Path], directories: Sequence[str], scope: Scope) -> None:
    """`migrations`: files or Prisma's folders. One that nothing reverses is not told of here."""
    for path in migrations:
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        step = Applied(
            tool=MigrationTool.PRISMA if path.is_dir() else MigrationTool.SUPABASE,
            version=match[1],
            name=match[2],
            order=0,
        )
        for problem in reverses.find([step], directories).problems:
            if Path(problem.where).is_absolute():
                mark = Mark(path=problem.where, line=max(1, problem.line), column=1)
                scope.findings.warn(mark, problem.message, "a rollback over it is refused")
