"""What a reversal is agreed to be, and how it can end. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollbackd.core.errors import Ambiguous, PermanentError, Superseded
from rollbackd.postgres.outcome import State
from rollbackd.postgres.words import Fingerprint, Reverse


class NotProven(PermanentError):
    """The result was not what it should be; everything was rolled back. `hint`: the differences."""


class Stale(Superseded):
    """The database is not as it was when the plan was made. Nothing was changed."""


class CommitUnknown(Ambiguous):
    """Nobody answered whether it was committed. Ask again by the id on disk; never run it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What was rehearsed and agreed to.

    `steps`: newest first, all transactional. `locks`: mode by table. `rows_lost`: at most, by
    table. `expected`: the schema after it, with its objects where a difference is to be told.
    `left`: in what that differs from the good release's schema, in words: with any it is refused.
    """

    steps: tuple[Reverse, ...]
    before: State
    after: State
    locks: Mapping[str, str] = field(default_factory=dict)
    rows_lost: Mapping[str, int] = field(default_factory=dict)
    expected: Fingerprint | None = None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversed:
    """`locked_seconds`: from the first lock on a table to COMMIT. `ended`: sessions, in words."""

    xid: str
    seconds: float
    locked_seconds: float
    tries: int
    ended: tuple[str, ...] = ()
