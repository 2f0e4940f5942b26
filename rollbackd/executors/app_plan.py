"""Makes the frozen plan of an app rollback: who is changed, in which order, and what is left alone.

Pure but for reading and for keeping configs: env values stay in blobs, the plan shows none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollbackd.core.errors import PlanRefused
from rollbackd.core.model import JsonObject, RollBack
from rollbackd.core.policy import PlanPolicy, Strategy, TargetPolicy, Traffic
from rollbackd.core.ports import Store
from rollbackd.core.runbook import Plan
from rollbackd.executors.app_goal import Goal, known_newest, machine_config, resolve_goal
from rollbackd.executors.app_machine import runs
from rollbackd.executors.app_steps import steps_of
from rollbackd.executors.app_traffic import serving
from rollbackd.executors.app_words import Job
from rollbackd.executors.plan_hash import digest, plan_hash
from rollbackd.fly.config_restore import difference
from rollbackd.fly.json_shape import list_at, text_at
from rollbackd.fly.machine_view import (
    config_of,
    critical_checks,
    group_of,
    leftover,
    meant_to_run,
    reachable,
    version_of,
)
from rollbackd.fly.platform import FlyPlatform


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A machine to change, with the config it is to have."""

    machine: JsonObject
    config: JsonObject


async def make_plan(
    platform: FlyPlatform, store: Store, target: TargetPolicy, decision: RollBack
) -> Plan:
    """Raises PlanRefused with the reason, never an empty plan."""
    policy = target.plans[decision.plan]
    fleet = await platform.fleet()
    _refuse_impossible(platform, fleet)
    await platform.ledger.learn(fleet)
    await platform.ledger.dig(fleet, [decision.good.version])
    goal = await resolve_goal(platform, decision)
    candidates, notes = await _candidates(platform, decision, goal, fleet)
    if not candidates:
        raise PlanRefused(
            f"nothing to change: every reachable machine runs v{decision.good.version} already",
            hint="if users are still hurt, the release is not to blame",
        )
    jobs = jobs_in_order(fleet, candidates, policy, decision)
    await _keep(store, goal, candidates, jobs, decision)
    settings = _settings(platform, policy, decision, goal, fleet)
    settings["machines"] = _rests_on(candidates)
    steps = tuple(steps_of(target, policy, decision, jobs, notes))
    plan = Plan(
        rollback=decision.id,
        target=decision.target,
        name=policy.name,
        from_version=decision.bad.version,
        to_version=decision.good.version,
        steps=steps,
        parallel=parallel(policy, fleet, jobs),
        deadline_at=decision.at + policy.deadline_seconds,
        hash="",
        settings=settings,
        notes=(*goal.notes, *notes),
    )
    return replace(plan, hash=plan_hash(plan))


def _refuse_impossible(platform: FlyPlatform, fleet: Sequence[JsonObject]) -> None:
    if platform.is_own_app:
        raise PlanRefused(
            f"{platform.app} is the app rollbackd runs in", hint="watch it from another app"
        )
    if not fleet:
        raise PlanRefused(
            f"Fly lists no machine of {platform.app}",
            hint="scaled to zero, or the token sees another app: nothing was touched",
        )
    if not any(reachable(machine) for machine in fleet):
        raise PlanRefused("no machine is on a reachable host", hint="wait for Fly's hosts")


async def _candidates(
    platform: FlyPlatform, decision: RollBack, goal: Goal, fleet: Sequence[JsonObject]
) -> tuple[list[Candidate], list[str]]:
    """The machines whose image or config differs, and notes on the others."""
    found: list[Candidate] = []
    notes: dict[str, None] = {}  # in order, each once
    for machine in fleet:
        name, group = text_at(machine, "id"), group_of(machine)
        if not reachable(machine):
            notes[f"machine {name} is on an unreachable host: left alone"] = None
            continue
        if goal.groups and group not in goal.groups:
            notes[f"group {group} is not in v{decision.good.version}: left alone"] = None
            continue
        config, note = await machine_config(platform, decision, goal, machine)
        notes |= dict.fromkeys([note] if note else [])
        if runs(machine, config):
            notes[f"machine {name} runs the good release already: left alone"] = None
            continue
        if leftover(machine):
            notes[f"machine {name} is {leftover(machine)}: brought back too"] = None
        found.append(Candidate(machine=machine, config=config))
        for line in difference(config_of(machine), config):
            notes[f"{group}: {line}"] = None
    return found, list(notes)


