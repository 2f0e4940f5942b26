"""Which migrations came with a release: what is applied now and was not while the good one ran.

Pure. What does not add up is named, and nothing is guessed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

from rollbackd.core.database import MigrationTool
from rollbackd.core.errors import PlanRefused
from rollbackd.postgres.words import Applied


class HistoryProblem(enum.StrEnum):
    """Why the two histories do not tell which migrations to take back."""

    VANISHED = "vanished"  # applied then, and not now: squashed, repaired, restored
    DIVERGED = "diverged"  # the same version, with another content
    OUT_OF_ORDER = "out_of_order"  # a new one stands before an old one
    DUPLICATE = "duplicate"  # one version and name, twice
    AGAIN = "again"  # one without a version ran once more
    FAILED_BEFORE = "failed_before"  # it had failed already while the good release ran


class HistoryRefused(PlanRefused):
    """The histories do not add up; `problem` says how."""

    def __init__(self, problem: HistoryProblem, message: str, *, hint: str = "") -> None:
        super().__init__(f"migration history {problem}: {message}", hint=hint)
        self.problem = problem


# These keep one row a head: what stood below it is told by the files, not by the database.
_HEADS: Final = frozenset({MigrationTool.ALEMBIC, MigrationTool.GOLANG_MIGRATE})
_HINT: Final = "choose the version to go back to yourself: --to-migration"


def came_with(now: Sequence[Applied], at_good: Sequence[Applied]) -> tuple[Applied, ...]:
    """Newest first: tools in the order of `now`, later ones first. Raises HistoryRefused."""
    found: list[Applied] = []
    for tool, table in dict.fromkeys((each.tool, each.table) for each in (*now, *at_good)):
        new = _of(now, tool, table)
        old = _of(at_good, tool, table)
        _twice(new)
        found.extend(_below_head(new, old) if tool in _HEADS else _added(new, old))
    return tuple(reversed(found))


def _of(applied: Iterable[Applied], tool: MigrationTool, table: str) -> list[Applied]:
    ours = (each for each in applied if (each.tool, each.table) == (tool, table))
    return sorted(ours, key=lambda each: each.order)


def _added(new: list[Applied], old: list[Applied]) -> list[Applied]:
    standing = {each.key: each for each in new}
    known = {each.key: each for each in old}
    for each in old:
        if each.key not in standing:
            raise HistoryRefused(
                HistoryProblem.VANISHED,
                f"{_name(each)} was applied when the good release was well, and is not now",
                hint="squashed, repaired or restored since: make a rollback by hand",
            )
        _same(standing[each.key], each)
    added = [each for each in new if each.key not in known]
    last_known = max((each.order for each in new if each.key in known), default=-1)
    for each in added:
        if each.order < last_known:
            raise HistoryRefused(
                HistoryProblem.OUT_OF_ORDER,
                f"{_name(each)} came with the release and stands before one that did not",
                hint=_HINT,
            )
    return added


def _same(now: Applied, then: Applied) -> None:
    if then.failed:
        raise HistoryRefused(
            HistoryProblem.FAILED_BEFORE,
            f"{_name(then)} had failed already when the good release was well",
        )
    if now.checksum == then.checksum or not (now.checksum and then.checksum):
        return
    if now.version:
        raise HistoryRefused(
            HistoryProblem.DIVERGED,
            f"{_name(now)} is not what it was when the good release was well",
            hint="edited after it was applied: make a rollback by hand",
        )
    raise HistoryRefused(
        HistoryProblem.AGAIN,
        f"{_name(now)} has no version and ran again: nothing takes that back",
    )


def _below_head(new: list[Applied], old: list[Applied]) -> list[Applied]:
    """`new` has been filled up from the files (`reverses.lineage`), `old` perhaps not."""
    versions = [each.version for each in new]
    if not old:
        return new
    head = old[-1].version
    if head not in versions:
        raise HistoryRefused(
            HistoryProblem.VANISHED,
            f"{old[-1].tool} {head} is not among {', '.join(versions) or 'none'}",
            hint="name the folder of its migrations in rollback_dirs: the database keeps the"
            " newest version only",
        )
    return new[versions.index(head) + 1 :]


def _twice(applied: list[Applied]) -> None:
    seen: set[tuple[MigrationTool, str, str]] = set()
    for each in applied:
        if each.key in seen:
            raise HistoryRefused(
                HistoryProblem.DUPLICATE, f"{_name(each)} stands twice in {each.table}"
            )
        seen.add(each.key)


def _name(each: Applied) -> str:
    return " ".join(part for part in (each.tool, each.version, each.name) if part)
