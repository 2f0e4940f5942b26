"""What people said and were asked, read from a line of facts. It carries nothing out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from rollbackd.config.types import LONGEST_SECONDS
from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.caps import proposal_name
from rollbackd.core.facts import (
    Announced,
    Approved,
    Blessed,
    Paused,
    Quarantined,
    Rejected,
    Resumed,
    TargetFact,
    Unlocked,
    Unquarantined,
)
from rollbackd.core.model import Release, RollBack, RollbackId, TargetName, TriggerName
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Plan
from rollbackd.replay import fields
from rollbackd.replay.fields import BadLine, Row

Known: TypeAlias = Callable[[int, str], Release]  # a release that was told, by version and key

_WHO: Final = {"by", "reason"}
_LIMITS: Final = ("until", "for", "seconds")
_MODES: Final = {mode.value: mode for mode in Mode}
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "pause": frozenset({*_WHO, *_LIMITS}),
    "set": frozenset({*_WHO, *_LIMITS, "mode"}),
    "resume": frozenset(_WHO),
    "unlock": frozenset(_WHO),
    "approve": frozenset({*_WHO, "rollback", "hash"}),
    "reject": frozenset({*_WHO, "rollback"}),
    "propose": frozenset({"from", "to", "hash", "trigger", "plan", "why"}),
    "withdraw": frozenset({"rollback", "why"}),
    "bless": frozenset({*_WHO, "version"}),
    "quarantine": frozenset({*_WHO, "version"}),
    "unquarantine": frozenset({*_WHO, "version"}),
    "deploy": frozenset({"commit", "by", "url"}),
}
_STANDS: Final[Mapping[str, type[Blessed | Quarantined | Unquarantined]]] = {
    "bless": Blessed,
    "quarantine": Quarantined,
    "unquarantine": Unquarantined,
}
KINDS: Final = frozenset(_KEYS)


def read(
    row: Row, at: float, target: TargetName, *, common: frozenset[str], known: Known
) -> TargetFact:
    """Raises BadLine. `known` finds the releases that a proposal or a standing is about."""
    kind = row["fact"]
    fields.known_keys(row, common | _KEYS[kind])
    match kind:
        case "pause":
            return _pause(row, at, target)
        case "set":
            return _set(row, at, target)
        case "propose":
            return _propose(row, at, target, known)
        case "bless" | "quarantine" | "unquarantine":
            return _stands(row, at, target, known)
        case "deploy":
            commit, url = fields.text(row, "commit", ""), fields.text(row, "url", "")
            return Announced(target=target, at=at, commit=commit, by=_by(row), url=url)
        case "resume":
            return Resumed(target=target, at=at, by=_by(row))
        case "unlock":
            return Unlocked(target=target, at=at, by=_by(row), reason=_reason(row))
        case _:
            return _answer(row, at, target)


def _answer(row: Row, at: float, target: TargetName) -> Approved | Rejected | Withdrawn:
    rollback = RollbackId(fields.text(row, "rollback", ""))  # "": what is proposed then
    match row["fact"]:
        case "withdraw":
            why = fields.text(row, "why", "")
            return Withdrawn(target=target, at=at, rollback=rollback, why=why)
        case "reject":
            return Rejected(
                target=target, at=at, rollback=rollback, by=_by(row), reason=_reason(row)
            )
        case _:
            digest = fields.text(row, "hash", "")
            return Approved(
                target=target, at=at, rollback=rollback, by=_by(row), hash=digest,
                reason=_reason(row),
            )  # fmt: skip


def _pause(row: Row, at: float, target: TargetName) -> Paused:
    until = _until(row, at)
    if until is None:
        raise BadLine("a pause fact needs one of: until, for")
    return Paused(target=target, at=at, until=until, by=_by(row), reason=_reason(row))


def _set(row: Row, at: float, target: TargetName) -> ModeSet:
    """Without `mode`: what was set is taken back."""
    mode = None
    if "mode" in row:
        word = fields.text(row, "mode")
        if word not in _MODES:
            raise BadLine(f"unknown mode {word[:40]!r}, known are: {', '.join(_MODES)}")
        mode = _MODES[word]
    return ModeSet(
        target=target, at=at, mode=mode, until=_until(row, at), by=_by(row), reason=_reason(row)
    )


def _until(row: Row, at: float) -> float | None:
    """When it ends: a time, or a while from now on. What ends before it begins is a slip."""
    given = [key for key in _LIMITS if key in row]
    if not given:
        return None
    if len(given) > 1:
        raise BadLine(f"a {row['fact']} fact needs one of: until, for")
    key = given[0]
    if key == "until":
        until = fields.time(row, key)
    else:
        until = at + (fields.count(row, key) if key == "seconds" else fields.duration(row, key))
    if until <= at:
        raise BadLine(f"{key} ends at {until:.15g}, no later than it begins")
    if until - at > LONGEST_SECONDS:
        raise BadLine(f"{key} is more than ten years")
    return until


def _propose(row: Row, at: float, target: TargetName, known: Known) -> Proposed:
    """A plan that a person was asked about. Its steps are not told: nothing here takes them."""
    bad, good = known(fields.whole(row, "from"), "from"), known(fields.whole(row, "to"), "to")
    trigger, name = fields.name(row, "trigger"), fields.text(row, "plan", "app")
    rollback = proposal_name(target, bad, good)
    decision = RollBack(
        target=target, at=at, trigger=TriggerName(trigger), bad=bad, good=good, plan=name,
        why=fields.text(row, "why", ""),
    )  # fmt: skip
    plan = Plan(
        rollback=decision.id, target=target, name=name, from_version=bad.version,
        to_version=good.version, steps=(), parallel=1, deadline_at=at,
        hash=fields.name(row, "hash"), settings={},
    )  # fmt: skip
    return Proposed(target=target, at=at, rollback=rollback, decision=decision, plan=plan)


def _stands(
    row: Row, at: float, target: TargetName, known: Known
) -> Blessed | Quarantined | Unquarantined:
    made = _STANDS[row["fact"]]
    version = known(fields.whole(row, "version"), "version").version
    return made(target=target, at=at, version=version, by=_by(row), reason=_reason(row))


def _by(row: Row) -> str:
    return fields.text(row, "by", "") or "somebody"


def _reason(row: Row) -> str:
    return fields.text(row, "reason", "")
