"""What a replay hears besides the core's facts. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from rollbackd.core.facts import Fact, RollbackStarted
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """A rollback that the facts are about to tell: what is decided now was really done."""

    at: float
    started: RollbackStarted


Told: TypeAlias = Fact | Noted | Reconfigured | Foretold
