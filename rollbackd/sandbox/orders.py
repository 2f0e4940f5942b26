"""What somebody asks the deploy simulator for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STRATEGIES = ("rolling", "immediate", "bluegreen", "canary", "canary-leftover")


@dataclass(slots=True, kw_only=True)
class Order:
    """What to deploy. None keeps what is there; `outcome` and `after` make it end early."""

    image: str | None = None
    env: dict[str, str | None] | None = None
    services: list[dict[str, Any]] | None = None
    checks: dict[str, Any] | None = None
    guest: dict[str, Any] | None = None
    secrets: dict[str, str] | None = None
    strategy: str = "rolling"
    user: str = "ci@sandbox.example"
    outcome: str = ""  # failed | interrupted | killed
    after: int = 0  # machines updated before that outcome
    boot_seconds: float | None = None
    boot_on: str = "all"  # or one
    wait_seconds: float = 30.0
    metadata: dict[str, str] = field(default_factory=dict)
