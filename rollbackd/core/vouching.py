"""What people, pipelines and rollbacks say of releases, noted in the ledger. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias, assert_never

from rollbackd.core.facts import (
    Announced,
    Blessed,
    Quarantined,
    RollbackStarted,
    Unquarantined,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Release

Said: TypeAlias = Announced | Blessed | Quarantined | Unquarantined | RollbackStarted


def hear(ledger: Ledger, said: Said, known: Sequence[Release]) -> None:
    """Take it in, once: a ledger that was restored knows what it was told, and what came after.

    What is said of a release that nobody knows is not taken in.
    """
    if isinstance(said, Announced):
        ledger.authorship.hear(said)
        return
    if isinstance(said, RollbackStarted) and said.bad.version == said.good.version:
        return  # of its data alone: no release was rolled back from
    if isinstance(said, RollbackStarted):
        release: Release | None = said.good if said.undoes else _bad(said, known)
    else:
        release = _the(known, said.version)
    word = f"{type(said).__name__} v{release.version if release else 0} {said.at!r}"
    if release is None or not ledger.hear(word):
        return
    match said:
        case RollbackStarted(undoes=str()):
            ledger.clear_of_blame(release, said.at, why="was called a false alarm by a person")
        case RollbackStarted():
            who = said.trigger or "a person"
            why = f"was rolled back to v{said.good.version} by {who}"
            ledger.quarantine(release, said.at, why=why, known=known)
            ledger.trial.acted(release.version)
        case Blessed():
            ledger.bless(release, said.at, why=f"was blessed by {said.by}: {said.reason}")
        case Quarantined():
            why = f"was quarantined by {said.by}: {said.reason}"
            ledger.quarantine(release, said.at, why=why, known=known)
        case Unquarantined():
            ledger.unquarantine(release)
        case _:
            assert_never(said)


def _bad(said: RollbackStarted, known: Sequence[Release]) -> Release:
    """With its commit, where that became known only after the rollback was decided."""
    found = _the(known, said.bad.version)
    commit = said.bad.commit or (found.commit if found is not None else "")
    return replace(said.bad, commit=commit)


def _the(known: Sequence[Release], version: int) -> Release | None:
    return next((r for r in known if r.version == version), None)
