"""The first sentence about a target: its numbers first. It only words what was decided."""

from __future__ import annotations

from typing import Final

from rollbackd.core.facts import RollbackStarted
from rollbackd.core.model import (
    Decision,
    Hold,
    HoldReason,
    Release,
    RollBack,
    TargetName,
    TriggerState,
    Verdict,
)

# Only where one of these holds is the release itself to blame: the gates before them ask for that.
BLAMED: Final = frozenset(
    {
        HoldReason.COOLING_DOWN,
        HoldReason.NO_GOOD_RELEASE,
        HoldReason.QUARANTINED_ONLY,
        HoldReason.IMAGE_MISSING,
        HoldReason.SCHEMA_GUARD,
        HoldReason.BUDGET_SPENT,
        HoldReason.WINDOW,
        HoldReason.OBSERVE_MODE,
        HoldReason.AWAITING_APPROVAL,
    }
)

# Where one of these holds, nobody has asked yet whether what is breached is the release's doing.
_UNASKED: Final = frozenset(
    {
        HoldReason.DEPLOY_IN_PROGRESS,
        HoldReason.PAUSED,
        HoldReason.LOCKED_OUT,
        HoldReason.RELEASE_IS_ROLLBACK,
        HoldReason.ALREADY_ROLLED_BACK,
    }
)

_IN_PEACE: Final = {
    TriggerState.OK: "is well",
    TriggerState.PENDING: "is watched",
    TriggerState.NO_DATA: "cannot be judged",
    TriggerState.ERROR: "cannot be judged",
    TriggerState.BREACHED: "is not blamed",
}

LEVELS: Final = ((1.0, "act"), (0.1, "suspicious"), (0.01, "watching"), (0.0, "quiet"))


def accusation(target: TargetName, bad: Release | None, verdict: Verdict) -> str:
    """`hotdash v43 is worse: errors 5.1 % (51 of 1,004), …`; bad where nothing is compared."""
    word = "is worse" if compares(verdict) else "is bad"
    return _sentence(target, bad, word, verdict.why)


def held(reason: HoldReason, target: TargetName, release: Release | None, verdict: Verdict) -> str:
    """The same numbers where a gate holds: it accuses only behind the gates that ask for that."""
    if reason in BLAMED:
        return accusation(target, release, verdict)
    if reason in _UNASKED and verdict.state is TriggerState.BREACHED:
        return _sentence(target, release, "is ill", verdict.why)
    return doubt(target, release, verdict)


def doubt(target: TargetName, bad: Release | None, verdict: Verdict) -> str:
    """The same numbers, where they do not accuse the release."""
    beside = verdict.state is TriggerState.OK and verdict.evidence.get("side_by_side")
    # With numbers that may be bad: they are as bad on the machines of the release before.
    word = "is no worse than what it replaces" if beside else _IN_PEACE[verdict.state]
    return _sentence(target, bad, word, verdict.why)


def underway(running: RollbackStarted, current: Release | None, verdict: Verdict) -> str:
    """Of a breach while a rollback runs: the release that goes is not one that is not blamed."""
    change = (running.bad.version, running.good.version)
    return _underway(running.target, change, current, verdict)


def cause(running: RollbackStarted) -> str:
    """`because error-rate breached: v3 -> v2`, or who or what else asked for it."""
    if running.undoes is not None:
        why = f"to undo {running.undoes}, a false alarm"
    elif running.trigger is not None:
        why = f"because {running.trigger} breached"
    else:
        why = "by hand"
    return f"{why}: v{running.bad.version} -> v{running.good.version}"


def headline(
    decision: Decision, current: Release | None, running: tuple[int, int] | None = None
) -> str:
    """What the decision rests on, in one sentence. `current`: the release that runs.

    `running`: from which version to which a rollback is under way, whatever the triggers say.
    """
    if isinstance(decision, RollBack):
        return decision.why
    found = [v for v in decision.verdicts if v.trigger == decision.trigger]
    verdict = found[0] if found else _telling(decision)
    if verdict is None:
        return _sentence(decision.target, current, "is not judged", "there are no triggers")
    if decision.reason is HoldReason.ROLLING_BACK and decision.bad and decision.good:
        running = decision.bad.version, decision.good.version
    if running is not None:
        return _underway(decision.target, running, current, verdict)
    return held(decision.reason, decision.target, decision.bad or current, verdict)


def compares(verdict: Verdict) -> bool:
    """Whether it compares the release with the time before: its numbers are odds."""
    return odds_of(verdict) is not None


def odds_of(verdict: Verdict) -> float | None:
    """The evidence that the release is worse, N to 1; None where the trigger compares nothing."""
    odds = verdict.evidence.get("odds")
    return None if odds is None else verdict.value


def level(verdict: Verdict) -> str:
    """quiet, watching, suspicious or act, as the evidence grows; empty where nothing was counted.

    By default 20, 200 and 2,000 to 1: docs/detection.md. Another `evidence:` moves all three.
    """
    odds = odds_of(verdict)
    if odds is None or not verdict.threshold or not verdict.samples:
        return ""
    return next((word for part, word in LEVELS if odds >= part * verdict.threshold), "quiet")


def _underway(
    target: TargetName, change: tuple[int, int], current: Release | None, verdict: Verdict
) -> str:
    bad, good = change
    if current is None or current.version == bad:
        return f"{target} v{bad} is being rolled back to v{good}: {verdict.why}"
    return _sentence(target, current, f"is put back in place of v{bad}", verdict.why)


def _telling(decision: Hold) -> Verdict | None:
    """In peace: the comparison says most, once it has counted; else what has counted most."""
    return max(decision.verdicts, key=_says, default=None)


def _says(verdict: Verdict) -> tuple[bool, float]:
    counted = verdict.samples > 0
    return counted and compares(verdict), verdict.samples if counted else 0.0


def _sentence(target: TargetName, release: Release | None, word: str, why: str) -> str:
    name = target if release is None else f"{target} v{release.version}"
    return f"{name} {word}: {why}" if why else f"{name} {word}"
