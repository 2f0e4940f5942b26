"""The step kinds of an app rollback and what their parameters are called. Values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from rollbackd.core.errors import PermanentError
from rollbackd.core.model import JsonObject
from rollbackd.core.runbook import Plan, Step
from rollbackd.fly.json_shape import text_at, whole_at
from rollbackd.fly.machine_view import MARK

# The parts of a plan that change data: no machine may write into it meanwhile.
CHANGES_DATA: Final = frozenset({"database", "data", "pitr"})


GONE_BACK: Final = "gone_back"  # in a plan's settings, while it lets go: the old schema stands


class Kind(enum.StrEnum):
    """`say`, `notify`, `prove` and `report` do nothing here: the runner does what they name.

    `watch` is not called monitor, because that word makes the runner wait without looking.
    """

    SAY = "say"
    NOTIFY = "notify"
    BACKUP = "backup"
    LOGS = "logs"
    CORDON = "cordon"
    STOP = "stop_machine"
    RECORD = "release_record"
    STATUS = "release_status"
    MACHINE = "machine"
    VERIFY = "verify"
    SMOKE = "smoke"
    INVARIANTS = "invariants"
    WATCH = "watch"
    UNCORDON = "uncordon"
    PROVE = "prove"
    REPORT = "report"


def kind_of(step: Step) -> Kind:
    """Raises PermanentError for a step that another version of rollbackd planned."""
    try:
        return Kind(step.kind)
    except ValueError as error:
        raise PermanentError(
            f"{step.name}: this rollbackd knows no step of kind {step.kind}",
            hint="another version planned it: let that one go on, or abort it",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The parameters of a `machine` step. `version` is the machine's when the plan was made."""

    machine: str
    group: str
    version: str
    config_key: str
    drain: bool
    wake: bool  # a stopped one that must serve before the only serving one is touched
    resting: bool  # it did not run when the plan was made, and need not afterwards
    wait: bool  # strategy immediate does not
    away_at_once: int  # how many of its group may be out of traffic at the same time

    def params(self) -> JsonObject:
        return {
            "machine": self.machine,
            "group": self.group,
            "version": self.version,
            "config_key": self.config_key,
            "drain": self.drain,
            "wake": self.wake,
            "resting": self.resting,
            "wait": self.wait,
            "away_at_once": self.away_at_once,
        }


def job_of(step: Step) -> Job:
    params = step.params
    return Job(
        machine=text_at(params, "machine"),
        group=text_at(params, "group"),
        version=text_at(params, "version"),
        config_key=text_at(params, "config_key"),
        drain=params.get("drain") is True,
        wake=params.get("wake") is True,
        resting=params.get("resting") is True,
        wait=params.get("wait") is not False,
        away_at_once=whole_at(params, "away_at_once") or 1,
    )


def jobs_of(plan: Plan) -> list[Job]:
    return [job_of(step) for step in plan.steps if step.kind == Kind.MACHINE]


def op_of(plan: Plan, machine: str) -> str:
    """The mark of this rollback's update on a machine, "" when it has none."""
    steps = (step for step in plan.steps if step.kind == Kind.MACHINE)
    return next((step.op_key for step in steps if job_of(step).machine == machine), "")


def lease_words(plan: Plan) -> str:
    """The description of our leases: ours in general by `MARK`, this rollback's by its id."""
    return f"{MARK}{plan.rollback}"
