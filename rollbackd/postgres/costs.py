"""What a rehearsal showed, as a cost: per step and in all. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from rollbackd.core.database import DatabasePolicy, Harm
from rollbackd.postgres import harm
from rollbackd.postgres.fingerprint import compare
from rollbackd.postgres.trial_run import Seen
from rollbackd.postgres.words import Cost, Difference, Fingerprint, Reverse

_ORDER: Final = list(Harm)
_UNSEEN: Final = (
    "the schema to come back to was never observed: nobody can tell what is left over or missing"
)


class Judge:
    """`rows`: of the real tables that would go, as they are now."""

    def __init__(
        self, policy: DatabasePolicy, rows: Mapping[str, int], good: Fingerprint | None
    ) -> None:
        self._policy = policy
        self._rows = rows
        self._good = good

    def one(self, step: Reverse, seen: Seen) -> Cost:
        difference = compare(seen.before, seen.after)
        return self._cost(difference, [seen], seen.seconds, transactional=step.transactional)

    def all(
        self,
        steps: Collection[Reverse],
        seen: Collection[Seen],
        over: Difference,
        residue: Difference | None,
    ) -> Cost:
        """Judged by what it comes to in the end: nobody sees the states between."""
        cost = self._cost(
            over,
            seen,
            sum(one.seconds for one in seen),
            transactional=all(step.transactional for step in steps),
            residue=residue,
        )
        if residue is not None:
            return cost
        worst = Harm.UNKNOWN if cost.harm is Harm.SAFE else cost.harm
        return replace(cost, harm=worst, reasons=(*cost.reasons, _UNSEEN))

    def _cost(
        self,
        step: Difference,
        seen: Collection[Seen],
        seconds: float,
        *,
        transactional: bool,
        residue: Difference | None = None,
    ) -> Cost:
        rows = {table: self._rows.get(table, 0) for table in lost_tables(step)}
        for one in seen:
            for table, lost in one.rows_lost.items():
                rows[table] = max(rows.get(table, 0), lost)
        columns = lost_columns(step)
        worst, reasons = harm.judge(
            step, rows, columns, self._policy, transactional, good=self._good
        )
        written = tuple(_written(step, seen, known=rows))
        if written:
            worst = max(worst, Harm.LOSSY, key=_ORDER.index)
        return Cost(
            harm=worst,
            reasons=(*reasons, *written),
            step=step,
            rows_lost=rows,
            columns_lost=columns,
            residue=residue,
            seconds=seconds,
        )


def lost_tables(step: Difference) -> list[str]:
    return sorted(name for kind, name in step.lost if kind == "table")


def lost_columns(step: Difference) -> dict[str, tuple[str, ...]]:
    """By table, also of tables that go: a table is its columns."""
    found: dict[str, list[str]] = {}
    for kind, name in step.lost:
        if kind == "column":
            table, _, column = _split(name)
            found.setdefault(table, []).append(column)
    views = {name for kind, name in step.lost if kind.endswith("view")}
    return {table: tuple(columns) for table, columns in found.items() if table not in views}


def _split(name: str) -> tuple[str, str, str]:
    """`public.t."odd.name"` into table and column."""
    if name.endswith('"'):
        start = name.rindex('."')
        return name[:start], ".", name[start + 1 :]
    return name.rpartition(".")


def _written(step: Difference, seen: Iterable[Seen], *, known: Mapping[str, int]) -> Iterator[str]:
    """Rows that are changed and not counted: what was in them is not in a schema."""
    explained = {_split(name)[0] for kind, name in (*step.changed, *step.extra) if kind == "column"}
    gone = set(lost_tables(step))
    for table in sorted({table for one in seen for table in one.written} - gone - set(known)):
        yield f"rows of {table} are changed or deleted by it: which, only a person can tell"
    for table in sorted({table for one in seen for table in one.anew} - gone - explained):
        if table not in known and ("table", table) not in step.changed:
            yield f"{table} is emptied or written anew by it"