def jobs_in_order(
    fleet: Sequence[JsonObject],
    candidates: Sequence[Candidate],
    policy: PlanPolicy,
    decision: RollBack,
) -> list[Job]:
    """In order: a sibling to wake, broken ones, the rest that runs, then what does not run."""
    woken = {name for name in (_sibling(fleet, candidates, policy, c) for c in candidates) if name}
    ordered = sorted(candidates, key=lambda c: _rank(c.machine, woken))
    return [_job(fleet, candidate, policy, decision, woken) for candidate in ordered]


def _sibling(
    fleet: Sequence[JsonObject],
    candidates: Sequence[Candidate],
    policy: PlanPolicy,
    candidate: Candidate,
) -> str:
    """The stopped sibling to wake first where `candidate` is the only one that serves."""
    group = group_of(candidate.machine)
    serves = [one for one in fleet if group_of(one) == group and serving(one)]
    alone = len(serves) == 1 and serves[0] is candidate.machine
    if not alone or policy.traffic is not Traffic.DRAIN or policy.strategy is Strategy.IMMEDIATE:
        return ""
    stopped = (
        text_at(c.machine, "id")
        for c in candidates
        if group_of(c.machine) == group
        and text_at(c.machine, "state") in {"stopped", "suspended"}
        and not list_at(config_of(c.machine), "standbys")
        and c.machine.get("cordoned") is not True
    )
    return next(stopped, "")


def _rank(machine: JsonObject, woken: set[str]) -> tuple[bool, bool, bool, str]:
    name = text_at(machine, "id")
    return (name not in woken, not meant_to_run(machine), critical_checks(machine) == 0, name)


def _job(
    fleet: Sequence[JsonObject],
    candidate: Candidate,
    policy: PlanPolicy,
    decision: RollBack,
    woken: set[str],
) -> Job:
    machine, name = candidate.machine, text_at(candidate.machine, "id")
    return Job(
        machine=name,
        group=group_of(machine),
        version=version_of(machine),
        config_key=f"fly/plan/{decision.id}/{name}",
        drain=policy.traffic is Traffic.DRAIN and policy.strategy is Strategy.ROLLING,
        wake=name in woken,
        resting=not meant_to_run(machine),
        wait=policy.strategy is Strategy.ROLLING,
        away_at_once=_away_at_once(fleet, group_of(machine)),
    )


def _away_at_once(fleet: Sequence[JsonObject], group: str) -> int:
    """One that serves is left in every group; a group without services has no traffic to lose."""
    own = [machine for machine in fleet if group_of(machine) == group]
    if not any(list_at(config_of(machine), "services") for machine in own):
        return len(own)
    return max(1, sum(1 for machine in own if serving(machine)) - 1)


async def _keep(
    store: Store,
    goal: Goal,
    candidates: Sequence[Candidate],
    jobs: Sequence[Job],
    decision: RollBack,
) -> None:
    configs = {text_at(c.machine, "id"): c.config for c in candidates}
    for job in jobs:
        await store.put_blob(job.config_key, configs[job.machine])
    await store.put_blob(_definition_key(decision), goal.definition)


def _definition_key(decision: RollBack) -> str:
    return f"fly/plan/{decision.id}/definition"


def _settings(
    platform: FlyPlatform,
    policy: PlanPolicy,
    decision: RollBack,
    goal: Goal,
    fleet: Sequence[JsonObject],
) -> JsonObject:
    return {
        "app": platform.app,
        "image": goal.image,
        "definition_key": _definition_key(decision),
        "definition": digest(goal.definition),
        "good": {"id": decision.good.id, "version": decision.good.version},
        "newest_version": known_newest(decision),
        "strategy": policy.strategy.value,
        "traffic": policy.traffic.value,
        "step_deadline_seconds": policy.step_deadline_seconds,
        "unreachable": [text_at(m, "id") for m in fleet if not reachable(m)],
    }


def _rests_on(candidates: Sequence[Candidate]) -> JsonObject:
    """Of every machine to change: its version now, and the hash of the config it is to have."""
    return {
        text_at(c.machine, "id"): f"{version_of(c.machine)} {digest(c.config)}" for c in candidates
    }


def parallel(policy: PlanPolicy, fleet: Sequence[JsonObject], jobs: Sequence[Job]) -> int:
    """Side by side within max_unavailable, and one serving machine always left alone."""
    if policy.strategy is Strategy.IMMEDIATE:
        return max(1, len(jobs))
    asked = policy.max_unavailable
    wanted = int(asked) if asked >= 1 else math.ceil(asked * len(jobs))
    serves = sum(1 for machine in fleet if serving(machine))
    return max(1, min(wanted, serves - 1))
