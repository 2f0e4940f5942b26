"""What was counted: one rule in one cell. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from cells import Group

OURS = "rollbackd"


@dataclass(frozen=True, slots=True)
class Figure:
    """`found` of `runs` acted; times in seconds after the deploy, over all runs: a rule that misses
    half of them has no median. `low`, `high`: the exact 95 % interval of the share that acted.
    """

    cell: str
    group: Group
    rule: str
    runs: int
    found: int
    median: float | None
    p95: float | None
    low: float
    high: float

    @property
    def per_1000(self) -> float:
        return 1000.0 * self.found / self.runs


class Figures:
    """All of them, looked up by cell and rule."""

    def __init__(self, figures: list[Figure]) -> None:
        self.figures = figures
        self._by_place = {(f.cell, f.rule): f for f in figures}

    def cells(self, group: Group) -> list[str]:
        return list(dict.fromkeys(f.cell for f in self.figures if f.group == group))

    def rules(self, group: Group) -> list[str]:
        return list(dict.fromkeys(f.rule for f in self.figures if f.group == group))

    def at(self, cell: str, rule: str) -> Figure | None:
        return self._by_place.get((cell, rule))
