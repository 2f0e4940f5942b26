"""A desk that keeps its orders in a list, and vitals that can be set."""

from dataclasses import dataclass, field

from rollbackd.core.errors import UsageError
from rollbackd.core.model import GateSays, HoldReason, Json, JsonObject, Restore
from rollbackd.telemetry import shapes
from rollbackd.telemetry.shapes import About
from tests import support_views as views


def past(rollback: str, state: str = "succeeded", outcome: str | None = "recovered") -> JsonObject:
    return {
        "rollback": rollback,
        "target": "shop",
        "trigger": "errors",
        "from_version": 42,
        "to_version": 41,
        "state": state,
        "outcome": outcome,
        "decided_at": views.T0,
        "finished_at": views.T0 + 41 if outcome else None,
        "why": "12 % of 1,003 requests failed",
        "requested_by": "rollbackd",
        "steps": [
            {
                "seq": 1,
                "phase": "execute",
                "name": "update m1",
                "state": "done",
                "attempts": 1,
                "started_at": views.T0,
                "finished_at": views.T0 + 3,
                "error": "",
            }
        ],
    }


PLAN: JsonObject = {
    "name": "app",
    "target": "shop",
    "from_version": 42,
    "to_version": 41,
    "notes": ["env: LOG_LEVEL goes back to info"],
    "steps": [
        {"seq": 1, "phase": "execute", "kind": "update", "name": "update m1", "mutates": True}
    ],
}


