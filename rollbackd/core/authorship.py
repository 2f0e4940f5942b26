"""Whose release it is, and of which commit, as announced. Tells; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from rollbackd.core.facts import Announced
from rollbackd.core.model import JsonObject, Release

WITHIN_SECONDS: Final = 1800.0  # of its announcement a release has to appear
KEPT: Final = 200  # announced releases remembered, as many as releases are
SHORTEST: Final = 7  # digits of a commit that are enough to tell it from another
_SHOWN: Final = 10


def same_commit(a: str, b: str) -> bool:
    """Whether two names are of one commit: either may be cut short, the empty one names none."""
    a, b = a.lower(), b.lower()
    if min(len(a), len(b)) < SHORTEST:
        return a == b != ""
    return a.startswith(b) or b.startswith(a)


def short(commit: str) -> str:
    return commit[:_SHOWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an announcement told of a release."""

    commit: str
    by: str
    url: str


@dataclass(slots=True)
class Authorship:
    """Which announcement belongs to which release.

    The newest one counts: an older one without a release is of a pipeline that failed.
    """

    told: dict[int, Told] = field(default_factory=dict)  # by version
    changes: int = field(default=0, compare=False)  # of what `as_json` tells
    _pending: Announced | None = None

    def hear(self, fact: Announced) -> None:
        self._pending = fact

    def match(self, appeared: Iterable[Release], at: float) -> None:
        """These releases were seen first at `at`: the oldest is the one announced."""
        fact, release = self._pending, min(appeared, key=lambda r: r.version, default=None)
        if fact is None or release is None or not 0 <= at - fact.at <= WITHIN_SECONDS:
            return
        self._pending = None
        told = Told(commit=fact.commit, by=fact.by, url=fact.url)
        self.told.setdefault(release.version, told)
        self.changes += 1
        if len(self.told) > KEPT:
            del self.told[min(self.told)]

    def dress(self, release: Release) -> Release:
        """With the commit and the author that were announced; what the platform says is less."""
        told = self.told.get(release.version)
        if told is None:
            return release
        commit, author = told.commit or release.commit, told.by or release.author
        return replace(release, commit=commit, author=author)

    def url(self, version: int) -> str:
        told = self.told.get(version)
        return "" if told is None else told.url

    def as_json(self) -> JsonObject:
        """For the store; `restore` reads it back. What is pending is a fact that is kept anyway."""
        return {
            str(version): {"commit": told.commit, "by": told.by, "url": told.url}
            for version, told in self.told.items()
        }

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        for version, row in kept.items():
            if version.isdigit() and isinstance(row, dict):
                words = {name: row.get(name) for name in ("commit", "by", "url")}
                texts = {name: word for name, word in words.items() if isinstance(word, str)}
                if texts.keys() == words.keys():
                    self.told.setdefault(int(version), Told(**texts))
