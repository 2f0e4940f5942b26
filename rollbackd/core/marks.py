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
    """Releases something is known of, by version, by content and by commit: each is enough.

    `changes` counts what was new, so that nobody has to compare two states of it.
    """

    contents: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)
    changes: int = field(default=0, compare=False)
    _by_image: dict[str, set[str]] = field(default_factory=dict, compare=False, repr=False)

    def add(self, release: Release) -> None:
        self._add_content(release.content)
        if release.version not in self.versions:
            self.versions.add(release.version)
            self.changes += 1

    def add_commit(self, commit: str) -> None:
        if commit and commit not in self.commits:
            self.commits.append(commit)
            self.changes += 1

    def discard(self, release: Release) -> None:
        if release not in self:
            return
        self.versions.discard(release.version)
        self.commits = [c for c in self.commits if not same_commit(c, release.commit)]
        contents, self.contents = self.contents, []
        self._by_image.clear()
        for content in contents:
            if not same_content(content, release.content):
                self._add_content(content)
        self.changes += 1

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
        for content in _texts(kept, "contents"):
            self._add_content(content)
        for commit in _texts(kept, "commits"):
            self.add_commit(commit)
        versions = kept.get("versions")
        if isinstance(versions, list):
            self.versions.update(v for v in versions if isinstance(v, int))
            self.changes += 1

    def has_content(self, content: str) -> bool:
        """Whether `same_content` says so of any of them."""
        image = content.partition(CONFIG_MARK)[0]
        alike = self._by_image.get(image)
        if alike is None:
            return False
        return CONFIG_MARK not in content or content in alike or image in alike

    def has_commit(self, commit: str) -> bool:
        return any(same_commit(commit, known) for known in self.commits)

    def _add_content(self, content: str) -> None:
        alike = self._by_image.setdefault(content.partition(CONFIG_MARK)[0], set())
        if content not in alike:
            alike.add(content)
            self.contents.append(content)
            self.changes += 1


def _texts(kept: JsonObject, name: str) -> list[str]:
    found = kept.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
