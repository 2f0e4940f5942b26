"""Which releases are known good, and which one to go back to. It never decides whether to go."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.model import JsonObject, Release, ReleaseStatus

CONFIG_MARK: Final = "+config:"


class Standing(enum.StrEnum):
    GOOD = "good"
    UNKNOWN = "unknown"
    BAD = "bad"
    QUARANTINED = "quarantined"


def same_content(a: str, b: str) -> bool:
    """Whether two contents are the same thing to go to.

    The part after `+config:` counts only where both have it: an image alone says nothing about
    the configuration it ran with.
    """
    if a == b:
        return True
    if CONFIG_MARK in a and CONFIG_MARK in b:
        return False
    return a.partition(CONFIG_MARK)[0] == b.partition(CONFIG_MARK)[0]


@dataclass(slots=True)
class Marks:
    """Releases something is known of, by version and by content: either is enough."""

    contents: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)

    def add(self, release: Release) -> None:
        self.versions.add(release.version)
        if release.content not in self.contents:
            self.contents.append(release.content)

    def discard(self, release: Release) -> None:
        self.versions.discard(release.version)
        self.contents = [c for c in self.contents if not same_content(c, release.content)]

    def __contains__(self, release: Release) -> bool:
        # A release's content may become known more exactly later; its version stays.
        return release.version in self.versions or self.has_content(release.content)

    def as_json(self) -> JsonObject:
        return {"contents": [*self.contents], "versions": [*sorted(self.versions)]}

    def has_content(self, content: str) -> bool:
        return any(same_content(content, known) for known in self.contents)


@dataclass(slots=True)
class Ledger:
    """What is remembered of releases. `cleared` had a clear verdict while they were current."""

    quarantined: Marks = field(default_factory=Marks)
    bad: Marks = field(default_factory=Marks)
    good: Marks = field(default_factory=Marks)
    cleared: Marks = field(default_factory=Marks)
    _accused_at: dict[int, float] = field(default_factory=dict)  # by version: the onset

    def accuse(self, release: Release, onset: float) -> None:
        """It is to blame for what began at `onset`."""
        self.bad.add(release)
        self._accused_at.setdefault(release.version, onset)

    def acquit(self, release: Release, came_at: float) -> None:
        """Its successor came at `came_at`: what began no earlier was never its fault.

        A successor is seen some seconds after it came, and its failures seconds sooner than that.
        """
        if self._accused_at.pop(release.version, -math.inf) >= came_at:
            self.bad.discard(release)

    def standing(self, release: Release) -> Standing:
        if release in self.quarantined:
            return Standing.QUARANTINED
        if release in self.bad:
            return Standing.BAD
        if release in self.good and release.status is ReleaseStatus.COMPLETE:
            return Standing.GOOD
        return Standing.UNKNOWN

    def bless(self, release: Release) -> None:
        """A person vouches for it: good, whatever was seen."""
        self.quarantined.discard(release)
        self.bad.discard(release)
        self.good.add(release)

    def as_json(self) -> JsonObject:
        """For the store; `restore` reads it back."""
        return {name: marks.as_json() for name, marks in self._named()}

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        for name, marks in self._named():
            row = kept.get(name)
            if not isinstance(row, dict):
                continue
            contents, versions = row.get("contents"), row.get("versions")
            if isinstance(contents, list):
                fresh = [c for c in contents if isinstance(c, str) and c not in marks.contents]
                marks.contents.extend(fresh)
            if isinstance(versions, list):
                marks.versions.update(v for v in versions if isinstance(v, int))

    def _named(self) -> tuple[tuple[str, Marks], ...]:
        return (
            ("quarantined", self.quarantined),
            ("bad", self.bad),
            ("good", self.good),
            ("cleared", self.cleared),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The release to go back to, and how sure we are of it."""

    release: Release
    standing: Standing


def earlier(releases: Sequence[Release], bad: Release) -> list[Release]:
    """Complete releases before `bad` with other content, newest first."""
    found = [
        r
        for r in releases
        if r.version < bad.version
        and r.status is ReleaseStatus.COMPLETE
        and not same_content(r.content, bad.content)
    ]
    return sorted(found, key=lambda r: r.version, reverse=True)


def goal(ledger: Ledger, releases: Sequence[Release], bad: Release) -> Goal | None:
    """The newest good one, else the newest nobody knows anything of, else none."""
    standings = [(r, ledger.standing(r)) for r in earlier(releases, bad)]
    for wanted in (Standing.GOOD, Standing.UNKNOWN):
        for release, standing in standings:
            if standing is wanted:
                return Goal(release=release, standing=standing)
    return None


def quarantined_only(ledger: Ledger, releases: Sequence[Release], bad: Release) -> bool:
    """Whether there are releases to go back to, and every one of them was rolled back from."""
    standings = {ledger.standing(r) for r in earlier(releases, bad)}
    return standings == {Standing.QUARANTINED}


def secrets_drift(releases: Sequence[Release], bad: Release) -> bool:
    """Whether `bad` has its predecessor's content: only secrets can have changed."""
    before = predecessor(releases, bad)
    return before is not None and same_content(before.content, bad.content)


def predecessor(releases: Sequence[Release], release: Release) -> Release | None:
    older = [r for r in releases if r.version < release.version]
    return max(older, key=lambda r: r.version, default=None)


def returns_to(releases: Sequence[Release], release: Release) -> Release | None:
    """The older release whose content this one brings back, with other content in between.

    A redeploy of the predecessor's content brings nothing back.
    """
    between = False
    for older in sorted(releases, key=lambda r: r.version, reverse=True):
        if older.version >= release.version:
            continue
        if not same_content(older.content, release.content):
            between = True
        elif between:
            return older
    return None
