"""The same facts under two configurations: what only one of them would have done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rollbackd.core.model import Decision, Json, JsonObject, TargetName
from rollbackd.replay.answer import answer
from rollbackd.replay.releases import Fate
from rollbackd.replay.run import Run
from rollbackd.replay.story import Line, moment, outcome
from rollbackd.replay.told import Reconfigured, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One release under both; None where a configuration does not watch its target."""

    target: TargetName
    version: int
    came_at: float
    told: tuple[str, str]  # what would have become of it

    @property
    def differs(self) -> bool:
        return self.told[0] != self.told[1]


class Comparison:
    """Two runs of the same facts."""

    def __init__(self, first: Run, second: Run) -> None:
        self.runs = (first, second)
        self._rows: tuple[list[JsonObject], list[JsonObject]] = ([], [])

    def play(self, facts: Iterable[tuple[float, Told]]) -> None:
        first, second = self.runs
        for at, told in facts:
            self._note(0, first.take(at, told))
            if not isinstance(told, Reconfigured):  # that is the first one's configuration
                self._note(1, second.take(at, told))
        self._note(0, first.end())
        self._note(1, second.end())

    def differences(self) -> list[JsonObject]:
        """Decisions that only one of them made, in the order of time. Numbers may differ."""
        first, second = ({_same(row) for row in rows} for rows in self._rows)
        only = [
            (side, row)
            for side, (rows, other) in enumerate(zip(self._rows, (second, first), strict=True))
            for row in rows
            if _same(row) not in other
        ]
        only.sort(key=lambda one: (_at(one[1]), str(one[1]["target"]), one[0]))
        return [{**row, "config": self.runs[side].name} for side, row in only]

    def lines(self) -> Iterator[Line]:
        """The releases that would have fared otherwise, and how many there were."""
        pairs = self.pairs()
        for pair in pairs:
            if pair.differs:
                yield Line(f"{pair.target} v{pair.version}  {moment(pair.came_at)}")
                for run, told in zip(self.runs, pair.told, strict=True):
                    yield Line(f"    {run.name}: {told}", "alarm" if "would have" in told else "")
        other = sum(pair.differs for pair in pairs)
        count = "1 release" if len(pairs) == 1 else f"{len(pairs)} releases"
        yield Line(f"{count}: {other} would have fared otherwise")

    def pairs(self) -> Sequence[Pair]:
        """Every release, of every target that either of them watches."""
        first, second = (_by_version(run) for run in self.runs)
        return [
            Pair(
                target=target,
                version=version,
                came_at=(first.get(key) or second[key]).came_at,
                told=(_told(first.get(key)), _told(second.get(key))),
            )
            for key in dict.fromkeys([*first, *second])
            for target, version in (key,)
        ]

    def _note(self, side: int, decisions: Iterable[Decision]) -> None:
        self._rows[side].extend(answer(decision) for decision in decisions)


def _by_version(run: Run) -> dict[tuple[TargetName, int], Fate]:
    fates = run.releases.fates()
    return {(t, fate.release.version): fate for t, told in fates.items() for fate in told}


def _told(fate: Fate | None) -> str:
    return "not watched" if fate is None else outcome(fate)


def _same(row: JsonObject) -> tuple[Json, ...]:
    """Everything but the numbers, which no two configurations share."""
    return tuple(str(value) for name, value in row.items() if name != "evidence")


def _at(row: JsonObject) -> float:
    at = row["at"]
    assert isinstance(at, int | float), "made by `answer`"
    return float(at)
