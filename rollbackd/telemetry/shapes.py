"""Turns the snapshot into the JSON that people and scripts read. Pure; adds no judgement.

Times stay epoch seconds; what is unknown is null, and so is a number that JSON cannot write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rollbackd.core.model import (
    Decision,
    GateSays,
    Hold,
    Json,
    JsonObject,
    Machine,
    Release,
    Verdict,
)
from rollbackd.core.sentence import headline, level, odds_of
from rollbackd.core.snapshot import (
    ProbeView,
    ProposalView,
    ReleaseView,
    RollbackView,
    Snapshot,
    TargetView,
)
from rollbackd.telemetry.advice import to_act
from rollbackd.telemetry.plan_shape import plan

__all__ = ["plan"]  # beside what stands here
_ASKED: Final = {True: "auto", False: "manual"}
SHOWN: Final = 10  # releases in the status; all of them are asked for by name


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the status says of the daemon itself. `config_error` is empty when all is well."""

    version: str
    started_at: float
    config_hash: str = ""
    config_error: str = ""


def status(snapshot: Snapshot | None, about: About) -> JsonObject:
    """Everything at a glance. Before the first turn there are no targets yet."""
    targets = snapshot.targets if snapshot is not None else ()
    return {
        "version": about.version,
        "started_at": about.started_at,
        "at": snapshot.at if snapshot is not None else None,
        "control_ok": snapshot.control_ok if snapshot is not None else None,
        "config": {
            "hash": snapshot.config_hash if snapshot is not None else about.config_hash,
            "ok": not about.config_error,
            "error": about.config_error or None,
        },
        "targets": [target(view) for view in targets],
    }


def target(view: TargetView, app: str = "") -> JsonObject:
    """One target, whole. `app` is what the platform calls it, where the view does not know."""
    return {
        "name": view.name,
        "app": view.app or app,
        "mode": str(view.mode),
        "healthy": view.healthy,
        "evaluated_at": _number(view.evaluated_at),
        "mode_set": view.mode_set,
        "proposal": proposal(view.proposal),
        "paused_until": _number(view.paused_until),
        "paused": view.paused,
        "locked_out": view.locked_out,
        "locked_why": view.locked_why,
        "cooldown_until": _number(view.cooldown_until),
        "budget_left": view.budget_left,
        "learning": list[Json](view.learning),
        "relapse": view.relapse,
        "trial": view.trial,
        "would_have": [would.as_json() for would in view.would_have],
        "release": _first(view.releases, current=True),
        "goal": _first(view.releases, current=False),
        "releases": [release(r) for r in view.releases[:SHOWN]],
        "headline": sentence(view),
        "decision": decision(view.decision),
        "then": "" if view.decision is None else _then(view.decision, sentence(view)),
        "triggers": [trigger(v) for v in view.verdicts],
        "probes": [probe(p) for p in view.probes],
        "machines": [machine(m) for m in view.machines],
        "rollback": rollback(view.rollback),
    }


def releases(view: TargetView) -> JsonObject:
    """What could be gone back to, newest first."""
    return {"target": view.name, "releases": [release(r) for r in view.releases]}


def explanation(made: Decision, gates: Sequence[GateSays], view: TargetView) -> JsonObject:
    """Why (not) now: the numbers, every gate, what would have to happen, where it would go."""
    first = headline(made, _current(view), _change(view))
    return {
        "target": made.target,
        "mode": str(view.mode),
        "paused": view.paused,
        "locked_out": view.locked_out,
        "locked_why": view.locked_why,
        "mode_set": view.mode_set,
        "release": _first(view.releases, current=True),
        "rollback": rollback(view.rollback),
        "headline": first,
        "decision": decision(made),
        "then": _then(made, first),
        "gates": [{"reason": str(g.reason), "holds": g.holds, "why": g.why} for g in gates],
        "triggers": [trigger(v) for v in made.verdicts],
        "probes": [probe(p) for p in view.probes if p.outcome not in {"", "ok"}],
        "to_act": list[Json](to_act(made, gates)),
        "goal": _first(view.releases, current=False),
        "passed_over": [release(r) for r in view.releases if r.passed_over],
        "learning": list[Json](view.learning),
        "relapse": view.relapse,
        "trial": view.trial,
        "would_have": [would.as_json() for would in view.would_have],
    }


def sentence(view: TargetView) -> str:
    """The first sentence about a target; empty before the first decision."""
    if view.decision is None:
        return ""
    return headline(view.decision, _current(view), _change(view))


