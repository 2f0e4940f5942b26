"""Since when a release is to blame, by version: its onset. Blames nobody itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rollbackd.core import readers
from rollbackd.core.model import JsonObject


@dataclass(slots=True)
class Accused:
    """The first onset of each, in seconds."""

    onsets: dict[int, float] = field(default_factory=dict)

    def add(self, version: int, onset: float) -> None:
        self.onsets.setdefault(version, onset)

    def discard(self, version: int) -> None:
        self.onsets.pop(version, None)

    def since(self, version: int) -> float:
        """Before all time where nothing is held against it."""
        return self.onsets.get(version, -math.inf)

    def __contains__(self, version: int) -> bool:
        return version in self.onsets

    def as_json(self) -> JsonObject:
        return {str(version): onset for version, onset in self.onsets.items()}

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        for version, raw in kept.items():
            try:
                self.add(int(version), readers.number(raw))
            except (ValueError, readers.Odd):
                continue
