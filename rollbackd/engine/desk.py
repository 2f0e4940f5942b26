"""What people may ask and order while the daemon runs. Orders go through the same inbox and runner
as everything else; nothing here touches the world by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from rollbackd import __version__
from rollbackd.core.decide import explain
from rollbackd.core.errors import Rejected, TemporaryError, UsageError
from rollbackd.core.facts import (
    Announced,
    Blessed,
    Paused,
    Quarantined,
    Resumed,
    Unlocked,
    Unquarantined,
)
from rollbackd.core.ledger import Standing
from rollbackd.core.manual import manual
from rollbackd.core.model import Hold, Json, JsonObject, Restore, RollBack, TargetName
from rollbackd.core.policy import Policy
from rollbackd.core.runbook import Journal, RollbackState
from rollbackd.core.snapshot import TargetView
from rollbackd.core.state import TargetState
from rollbackd.core.view import target_view
from rollbackd.engine import going_on
from rollbackd.engine.control import Control, tell
from rollbackd.engine.naming import commit_named, known_release
from rollbackd.engine.reloader import Reloader
from rollbackd.postgres.observations import Observations, told
from rollbackd.telemetry import events, shapes

log = structlog.get_logger()

LONGEST_PAUSE_SECONDS = 7 * 86_400.0  # a pause that nobody remembers is a daemon switched off


@dataclass(kw_only=True)
class Desk(Control):
    """Answers and takes orders. Unknown names are UsageError, refusals Rejected."""

    reloader: Reloader
    apps: Callable[[TargetName], str]
    started_at: float

    def status(self) -> JsonObject:
        snapshot = self.engine.snapshot()
        return {
            "version": __version__,
            "started_at": self.started_at,
            "control_ok": snapshot.control_ok,
            "stopped": self.engine.runner.stop.stopped,
            "config": {
                "hash": snapshot.config_hash,
                "ok": not self.reloader.error,
                "error": self.reloader.error,
            },
            "targets": [self._shape(view) for view in snapshot.targets],
        }

    def target(self, name: str) -> JsonObject:
        return self._shape(self._view(name))

    def releases(self, name: str) -> JsonObject:
        return shapes.releases(self._view(name))

    async def database(self, name: str) -> JsonObject:
        """How the target's database was while its releases were well, newest first."""
        known = self._state(name).policy.name
        return await told(Observations(self.store, known), known)

    def gate(self, name: str, sha: str) -> JsonObject:
        """Whether this commit may go out: not while a release of it is quarantined."""
        state, commit = self._state(name), commit_named(sha)
        why = state.ledger.against(commit, state.deploys.known)
        return {
            "target": name,
            "commit": commit,
            "ok": not why,
            "why": why or "nothing is known against it",
        }

    def explain(self, name: str) -> JsonObject:
        state = self._state(name)
        now = self.clock.now()
        decision = self.engine.decisions.get(state.name)
        if decision is None:
            raise TemporaryError(f"{name} was not judged yet", hint="try again in a second")
        mass = self.engine.failing_in_mass(state.name, now)
        gates = explain(self.engine.policy, state, now, mass_failing=mass)
        told = shapes.explanation(decision, gates, self._view(name))
        return {**told, "stopped": self.engine.runner.stop.stopped}

    async def rollbacks(self, target: str | None, limit: int) -> JsonObject:
        name = None if target is None else self._state(target).policy.name
        states = self.engine.states
        would: list[Json] = [
            {"target": each, **row.as_json()}
            for each in ([name] if name is not None else sorted(states))
            for row in reversed(states[each].ledger.trial.would_have.values())
        ]
        return {
            "rollbacks": list(await self.store.history(name, limit)),
            "would_have": would[:limit],
        }

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
        """A rollback by hand: the plan for `dry_run`, else the id of the one that began."""
        state = self._state(target)
        try:
            decision = asked_for(
                self.engine.policy,
                state,
                self.clock.now(),
                to=to,
                plan=plan,
                reason=f"{kind}: {reason}" if kind else reason,
                by=by,
                plan_hash=plan_hash,
                to_migration=to_migration,
                restore=restore,
            )
        except Rejected:
            held = await self._held(state.policy.name)
            if held is None or to not in {None, held.plan.to_version}:
                raise
            # Half of it was done: that is what they want the rest of.
            return await self._finish(held, dry_run=dry_run, by=f"{by} ({reason})")
        if dry_run:
            return shapes.plan(await self.engine.runner.dry_run(decision))
        await self._end_what_holds(decision.target, by=by, reason=reason)
        journal = await self.engine.order(decision)
        tell("rollback", decision.target, by=by, reason=reason, rollback=journal.plan.rollback)
        return {"rollback": journal.plan.rollback, **shapes.plan(journal.plan)}

    async def pause(self, target: str, *, seconds: float, reason: str, by: str) -> JsonObject:
        if not 0 < seconds <= LONGEST_PAUSE_SECONDS:
            raise UsageError("a pause lasts up to 7 days", hint="--for 2h")
        name = self._state(target).policy.name
        now = self.clock.now()
        fact = Paused(target=name, at=now, until=now + seconds, by=by, reason=reason)
        await self.engine.take(fact)
        tell("pause", name, by=by, reason=reason, until=fact.until)
        return {"target": name, "paused_until": fact.until}

    async def resume(self, target: str, *, reason: str, by: str) -> JsonObject:
        name = self._state(target).policy.name
        await self.engine.take(Resumed(target=name, at=self.clock.now(), by=by, reason=reason))
        tell("resume", name, by=by, reason=reason)
        return {"target": name, "paused_until": None}

    async def unlock(self, target: str, *, reason: str, by: str) -> JsonObject:
        """Let automatic rollbacks happen again after one that failed or did not help."""
        name = self._state(target).policy.name
        ended = await self._end_what_holds(name, by=by, reason=reason)
        await self.engine.take(Unlocked(target=name, at=self.clock.now(), by=by, reason=reason))
        tell("unlock", name, by=by, reason=reason)
        return {"target": name, "locked_out": False, "ended": ended}

    async def announce(self, target: str, *, sha: str, actor: str, url: str, by: str) -> JsonObject:
        """A deploy is coming. Says at once where its commit was rolled back from."""
        name = self._state(target).policy.name
        told = self.gate(name, sha)
        if url and not url.startswith(("https://", "http://")):
            raise UsageError(f"{url!r} is no address", hint="--url https://...")
        commit = commit_named(sha)
        at = self.clock.now()
        fact = Announced(target=name, at=at, commit=commit, by=actor or by, url=url)
        await self.engine.take(fact)
        log.info(events.ORDER_TAKEN, order="announce", target=name, by=by, commit=commit, url=url)
        return {**told, "by": fact.by, "url": url}

    async def bless(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        """A person vouches for a release: good, whatever was seen."""
        return await self._say(target, version, Blessed, by=by, reason=reason)

    async def quarantine(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        """Never a goal again; an alert where it, or its commit, is deployed."""
        return await self._say(target, version, Quarantined, by=by, reason=reason)

    async def unquarantine(self, target: str, *, version: int, reason: str, by: str) -> JsonObject:
        """What is known of the release is unknown again."""
        state = self._state(target)
        standing = state.ledger.standing(known_release(state, version))
        if standing is not Standing.QUARANTINED:
            raise Rejected(f"v{version} is not quarantined, it is {standing.value}")
        return await self._say(target, version, Unquarantined, by=by, reason=reason)

    async def _say(
        self,
        target: str,
        version: int,
        fact: type[Blessed | Quarantined | Unquarantined],
        *,
        by: str,
        reason: str,
    ) -> JsonObject:
        state = self._state(target)
        release, name = known_release(state, version), state.policy.name
        was = state.ledger.standing(release).value
        at = self.clock.now()
        await self.engine.take(fact(target=name, at=at, version=version, by=by, reason=reason))
        tell(fact.__name__.lower(), name, by=by, reason=reason, version=version)
        standing = state.ledger.standing(release).value
        return {"target": name, "version": version, "was": was, "standing": standing}

    async def _finish(self, held: Journal, *, dry_run: bool, by: str) -> JsonObject:
        if not dry_run:
            await self.engine.release(held, by=by)
        # It holds until its task has claimed it: who follows it must not take that for the end.
        return {"rollback": held.plan.rollback, "held": True, **shapes.plan(held.plan)}

    async def _held(self, name: TargetName) -> Journal | None:
        unfinished = await self.store.unfinished()
        return next(
            (j for j in unfinished if j.plan.target == name and going_on.waits_for_a_person(j)),
            None,
        )

    async def _end_what_holds(self, name: TargetName, *, by: str, reason: str) -> list[Json]:
        """A rollback that stands still would block every other one of its target. Their ids."""
        ended: list[Json] = []
        for journal in await self.store.unfinished():
            if journal.plan.target == name and journal.state is RollbackState.HOLDING:
                await self.engine.runner.abort(journal.plan.rollback, by=by, reason=reason)
                ended.append(journal.plan.rollback)
        return ended

    async def reload(self, cause: str) -> JsonObject:
        result = await self.reloader.reload(cause)
        return {"result": result, "error": self.reloader.error}

    def _view(self, name: str) -> TargetView:
        state = self._state(name)
        return target_view(state, self.engine.policy, self.clock.now())

    def _shape(self, view: TargetView) -> JsonObject:
        return shapes.target(view, app=self.apps(view.name))


def asked_for(
    policy: Policy,
    state: TargetState,
    now: float,
    *,
    to: int | None,
    plan: str | None,
    reason: str,
    by: str,
    plan_hash: str = "",
    to_migration: str = "",
    restore: Restore | None = None,
) -> RollBack:
    """What a person asked for, as a decision. Raises Rejected with the reason why it cannot be."""
    triggers, plans = state.policy.triggers, state.policy.plans
    name = plan or (triggers[0].plan if triggers else "app")
    if name not in plans:
        raise UsageError(f"no plan {name!r}", hint=f"plans: {', '.join(sorted(plans))}")
    if restore is not None and "data" not in plans[name].steps:
        raise UsageError(
            f"plan {name} puts no data back",
            hint="--plan data; or leave out --snapshot and --table",
        )
    decision = manual(
        policy, state, now, to_version=to, plan=name, reason=reason, by=by,
        plan_hash=plan_hash, to_migration=to_migration, restore=restore,
    )  # fmt: skip
    if isinstance(decision, Hold):
        why = decision.why or decision.reason.value
        raise Rejected(why, hint=f"rollbackd explain {decision.target} says more")
    return decision