def past(row: JsonObject) -> JsonObject:
    """One rollback of the store's history, in the words of the API; a second time is harmless."""
    return {
        **{name: value for name, value in row.items() if name != "rollback"},
        "id": row.get("id", row.get("rollback")),
        "started_at": row.get("started_at", row.get("decided_at", row.get("created_at"))),
        "reason": row.get("why") or row.get("reason") or "",
        "steps": row.get("steps", []),
    }


def decision(made: Decision | None) -> JsonObject | None:
    if made is None:
        return None
    hold = isinstance(made, Hold)
    reason = made.reason.value if isinstance(made, Hold) else _ASKED[made.automatic]
    return {
        "kind": "hold" if hold else "roll_back",
        "reason": reason,
        "why": made.why,
        "trigger": made.trigger,
        "at": _number(made.at),
        "from_version": made.bad.version if made.bad is not None else None,
        "to_version": made.good.version if made.good is not None else None,
        "evidence": {name: _json(value) for name, value in made.evidence.items()},
    }


def trigger(verdict: Verdict) -> JsonObject:
    return {
        "name": verdict.trigger,
        "state": str(verdict.state),
        "value": _number(verdict.value),
        "threshold": _number(verdict.threshold),
        "samples": _number(verdict.samples),
        "why": verdict.why,
        "since": _number(verdict.since),
        "odds": _number(odds_of(verdict)),
        "level": level(verdict),
    }


def probe(view: ProbeView) -> JsonObject:
    return {
        "name": view.name,
        "kind": view.kind,
        "outcome": view.outcome,
        "detail": view.detail,
        "at": _number(view.at),
        "ok_at": _number(view.ok_at),
        "seconds": _number(view.seconds),
        "value": _number(view.value),
        "samples": _number(view.samples),
        "failures_in_a_row": view.failures_in_a_row,
        "interval_seconds": view.interval_seconds,
    }


def machine(seen: Machine) -> JsonObject:
    return {
        "id": seen.id,
        "state": seen.state,
        "group": seen.group,
        "region": seen.region,
        "release": seen.release_version,
        "critical_checks": seen.critical_checks,
        "crash_looping": seen.crash_looping,
        "cordoned": seen.cordoned,
        "reachable": seen.reachable,
        "lease_owner": seen.lease_owner,
    }


def release(view: ReleaseView) -> JsonObject:
    about: Release = view.release
    return {
        "version": about.version,
        "image": about.image,
        "status": str(about.status),
        "created_at": _number(about.created_at),
        "author": about.author,
        "commit": about.commit,
        "url": view.url,
        "content": about.content,
        "standing": view.standing,
        "why": view.why,
        "passed_over": view.passed_over,
        "current": view.current,
        "goal": view.goal,
    }


def proposal(view: ProposalView | None) -> JsonObject | None:
    """What a person is asked, whole: `hash` is what an approval is bound to."""
    if view is None:
        return None
    return {
        "id": view.rollback,
        "hash": view.plan.hash,
        "from_version": view.bad_version,
        "to_version": view.good_version,
        "trigger": view.trigger,
        "why": view.why,
        "asked_at": _number(view.asked_at),
        "answer_by": _number(view.answer_by),
        "overdue": view.overdue,
        "approved_by": view.approved_by,
        "plan": plan(view.plan),
    }


def rollback(view: RollbackView | None) -> JsonObject | None:
    if view is None:
        return None
    return {
        "id": view.rollback,
        "from_version": view.bad_version,
        "to_version": view.good_version,
        "started_at": _number(view.started_at),
        "switched_at": _number(view.switched_at),
        "cause": view.cause,
    }


def _then(made: Decision, first: str) -> str:
    """What the decision says besides the first sentence."""
    why = made.why.removeprefix(first).removeprefix("; ")
    return "" if first.endswith(why) else why


def _current(view: TargetView) -> Release | None:
    return next((r.release for r in view.releases if r.current), None)


def _change(view: TargetView) -> tuple[int, int] | None:
    running = view.rollback
    return None if running is None else (running.bad_version, running.good_version)


def _first(views: Sequence[ReleaseView], *, current: bool) -> JsonObject | None:
    """The current release, or else the goal of a rollback."""
    found = (v for v in views if (v.current if current else v.goal))
    return next((release(v) for v in found), None)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _json(value: Json) -> Json:
    """Evidence as JSON can write it: no NaN, no infinity."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    return value
