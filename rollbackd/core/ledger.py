"""What is known of releases: good, bad or quarantined, and why. It chooses none of them.

A commit only ever speaks against a release: another build of a good commit is another thing until
it was seen well itself.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rollbackd.core.accused import Accused
from rollbackd.core.authorship import Authorship, same_commit, short
from rollbackd.core.marks import Marks, same_content
from rollbackd.core.model import JsonObject, Release, ReleaseStatus
from rollbackd.core.trial import Trial

NEWEST: Final = 10  # releases that may have come since the last look
KEPT: Final = 500  # releases whose reasons are remembered; their marks are for ever


class Standing(enum.StrEnum):
    GOOD = "good"
    UNKNOWN = "unknown"
    BAD = "bad"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Why a release has its standing, in one line, and since when."""

    standing: Standing
    why: str
    at: float


@dataclass(slots=True)
class Ledger:
    """What is remembered of releases. `cleared` had a clear verdict while they were current,
    `blessed` a person vouched for, `relapsed` came with what was quarantined: version and why.
    """

    quarantined: Marks = field(default_factory=Marks)
    bad: Marks = field(default_factory=Marks)
    good: Marks = field(default_factory=Marks)
    cleared: Marks = field(default_factory=Marks)
    blessed: Marks = field(default_factory=Marks)
    notes: dict[int, Note] = field(default_factory=dict)
    relapsed: dict[int, str] = field(default_factory=dict)
    authorship: Authorship = field(default_factory=Authorship)
    trial: Trial = field(default_factory=Trial)
    heard: dict[str, None] = field(default_factory=dict)  # what was said of releases, each once
    _changes: int = 0
    _accused: Accused = field(default_factory=Accused)

    # What is noted -------------------------------------------------------------------------

    def accuse(
        self, release: Release, onset: float, *, why: str = "", known: Sequence[Release] = ()
    ) -> None:
        """It is to blame for what began at `onset`. Whom a person vouches for is not accused."""
        version = release.version
        if (version in self._accused and version in self.bad.versions) or release in self.blessed:
            return
        self.bad.add(release)
        self._add_commit(self.bad, release, known)
        self._accused.add(version, onset)
        if self.standing(release) is Standing.BAD and version not in self.notes:
            self._note(release, Standing.BAD, why or "breached while it was current", onset)

    def acquit(self, release: Release, came_at: float) -> None:
        """Its successor came at `came_at`: what began no earlier was never its fault.

        A successor is seen some seconds after it came, and its failures seconds sooner than that.
        """
        if self._accused.since(release.version) >= came_at:
            self._accused.discard(release.version)
            self.bad.discard(release)
            self._forget(release, Standing.BAD)

    def prove_good(self, release: Release, at: float) -> None:
        """It was seen well until its successor came at `at`."""
        self.good.add(release)
        if self.standing(release) is Standing.GOOD and release not in self.blessed:
            self._note(release, Standing.GOOD, "was well until its successor came", at)

    def quarantine(
        self, release: Release, at: float, *, why: str, known: Sequence[Release] = ()
    ) -> None:
        """Never a goal again, unless a person says so; nor is another build of its commit."""
        self.blessed.discard(release)
        self.quarantined.add(release)
        self._add_commit(self.quarantined, release, known)
        self._note(release, Standing.QUARANTINED, why, at)

    def bless(self, release: Release, at: float = 0.0, *, why: str = "blessed") -> None:
        """A person vouches for it: good, whatever was or will be seen of it."""
        self.unquarantine(release)
        self.good.add(release)
        self.blessed.add(release)
        self._note(release, Standing.GOOD, why, at)

    def unquarantine(self, release: Release) -> None:
        """What was known of it is unknown again."""
        for marks in self._marks().values():
            marks.discard(release)
        self._accused.discard(release.version)
        self.notes.pop(release.version, None)
        self._changes += 1

    def clear_of_blame(self, release: Release, at: float, *, why: str) -> None:
        """A person says that what it was blamed for was not its fault; whether it is good is not
        said.
        """
        self.unquarantine(release)
        self._note(release, Standing.UNKNOWN, why, at)

    def learn_commits(self, before: Mapping[int, str], known: Sequence[Release]) -> None:
        """Some releases' commits became known only now; `before`: what was known, by version."""
        for release in known:
            if release.commit and before.get(release.version, release.commit) != release.commit:
                for marks in (self.quarantined, self.bad):
                    if release.version in marks.versions:
                        self._add_commit(marks, release, known)

    def note_relapses(self, known: Sequence[Release]) -> None:
        """Remember which of the newest came with what was quarantined before."""
        for release in known[:NEWEST]:
            if release.version not in self.relapsed:
                why = self._relapse(release, known)
                if why:
                    self.relapsed[release.version] = why
                    self._changes += 1

    def hear(self, word: str) -> bool:
        """Whether this is said for the first time."""
        if word in self.heard:
            return False
        self.heard[word] = None
        if len(self.heard) > KEPT:
            del self.heard[next(iter(self.heard))]
        self._changes += 1
        return True

    # What is asked -------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """Grows with whatever `as_json` would tell otherwise."""
        marks = sum(each.changes for each in self._marks().values())
        return self._changes + marks + self.authorship.changes + self.trial.changes

    def standing(self, release: Release) -> Standing:
        if release in self.quarantined:
            return Standing.QUARANTINED
        if release in self.bad and release not in self.blessed:
            return Standing.BAD
        if release in self.good and release.status is ReleaseStatus.COMPLETE:
            return Standing.GOOD
        return Standing.UNKNOWN

    def why(self, release: Release, known: Sequence[Release]) -> str:
        """Why it has its standing, in one line."""
        standing = self.standing(release)
        note = self.notes.get(release.version)
        if note is not None and note.standing is standing:
            return note.why
        if standing is Standing.UNKNOWN:
            if release.status is not ReleaseStatus.COMPLETE:
                return f"its deploy is {release.status.value}"
            return "well so far" if release in self.cleared else "was not watched for long enough"
        return self._like(release, standing, known) or _USUAL[standing]

    def relapse(self, release: Release | None) -> str:
        """What the release brings back that was quarantined; empty where it brings nothing."""
        if release is None or release not in self.quarantined:
            return ""
        return self.relapsed.get(release.version, "")

    def against(self, commit: str, known: Sequence[Release]) -> str:
        """Why this commit may not go out; empty where nothing is known against it."""
        if not self.quarantined.has_commit(commit):
            return ""
        found = [r for r in known if same_commit(r.commit, commit) and r in self.quarantined]
        for release in found:
            if release.version in self.quarantined.versions:
                return f"v{release.version} {self.why(release, known)}"
        return f"commit {short(commit)} {_USUAL[Standing.QUARANTINED]}"

    # Across restarts -----------------------------------------------------------------------

    def as_json(self) -> JsonObject:
        """For the store; `restore` reads it back."""
        marks: JsonObject = {name: each.as_json() for name, each in self._marks().items()}
        notes: JsonObject = {
            str(version): {"standing": note.standing.value, "why": note.why, "at": note.at}
            for version, note in self.notes.items()
        }
        return {
            **marks,
            "notes": notes,
            "relapsed": {str(version): why for version, why in self.relapsed.items()},
            "accused": self._accused.as_json(),
            "authorship": self.authorship.as_json(),
            "trial": self.trial.as_json(),
            "heard": [*self.heard],
        }

    def restore(self, kept: JsonObject) -> None:
        """Add what an earlier process knew. What does not look like it is left out."""
        for name, marks in self._marks().items():
            marks.restore(_object(kept, name))
        for version, row in _object(kept, "notes").items():
            note = _note_from(row if isinstance(row, dict) else {})
            if version.isdigit() and note is not None:
                self.notes.setdefault(int(version), note)
        for version, why in _object(kept, "relapsed").items():
            if version.isdigit() and isinstance(why, str):
                self.relapsed.setdefault(int(version), why)
        heard = kept.get("heard")
        if isinstance(heard, list):
            self.heard.update(dict.fromkeys(word for word in heard if isinstance(word, str)))
        self._accused.restore(_object(kept, "accused"))
        self.authorship.restore(_object(kept, "authorship"))
        self.trial.restore(_object(kept, "trial"))

    # ---------------------------------------------------------------------------------------

    def _marks(self) -> dict[str, Marks]:
        return {
            "quarantined": self.quarantined,
            "bad": self.bad,
            "good": self.good,
            "cleared": self.cleared,
            "blessed": self.blessed,
        }

    def _note(self, release: Release, standing: Standing, why: str, at: float) -> None:
        self.notes[release.version] = Note(standing=standing, why=why, at=at)
        self._changes += 1
        if len(self.notes) > KEPT:
            del self.notes[min(self.notes)]

    def _forget(self, release: Release, standing: Standing) -> None:
        note = self.notes.get(release.version)
        if note is not None and note.standing is standing:
            del self.notes[release.version]
            self._changes += 1

    def _add_commit(self, marks: Marks, release: Release, known: Sequence[Release]) -> None:
        """Unless an older release had it: then the commit is not what made this one bad.

        So it is with a bad config on a good commit, and with a label that every image inherits.
        """
        older = (r for r in known if r.version < release.version)
        if not any(same_commit(r.commit, release.commit) and r not in marks for r in older):
            marks.add_commit(release.commit)

    def _relapse(self, release: Release, known: Sequence[Release]) -> str:
        if release not in self.quarantined or release.version in self.quarantined.versions:
            return ""
        older = [r for r in known if r.version < release.version]
        return self._like(release, Standing.QUARANTINED, older)

    def _like(self, release: Release, standing: Standing, known: Sequence[Release]) -> str:
        """Which of `known` it has its standing from."""
        marks = self._marks()[standing.value]
        for other in known:
            if other.version == release.version or other.version not in marks.versions:
                continue
            note = self.notes.get(other.version)
            why = note.why if note is not None and note.standing is standing else _USUAL[standing]
            if same_content(other.content, release.content):
                return f"has the content of v{other.version}, which {why}"
            if same_commit(other.commit, release.commit) and marks.has_commit(release.commit):
                return f"has the commit {short(release.commit)} of v{other.version}, which {why}"
        return ""


_USUAL: Final = {
    Standing.GOOD: "was well until its successor came",
    Standing.BAD: "breached while it was current",
    Standing.QUARANTINED: "was rolled back from",
}


def _object(kept: JsonObject, name: str) -> JsonObject:
    return found if isinstance(found := kept.get(name), dict) else {}


def _note_from(row: JsonObject) -> Note | None:
    standing, why, at = row.get("standing"), row.get("why"), row.get("at")
    if standing not in set(Standing) or not isinstance(why, str):
        return None
    if isinstance(at, bool) or not isinstance(at, int | float):
        return None
    return Note(standing=Standing(str(standing)), why=why, at=at)
