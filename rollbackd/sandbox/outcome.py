"""What a demo came to: the object that `demo --json` writes. Computes two differences, no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Shape = dict[str, Any]


@dataclass(kw_only=True)
class Outcome:
    """What `demo --json` writes; times are epoch seconds, both durations count from onset."""

    scenario: str
    outcome: str = "failed"
    trigger: str | None = None
    reason: str | None = None
    from_version: int | None = None
    to_version: int | None = None
    onset_at: float | None = None
    decided_at: float | None = None
    recovered_at: float | None = None
    failed_requests: int = 0
    served_requests: int = 0
    journal: list[Shape] = field(default_factory=list)

    def wire(self) -> Shape:
        return {
            "scenario": self.scenario,
            "outcome": self.outcome,
            "trigger": self.trigger,
            "reason": self.reason,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "onset_at": self.onset_at,
            "decided_at": self.decided_at,
            "recovered_at": self.recovered_at,
            "seconds_to_decide": _between(self.onset_at, self.decided_at),
            "seconds_to_recover": _between(self.onset_at, self.recovered_at),
            "failed_requests": self.failed_requests,
            "served_requests": self.served_requests,
            "journal": self.journal,
        }


def _between(since: float | None, until: float | None) -> float | None:
    return None if since is None or until is None else round(until - since, 3)