@dataclass
class FakeDesk:
    """Fits `web.surface.Desk`."""

    names: tuple[str, ...] = ("shop",)
    orders: list[JsonObject] = field(default_factory=list)
    refusal: Exception | None = None
    observed: JsonObject = field(default_factory=lambda: {"target": "shop", "observed": []})
    refused: tuple[str, ...] = ()  # commits that the gate lets nobody deploy
    ends: list[JsonObject] = field(default_factory=list)  # what `rollback` tells, one by one
    finishes: bool = False  # `order_rollback` goes on with one that held
    unlocking_ends: list[Json] = field(default_factory=list)
    config_error: str = ""
    held: str = ""  # why an approval is held
    still_held: str = ""  # what an abort could not let go
    why: str = "2.1 % of 1,200 requests failed, limit 5 %"
    seen: dict[str, object] = field(default_factory=dict)  # what is another in the target's view

    def status(self) -> JsonObject:
        self._maybe_refuse()
        about = About(version="1.2.3", started_at=views.T0, config_error=self.config_error)
        verdict = views.verdict(why=self.why)
        seen = [
            views.target(name=name, **{"verdicts": (verdict,), "app": f"hot-{name}", **self.seen})
            for name in self.names
        ]
        answer = shapes.status(views.snapshot(), about)
        return {**answer, "targets": [shapes.target(t) for t in seen]}

    def target(self, name: str) -> JsonObject:
        self._known(name)
        return shapes.target(views.target(name=name, **self.seen))

    def releases(self, name: str) -> JsonObject:
        self._known(name)
        return shapes.releases(views.target(name=name, **self.seen))

    def explain(self, name: str) -> JsonObject:
        self._known(name)
        gate = GateSays(reason=HoldReason.PAUSED, holds=True, why="by ann, 10 m left")
        return shapes.explanation(views.hold(), [gate], views.target(**self.seen))

    async def database(self, name: str) -> JsonObject:
        self._known(name)
        return self.observed

    def gate(self, name: str, sha: str) -> JsonObject:
        self._known(name)
        ok = sha not in self.refused
        why = "nothing is known against it" if ok else "v42 was rolled back to v41 by errors"
        return {"target": name, "commit": sha, "ok": ok, "why": why}

    async def announce(self, target: str, *, sha: str, actor: str, url: str, by: str) -> JsonObject:
        self.orders.append({"announce": target, "sha": sha, "actor": actor, "url": url, "by": by})
        return {**self.gate(target, sha), "by": actor or by, "url": url}

    async def bless(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        return self._say("bless", target, version, reason, by)

    async def quarantine(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        return self._say("quarantine", target, version, reason, by)

    async def unquarantine(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        return self._say("unquarantine", target, version, reason, by)

    def _say(self, word: str, target: str, version: int, reason: str, by: str) -> JsonObject:
        self.orders.append({word: target, "version": version, "reason": reason, "by": by})
        self._known(target)
        return {"target": target, "version": version, "was": "bad", "standing": "good"}

    async def rollbacks(self, target: str | None, limit: int) -> JsonObject:
        self.orders.append({"look": "rollbacks", "target": target, "limit": limit})
        self._maybe_refuse()
        return {
            "rollbacks": [past("r2"), past("r1", "failed", "not_recovered")][:limit],
            "would_have": [{"target": "shop", **w.as_json()} for w in views.WOULD_HAVE],
        }

    async def rollback(self, rollback: str, /) -> JsonObject:
        if self.ends:
            return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        raise UsageError(f"no rollback {rollback!r}", hint="rollbackd history lists them")

    async def order_rollback(
        self,
        target: str,
        *,
        to: int | None,
        plan: str | None,
        reason: str,
        kind: str,
        dry_run: bool,
        by: str,
        plan_hash: str = "",
        to_migration: str = "",
        restore: Restore | None = None,
    ) -> JsonObject:
        order: JsonObject = {"target": target, "to": to, "plan": plan, "reason": reason}
        order |= {"plan_hash": plan_hash} if plan_hash else {}
        order |= {"to_migration": to_migration} if to_migration else {}
        order |= {"restore": restore.snapshot, "tables": list(restore.tables)} if restore else {}
        self.orders.append({**order, "class": kind, "dry_run": dry_run, "by": by})
        self._known(target)
        return PLAN if dry_run else {"rollback": "r9", "held": self.finishes, **PLAN}

    async def pause(self, target: str, *, seconds: float, reason: str, by: str) -> JsonObject:
        self.orders.append({"pause": target, "seconds": seconds, "reason": reason, "by": by})
        self._known(target)
        return {"target": target, "paused_until": views.T0 + seconds}

    async def unlock(self, target: str, *, reason: str, by: str) -> JsonObject:
        self.orders.append({"unlock": target, "reason": reason, "by": by})
        return {"target": target, "locked_out": False, "ended": self.unlocking_ends}

    async def set_mode(
        self, target: str, *, mode: str, seconds: float | None, reason: str, by: str
    ) -> JsonObject:
        self.orders.append(
            {"set": target, "mode": mode, "seconds": seconds, "reason": reason, "by": by}
        )
        self._known(target)
        until = None if seconds is None else views.T0 + seconds
        return {"target": target, "mode": mode, "configured": "approve", "until": until}

    async def approve(self, what: str, /, *, seen: str, reason: str, by: str) -> JsonObject:
        self.orders.append({"approve": what, "hash": seen, "reason": reason, "by": by})
        self._maybe_refuse()
        if self.held:
            until = views.T0 + 600
            return {"result": "held", "reason": "blind", "why": self.held, "stands_until": until}
        return {"result": "began", "proposal": what, "rollback": "r9", **PLAN}

    async def reject(self, what: str, /, *, reason: str, by: str) -> JsonObject:
        self.orders.append({"reject": what, "reason": reason, "by": by})
        self._maybe_refuse()
        return {"target": "shop", "proposal": what, "rejected_by": by}

    async def abort(self, rollback: str, /, *, reason: str, by: str) -> JsonObject:
        self.orders.append({"abort": rollback, "reason": reason, "by": by})
        self._maybe_refuse()
        return {**past(rollback, "cancelled", "cancelled"), "id": rollback, "held": self.still_held}

    async def undo(self, rollback: str, /, *, reason: str, by: str) -> JsonObject:
        self.orders.append({"undo": rollback, "reason": reason, "by": by})
        self._maybe_refuse()
        return {"rollback": "r10", "undoes": rollback, **PLAN}

    async def resume(self, target: str, *, reason: str, by: str) -> JsonObject:
        self.orders.append({"resume": target, "reason": reason, "by": by})
        self._known(target)
        return {"target": target, "paused_until": None}

    async def reload(self, cause: str) -> JsonObject:
        self.orders.append({"reload": cause})
        self._maybe_refuse()
        result: Json = "failed" if self.config_error else "success"
        return {"result": result, "error": self.config_error}

    def _known(self, name: str) -> None:
        self._maybe_refuse()
        if name not in self.names:
            listed = ", ".join(self.names)
            raise UsageError(f"no target {name!r}", hint=f"targets: {listed}")

    def _maybe_refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@dataclass
class FakeVitals:
    """Fits `web.surface.Vitals`."""

    alive: bool = True
    is_ready: bool = True

    def turning(self) -> tuple[bool, str]:
        return self.alive, "turned 0.4 s ago" if self.alive else "no turn for 95 s"

    def ready(self) -> tuple[bool, JsonObject]:
        return self.is_ready, {"config": True, "store": True, "probed": self.is_ready}
