"""The runbook of an app rollback as steps, phase by phase. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rollbackd.core.model import Json, JsonObject, RollBack
from rollbackd.core.policy import PlanPolicy, Strategy, TargetPolicy, Traffic
from rollbackd.core.runbook import Phase, Step
from rollbackd.executors.app_words import CHANGES_DATA, Job, Kind
from rollbackd.fly.json_shape import text_at


@dataclass(slots=True)
class Numbered:
    """Numbers the steps and gives each its operation key."""

    decision: RollBack
    seq: int = field(default=0)

    def step(
        self,
        phase: Phase,
        kind: StrEnum,
        name: str,
        params: JsonObject | None = None,
        *,
        mutates: bool = False,
    ) -> Step:
        self.seq += 1
        return Step(
            seq=self.seq,
            phase=phase,
            kind=kind.value,
            name=name,
            params=params or {},
            op_key=f"{self.decision.id}:{self.seq}",
            mutates=mutates,
        )


def steps_of(
    target: TargetPolicy,
    policy: PlanPolicy,
    decision: RollBack,
    jobs: Sequence[Job],
    notes: Sequence[str],
) -> Iterator[Step]:
    """All steps in the order of the runbook."""
    made = Numbered(decision)
    yield from _checklist(made, policy, decision, jobs, notes)
    yield from _stop_traffic(made, policy, jobs)
    yield from _execute(made, policy, jobs)
    yield made.step(Phase.VERIFY, Kind.VERIFY, "every machine runs the good release")
    shut = policy.traffic is Traffic.STOP
    if not shut:
        yield from smoke_steps(made, target, Phase.TEST)
    else:
        line = "traffic is stopped: asked when it is back"
        yield made.step(Phase.TEST, Kind.SAY, "smoke", {"lines": [line]})
    seconds: Json = target.after.monitor_seconds
    watched = f"watch the machines for {target.after.monitor_seconds:g} s"
    yield made.step(Phase.MONITOR, Kind.WATCH, watched, {"seconds": seconds})
    yield from _restore_traffic(made, jobs)
    if shut:
        yield from smoke_steps(made, target, Phase.POST_VERIFICATION)
    yield from _invariants(made, target)
    yield made.step(Phase.POST_VERIFICATION, Kind.PROVE, "prove that it helped")
    yield made.step(Phase.REPORT, Kind.REPORT, "write the report")


def _checklist(
    made: Numbered,
    policy: PlanPolicy,
    decision: RollBack,
    jobs: Sequence[Job],
    notes: Sequence[str],
) -> Iterator[Step]:
    bad, good = decision.bad, decision.good
    asked = decision.trigger or decision.requested_by
    said = {
        "identify": f"v{bad.version} is bad: {decision.why or asked}",
        "urgency": f"{asked}; deadline {policy.deadline_seconds:g} s from the decision",
        "method": f"{policy.strategy.value}, traffic {policy.traffic.value}",
        "plan": f"v{bad.version} -> v{good.version} on {len(jobs)} machines",
    }
    for name, line in said.items():
        lines: list[Json] = [line, *(notes if name == "plan" else ())]
        yield made.step(Phase.CHECKLIST, Kind.SAY, name, {"lines": lines})
    yield made.step(Phase.CHECKLIST, Kind.NOTIFY, "tell people", {"line": said["plan"]})
    yield made.step(Phase.CHECKLIST, Kind.BACKUP, "keep the current state")
    for job in jobs:
        if not job.resting:
            name = f"keep the last log lines of {job.machine}"
            yield made.step(Phase.CHECKLIST, Kind.LOGS, name, {"machine": job.machine})


def _stop_traffic(made: Numbered, policy: PlanPolicy, jobs: Sequence[Job]) -> Iterator[Step]:
    match policy.traffic:
        case Traffic.STOP:
            for job in jobs:
                params: JsonObject = {"machine": job.machine}
                name = f"take {job.machine} out of traffic"
                yield made.step(Phase.STOP_TRAFFIC, Kind.CORDON, name, params, mutates=True)
            for job in jobs if CHANGES_DATA.intersection(policy.steps) else ():
                if not job.resting:  # a resting one is kept from being woken by its cordon
                    name = f"stop {job.machine}"
                    params = {"machine": job.machine}
                    yield made.step(Phase.STOP_TRAFFIC, Kind.STOP, name, params, mutates=True)
        case Traffic.DRAIN:
            line = "each machine leaves traffic around its own update, never the last one"
            yield made.step(Phase.STOP_TRAFFIC, Kind.SAY, "drain", {"lines": [line]})
        case Traffic.KEEP:
            line = "traffic stays as it is"
            yield made.step(Phase.STOP_TRAFFIC, Kind.SAY, "keep", {"lines": [line]})


def _execute(made: Numbered, policy: PlanPolicy, jobs: Sequence[Job]) -> Iterator[Step]:
    yield made.step(Phase.EXECUTE, Kind.RECORD, "write the release record", mutates=True)
    running: JsonObject = {"status": "running"}
    yield made.step(Phase.EXECUTE, Kind.STATUS, "release status: running", running, mutates=True)
    for job, wave in zip(jobs, waves(jobs, policy), strict=True):
        yield made.step(
            Phase.EXECUTE,
            Kind.MACHINE,
            f"bring {job.machine} back",
            job.params() | {"wave": wave},
            mutates=True,
        )


def waves(jobs: Sequence[Job], policy: PlanPolicy) -> Iterator[int]:
    """A woken sibling alone, then the first running machine alone, then the rest together, as far
    as each process group keeps one that serves.
    """
    wave, proved = 0, policy.strategy is Strategy.IMMEDIATE
    rolling, away = not proved, Counter[str]()
    for job in jobs:
        if rolling and not job.resting and away[job.group] >= job.away_at_once:
            wave, away = wave + 1, Counter()
        away[job.group] += not job.resting
        yield wave
        if proved or (job.resting and not job.wake):
            continue
        wave, away, proved = wave + 1, Counter(), not job.wake


def smoke_steps(made: Numbered, target: TargetPolicy, phase: Phase) -> Iterator[Step]:
    url = text_at(target.settings, "url")
    if not url or not target.after.smoke:
        line = "no smoke request is configured"
        yield made.step(phase, Kind.SAY, "smoke", {"lines": [line]})
        return
    for smoke in target.after.smoke:
        params: JsonObject = {
            "url": url.rstrip("/") + smoke.path,
            "status": list(smoke.status),
            "contains": smoke.contains,
        }
        yield made.step(phase, Kind.SMOKE, f"GET {smoke.path}", params)


def _invariants(made: Numbered, target: TargetPolicy) -> Iterator[Step]:
    """After traffic is back: what is wrong with the data is no reason to keep users out."""
    invariants = target.database.invariants if target.database else ()
    if invariants:
        names: list[Json] = [one.name for one in invariants]
        name = f"ask {len(names)} invariant{'s' if len(names) > 1 else ''} of the database"
        yield made.step(Phase.POST_VERIFICATION, Kind.INVARIANTS, name, {"names": names})


def _restore_traffic(made: Numbered, jobs: Sequence[Job]) -> Iterator[Step]:
    machines: list[Json] = [job.machine for job in jobs]
    yield made.step(
        Phase.RESTORE_TRAFFIC,
        Kind.UNCORDON,
        "give our machines back to traffic",
        {"machines": machines},
        mutates=True,
    )
    complete: JsonObject = {"status": "complete"}
    yield made.step(
        Phase.RESTORE_TRAFFIC, Kind.STATUS, "release status: complete", complete, mutates=True
    )
