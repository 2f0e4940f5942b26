"""Marks on releases: by version, by content and by commit. What a mark means is not known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.authorship import same_commit
from rollbackd.core.model import JsonObject, Release

CONFIG_MARK: Final = "+config:"


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
    """Releases something is known of, by version, by content and by commit: each is enough."""

    contents: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)

    def add(self, release: Release) -> None:
        self.versions.add(release.version)
        if release.content not in self.contents:
            self.contents.append(release.content)

    def add_commit(self, commit: str) -> None:
        if commit and commit not in self.commits:
            self.commits.append(commit)

    def discard(self, release: Release) -> None:
        self.versions.discard(release.version)
        self.contents = [c for c in self.contents if not same_content(c, release.content)]
        self.commits = [c for c in self.commits if not same_commit(c, release.commit)]

    def __contains__(self, release: Release) -> bool:
        # A release's content may become known more exactly later; its version stays.
        return (
            release.version in self.versions
            or self.has_content(release.content)
            or self.has_commit(release.commit)
        )

    def as_json(self) -> JsonObject:
        return {
            "contents": [*self.contents],
            "versions": [*sorted(self.versions)],
            "commits": [*self.commits],
        }

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        self.contents.extend(c for c in _texts(kept, "contents") if c not in self.contents)
        self.commits.extend(c for c in _texts(kept, "commits") if c not in self.commits)
        versions = kept.get("versions")
        if isinstance(versions, list):
            self.versions.update(v for v in versions if isinstance(v, int))

    def has_content(self, content: str) -> bool:
        return any(same_content(content, known) for known in self.contents)

    def has_commit(self, commit: str) -> bool:
        return any(same_commit(commit, known) for known in self.commits)


def _texts(kept: JsonObject, name: str) -> list[str]:
    found = kept.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
