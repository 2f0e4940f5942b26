"""What a replay hears besides the core's facts. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from rollbackd.core.facts import Fact
from rollbackd.core.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that decides nothing: an alert from outside, a deploy announced, a reload."""

    at: float
    target: str  # "": all of them
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfigured:
    """The configuration became another one."""

    at: float
    policy: Policy
    text: str


Told: TypeAlias = Fact | Noted | Reconfigured
