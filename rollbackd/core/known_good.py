"""Which release to go back to, and why not another. It never decides whether to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollbackd.core.ledger import Ledger, Standing
from rollbackd.core.marks import same_content
from rollbackd.core.model import Release, ReleaseStatus


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


def passed_over(
    ledger: Ledger, releases: Sequence[Release], bad: Release, found: Goal | None
) -> dict[int, str]:
    """Why the releases between `bad` and the goal are not gone back to, by version.

    Without a goal: why none of them is.
    """
    oldest = 0 if found is None else found.release.version
    between = [r for r in releases if oldest < r.version < bad.version]
    return {r.version: _not_that(ledger, releases, r, bad, found) for r in between}


def _not_that(
    ledger: Ledger, releases: Sequence[Release], one: Release, bad: Release, found: Goal | None
) -> str:
    if one.status is not ReleaseStatus.COMPLETE:
        return f"its deploy is {one.status.value}"
    if same_content(one.content, bad.content):
        return f"has the content of v{bad.version}"
    standing, why = ledger.standing(one), ledger.why(one, releases)
    if standing is Standing.UNKNOWN and found is not None:
        return f"unknown: {why}; v{found.release.version} is {found.standing.value}"
    return f"{standing.value}: {why}"


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
