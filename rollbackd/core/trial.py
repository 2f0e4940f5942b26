"""What would have been done, had the mode let it: how observe mode is left. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.model import HoldReason, JsonObject

KEPT: Final = 1000  # releases remembered

# Where one of these holds, every gate that asks about the release has let the breach pass.
HELD_BY_MODE: Final = frozenset(
    {
        HoldReason.BUDGET_SPENT,
        HoldReason.WINDOW,
        HoldReason.OBSERVE_MODE,
        HoldReason.AWAITING_APPROVAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldHave:
    """A release that would have been rolled back. `asks`: a person would have been asked first."""

    version: int
    to_version: int
    at: float
    trigger: str
    why: str
    held_by: str
    asks: bool

    def as_json(self) -> JsonObject:
        return {
            "version": self.version,
            "to_version": self.to_version,
            "at": self.at,
            "trigger": self.trigger,
            "why": self.why,
            "held_by": self.held_by,
            "asks": self.asks,
        }


@dataclass(slots=True)
class Trial:
    """The releases that came while we watched, and those that would have been rolled back."""

    watched: set[int] = field(default_factory=set)
    would_have: dict[int, WouldHave] = field(default_factory=dict)  # by version, oldest first
    changes: int = field(default=0, compare=False)  # of what `as_json` tells

    def watch(self, version: int) -> None:
        if version in self.watched:
            return
        self.watched.add(version)
        self.changes += 1
        if len(self.watched) > KEPT:
            gone = min(self.watched)
            self.watched.discard(gone)
            self.would_have.pop(gone, None)

    def note(self, would: WouldHave) -> None:
        """Once per release: what was seen first is what would have been acted on."""
        if would.version not in self.would_have:
            self.watch(would.version)
            self.would_have[would.version] = would
            self.changes += 1

    def acted(self, version: int) -> None:
        """It was rolled back after all: no longer something that only would have been done."""
        if self.would_have.pop(version, None) is not None:
            self.changes += 1

    @property
    def sentence(self) -> str:
        """`would have acted 2 times in 14 releases`; empty while no release came."""
        if not self.watched:
            return ""
        asked = sum(w.asks for w in self.would_have.values())
        acted = len(self.would_have) - asked
        count = len(self.watched)
        releases = f"{count} release" if count == 1 else f"{count} releases"
        done = f"would have acted {_times(acted)}" if acted else "would not have acted"
        then = f" and asked a person {_times(asked)}" if asked else ""
        return f"{done}{then} in {releases}"

    def as_json(self) -> JsonObject:
        """For the store; `restore` reads it back."""
        return {
            "watched": [*sorted(self.watched)],
            "would_have": [would.as_json() for would in self.would_have.values()],
        }

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        watched, rows = kept.get("watched"), kept.get("would_have")
        if isinstance(watched, list):
            self.watched.update(v for v in watched if isinstance(v, int))
        for row in rows if isinstance(rows, list) else ():
            would = _would_from(row) if isinstance(row, dict) else None
            if would is not None:
                self.would_have.setdefault(would.version, would)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _would_from(row: JsonObject) -> WouldHave | None:
    version, to_version, at, asks = (
        row.get(name) for name in ("version", "to_version", "at", "asks")
    )
    trigger, why, held_by = (row.get(name) for name in ("trigger", "why", "held_by"))
    if not isinstance(version, int) or not isinstance(to_version, int):
        return None
    if not isinstance(at, int | float) or not isinstance(asks, bool):
        return None
    if not isinstance(trigger, str) or not isinstance(why, str) or not isinstance(held_by, str):
        return None
    return WouldHave(
        version=version,
        to_version=to_version,
        at=at,
        trigger=trigger,
        why=why,
        held_by=held_by,
        asks=asks,
    )
