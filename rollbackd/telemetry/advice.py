"""Says what would have to happen for rollbackd to act now. Words only; the gates judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rollbackd.core.model import Decision, GateSays, Hold, HoldReason, TriggerState, Verdict

_BREACHED = TriggerState.BREACHED
ANEW: Final = (
    "a person has to order it: rollbackd rollback, for what was rejected is not asked again"
)

WOULD_NEED: Final[dict[HoldReason, str]] = {
    HoldReason.ROLLING_BACK: "the rollback that is running has to end",
    HoldReason.DEPLOY_IN_PROGRESS: "the deploy in progress has to finish, or count as interrupted",
    HoldReason.BLIND: "rollbackd has to see the platform and the network again",
    HoldReason.PAUSED: "the pause has to end: rollbackd resume",
    HoldReason.LOCKED_OUT: "a person has to look at the last rollback and unlock the target",
    HoldReason.RELEASE_IS_ROLLBACK: "a new release has to go out: a rollback is never rolled back",
    HoldReason.ALREADY_ROLLED_BACK: "a new release has to go out: each bad release is undone once",
    HoldReason.SETTLING: "the new release has to answer once, or its settle time has to end",
    HoldReason.LEARNING: "the release before has to be watched long enough to compare with",
    HoldReason.NOT_ARMED: "the watch after a release has to be on; later it alerts and stays out",
    HoldReason.NOT_SINCE_RELEASE: "the trouble has to begin after the release, not before it",
    HoldReason.VETOED: "what vetoes has to clear: the release is not what broke",
    HoldReason.MASS_FAILURE: "the other targets have to recover: many at once is no bad release",
    HoldReason.COOLING_DOWN: "the time after the last rollback or try has to pass",
    HoldReason.NO_GOOD_RELEASE: "there has to be an earlier release that was good",
    HoldReason.QUARANTINED_ONLY: "an earlier release has to be there that is not quarantined",
    HoldReason.IMAGE_MISSING: "the image of the earlier release has to be in the registry",
    HoldReason.SCHEMA_GUARD: "the earlier release has to fit the database as it is now",
    HoldReason.BUDGET_SPENT: "the budget of automatic rollbacks has to refill, or a person approve",
    HoldReason.WINDOW: "the configured time window has to end",
    HoldReason.OBSERVE_MODE: "the mode has to be auto: it only observes",
    HoldReason.AWAITING_APPROVAL: "a person has to approve",
    HoldReason.OK: "a trigger has to breach",
    HoldReason.PENDING: "a trigger has to stay over its threshold for its whole time",
    HoldReason.NO_DATA: "the probes have to give enough samples",
    HoldReason.ERROR: "the failing probes or queries have to work",
    HoldReason.MISCONFIGURED_PROBE: "the probe has to be let in: the app answers and refuses it",
    HoldReason.ASLEEP: "a machine has to be started: the app sleeps",
}


def to_act(decided: Decision, gates: Sequence[GateSays]) -> list[str]:
    """The open conditions, breach first, then gates in their order. Empty: it is acting.

    While a rollback runs there is one: what the others say of the release that goes, or of the one
    that comes, is over when it ends.
    """
    if not isinstance(decided, Hold):
        return []
    whys = {g.reason: g.why for g in gates}
    if any(g.holds and g.reason is HoldReason.ROLLING_BACK for g in gates):
        return [_needed(HoldReason.ROLLING_BACK, whys)]
    lines: list[str] = []
    if not any(v.state is _BREACHED for v in decided.verdicts):
        lines += [_of_trigger(v) for v in decided.verdicts] or ["a trigger has to be configured"]
    holding = [g.reason for g in gates if g.holds]
    if decided.reason not in holding and decided.reason not in _ABOUT_TRIGGERS:
        holding.insert(0, decided.reason)
    return lines + [_needed(reason, whys) for reason in holding]


_ABOUT_TRIGGERS: Final = frozenset(
    {HoldReason.OK, HoldReason.PENDING, HoldReason.NO_DATA, HoldReason.ERROR}
)


def _needed(reason: HoldReason, whys: Mapping[HoldReason, str]) -> str:
    why = whys.get(reason, "")
    rejected = reason is HoldReason.AWAITING_APPROVAL and why.startswith("rejected by ")
    return _with(ANEW if rejected else WOULD_NEED[reason], why)


def _of_trigger(verdict: Verdict) -> str:
    return _with(f"{verdict.trigger} has to breach, it is {verdict.state}", verdict.why)


def _with(line: str, why: str) -> str:
    return f"{line} ({why})" if why else line
