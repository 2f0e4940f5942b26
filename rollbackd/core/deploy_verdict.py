"""Whether the newest deploy failed or was left half-way with machines on it. It blames nobody."""

from __future__ import annotations

from rollbackd.core.model import TriggerState, Verdict
from rollbackd.core.observed import Observed
from rollbackd.core.rules import Trigger


def deploy_state(state: Observed, now: float) -> TriggerState:
    deploys = state.deploys
    newest = deploys.newest
    if newest is None or (
        deploys.machines is None and deploys.broken_off(now, state.policy.safety)
    ):
        return TriggerState.NO_DATA
    if not deploys.broken_off(now, state.policy.safety) or not deploys.on(newest):
        return TriggerState.OK
    return TriggerState.BREACHED


def judge_deploy(trigger: Trigger, state: Observed, now: float) -> Verdict:
    deploys, standing = state.deploys, deploy_state(state, now)
    newest = deploys.newest
    if newest is None:
        return Verdict(
            trigger=trigger.name, state=standing, since=state.created_at, why="no release seen yet"
        )
    since, evidence = deploys.appeared_at(newest), {}
    on = deploys.on(newest)
    why = f"v{newest.version} is {newest.status.value}"
    if standing is TriggerState.NO_DATA:
        why += ", and no machine has been seen"
    elif standing is TriggerState.BREACHED:
        how = "failed" if newest.status.value == "failed" else "was interrupted"
        why = f"{on} of {len(deploys.machines or ())} machines run v{newest.version}, which {how}"
        evidence = {"onset_at": since, "machines_on_it": on}
    elif deploys.broken_off(now, state.policy.safety):
        why += ", no machine runs it: nothing to undo"
    return Verdict(trigger=trigger.name, state=standing, since=since, why=why, evidence=evidence)
