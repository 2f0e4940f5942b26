"""One replay: a player, and what became of the releases it heard of. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rollbackd.core.model import Decision, JsonObject
from rollbackd.core.policy import Policy
from rollbackd.replay.answer import answer
from rollbackd.replay.player import Player
from rollbackd.replay.releases import Releases
from rollbackd.replay.told import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the facts came to be: see `Player`."""

    late_seconds: float = 0.0
    watched: bool = False
    lagging: bool = False


class Run:
    """Facts in, changed decisions out. `name` is the configuration's."""

    def __init__(self, name: str, policy: Policy, manner: Manner) -> None:
        self.name = name
        self.releases = Releases(policy)
        self._player = Player(
            policy, late_seconds=manner.late_seconds, watched=manner.watched, lagging=manner.lagging
        )

    def take(self, at: float, told: Told) -> Iterable[Decision]:
        changed = self._player.take(at, told)
        for decision in changed:
            self.releases.note(decision)
        self.releases.hear(told)
        return changed

    def end(self) -> Iterable[Decision]:
        changed = self._player.end()
        for decision in changed:
            self.releases.note(decision)
        return changed


def play(run: Run, facts: Iterable[tuple[float, Told]]) -> Iterator[JsonObject]:
    """Every change, as it is found."""
    for at, told in facts:
        for decision in run.take(at, told):
            yield answer(decision)
    for decision in run.end():
        yield answer(decision)
