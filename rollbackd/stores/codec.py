"""Turns what is kept into JSON text and back. Knows shapes, not tables.

A number JSON has no word for (inf, nan) is written as a string: one odd figure in the evidence
must never keep a rollback from being written down.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, cast

from rollbackd.core.asked import ModeSet, Proposed, Withdrawn
from rollbackd.core.facts import (
    Announced,
    Approved,
    Blessed,
    Paused,
    Quarantined,
    Rejected,
    ReleasesSeen,
    Resumed,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
    Unlocked,
    Unquarantined,
)
from rollbackd.core.model import (
    Json,
    JsonObject,
    Release,
    ReleaseStatus,
    Restore,
    RollBack,
    RollbackOutcome,
    TriggerState,
    Verdict,
)
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Phase, Plan, Step


def text(value: object) -> str:
    """JSON text of a value made of our dataclasses, enums, mappings, sequences and scalars."""
    return json.dumps(plain(value), separators=(",", ":"), allow_nan=False)


def plain(value: object) -> Json:
    """The same as `text`, before it is text."""
    match value:
        case enum.StrEnum():
            return value.value
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list() | set() | frozenset():
            return [plain(item) for item in value]
        case _:
            return _fields(value)


def _fields(value: object) -> Json:
    assert is_dataclass(value), f"{type(value).__name__} is not kept"
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}


def plain_object(value: object) -> JsonObject:
    """`plain` of something that is an object in JSON."""
    made = plain(value)
    assert isinstance(made, dict), "a dataclass or a mapping"
    return made


def parse_json(body: str) -> Json:
    return cast("Json", json.loads(body))


def parse(body: str) -> Any:
    """The edge where stored text becomes untyped JSON."""
    return json.loads(body)


def parse_object(body: str) -> JsonObject:
    return cast("JsonObject", json.loads(body))


def plan_from(body: str) -> Plan:
    return _plan(parse(body))


def _plan(raw: Mapping[str, Any]) -> Plan:
    steps = tuple(Step(**{**step, "phase": Phase(step["phase"])}) for step in raw["steps"])
    known = {**raw, "steps": steps, "notes": tuple(raw["notes"])}
    return Plan(**{**known, "deadline_at": float(raw["deadline_at"])})


def rollback_from(body: str) -> RollBack:
    return _rollback(parse(body))


def _rollback(raw: Mapping[str, Any]) -> RollBack:
    known = {
        "bad": _release(raw["bad"]),
        "good": _release(raw["good"]),
        "verdicts": tuple(_verdict(verdict) for verdict in raw["verdicts"]),
        "onset_at": _number(raw.get("onset_at")),
        "restore": _restore(raw.get("restore")),
    }
    return RollBack(**{**raw, **known})


def _restore(raw: Mapping[str, Any] | None) -> Restore | None:
    return None if raw is None else Restore(**{**raw, "tables": tuple(raw["tables"])})


def fact_kind(fact: TargetFact) -> str:
    """The word under which a fact is kept. Raises KeyError for one that never is."""
    return _WORDS[type(fact)]


def fact_from(kind: str, body: str) -> TargetFact:
    return _FACTS[kind](parse(body))


def _release(raw: Mapping[str, Any]) -> Release:
    created_at = _number(raw.get("created_at"))
    return Release(**{**raw, "status": ReleaseStatus(raw["status"]), "created_at": created_at})


def _verdict(raw: Mapping[str, Any]) -> Verdict:
    numbers = {name: _number(raw[name]) for name in ("since", "value", "threshold", "samples")}
    return Verdict(**{**raw, **numbers, "state": TriggerState(raw["state"])})


def _number(raw: float | str | None) -> float | None:
    return float(raw) if isinstance(raw, str) else raw


def _releases_seen(raw: Mapping[str, Any]) -> TargetFact:
    return ReleasesSeen(**{**raw, "releases": tuple(_release(r) for r in raw["releases"])})


def _paused(raw: Mapping[str, Any]) -> TargetFact:
    return Paused(**{**raw, "until": float(raw["until"])})


def _started(raw: Mapping[str, Any]) -> TargetFact:
    known = {"bad": _release(raw["bad"]), "good": _release(raw["good"])}
    return RollbackStarted(**{**raw, **known})


def _ended(raw: Mapping[str, Any]) -> TargetFact:
    times = {name: _number(raw.get(name)) for name in ("recovered_at", "proved_at")}
    return RollbackEnded(**{**raw, **times, "outcome": RollbackOutcome(raw["outcome"])})


def _proposed(raw: Mapping[str, Any]) -> TargetFact:
    known = {"decision": _rollback(raw["decision"]), "plan": _plan(raw["plan"])}
    return Proposed(**{**raw, **known})


def _mode_set(raw: Mapping[str, Any]) -> TargetFact:
    mode = None if raw["mode"] is None else Mode(raw["mode"])
    return ModeSet(**{**raw, "mode": mode, "until": _number(raw["until"])})


_FACTS: Final[Mapping[str, Callable[[Mapping[str, Any]], TargetFact]]] = {
    "releases_seen": _releases_seen,
    "paused": _paused,
    "resumed": lambda raw: Resumed(**raw),
    "approved": lambda raw: Approved(**raw),
    "rejected": lambda raw: Rejected(**raw),
    "unlocked": lambda raw: Unlocked(**raw),
    "rollback_started": _started,
    "rollback_switched": lambda raw: RollbackSwitched(**raw),
    "rollback_ended": _ended,
    "announced": lambda raw: Announced(**raw),
    "blessed": lambda raw: Blessed(**raw),
    "quarantined": lambda raw: Quarantined(**raw),
    "unquarantined": lambda raw: Unquarantined(**raw),
    "proposed": _proposed,
    "withdrawn": lambda raw: Withdrawn(**raw),
    "mode_set": _mode_set,
}
_WORDS: Final[Mapping[type[TargetFact], str]] = {
    ReleasesSeen: "releases_seen",
    Paused: "paused",
    Resumed: "resumed",
    Approved: "approved",
    Rejected: "rejected",
    Unlocked: "unlocked",
    RollbackStarted: "rollback_started",
    RollbackSwitched: "rollback_switched",
    RollbackEnded: "rollback_ended",
    Announced: "announced",
    Blessed: "blessed",
    Quarantined: "quarantined",
    Unquarantined: "unquarantined",
    Proposed: "proposed",
    Withdrawn: "withdrawn",
    ModeSet: "mode_set",
}
