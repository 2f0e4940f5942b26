"""Reasons to hold although a trigger is breached, in order. Each says why it holds or why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from rollbackd.core import known_good
from rollbackd.core.caps import Reach
from rollbackd.core.known_good import Goal
from rollbackd.core.marks import CONFIG_MARK, same_content
from rollbackd.core.model import GateSays, HoldReason, Release, TriggerState, Verdict
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.rules import DeployFailed, Mode, Regression, Trigger
from rollbackd.core.sentence import cause
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import trust_of, veto_why
from rollbackd.core.watch import Trust
from rollbackd.core.wording import pause, seconds, some

Answer: TypeAlias = tuple[bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One trigger against one release: what the gates are asked about."""

    target: TargetPolicy
    state: TargetState
    now: float
    trigger: Trigger
    verdict: Verdict
    mass_failing: bool
    bad: Release | None
    goal: Goal | None
    reach: Reach


def rolling_back(case: Case) -> Answer:
    running = case.state.rollbacks.running
    if running is None:
        return False, "no rollback is running"
    since = seconds(max(0.0, case.now - running.at))
    return True, f"{running.rollback} is under way since {since}, {cause(running)}"


def deploy_in_progress(case: Case) -> Answer:
    deploys = case.state.deploys
    newest = deploys.newest
    if newest is None or not deploys.underway(case.now, case.target.safety):
        return False, "nobody is deploying"
    age = seconds(max(0.0, case.now - deploys.appeared_at(newest)))
    return True, f"v{newest.version} is being deployed since {age}"


def blind(case: Case) -> Answer:
    state = case.state
    if not state.control_ok:
        return True, f"our own connectivity is in doubt: {state.control_detail or 'control failed'}"
    silent = case.now - state.platform_seen_at
    if silent > case.target.safety.blind_after_seconds:
        return True, f"the releases were not seen for {seconds(silent)}"
    return False, "control answers and the releases are seen"


def paused(case: Case) -> Answer:
    state = case.state
    if state.paused_until is None or not state.paused(case.now):
        return False, "not paused"
    return True, pause(state.paused_until, state.paused_by, case.now)


def locked_out(case: Case) -> Answer:
    if case.state.rollbacks.locked_out:
        why = case.state.rollbacks.locked_why
        return True, f"{why}; a person must look, then unlock"
    return False, "not locked out"


def release_is_rollback(case: Case) -> Answer:
    why = case.state.deploys.rollback_why(case.state.ledger)
    return bool(why), why or "the current release is no rollback"


def already_rolled_back(case: Case) -> Answer:
    spent, bad = case.state.rollbacks.spent, case.bad
    if bad is None or bad not in spent:
        return False, "never rolled back from automatically"
    if bad.version in spent.versions:
        return True, f"v{bad.version} was rolled back from before: once is all"
    same = [r.version for r in case.state.deploys.known
            if r.version in spent.versions and same_content(r.content, bad.content)]  # fmt: skip
    other = f"v{max(same)}" if same else "a release"
    return True, f"v{bad.version} has the content of {other} that was rolled back from: once is all"


def settling(case: Case) -> Answer:
    deploys, safety = case.state.deploys, case.target.safety
    if isinstance(case.trigger.rule, DeployFailed):
        return False, "a failed deploy needs no time to settle"
    if not deploys.settling(case.now, safety):
        return False, "the release has settled"
    left = seconds(deploys.settle_until(safety) - case.now)
    return True, f"the release may settle for {left} more, or until its first success"


def learning(case: Case) -> Answer:
    if not isinstance(case.trigger.rule, Regression):
        return False, "nothing has to be learned first"
    why = case.state.regressions.watches[case.trigger.name].learning()
    return bool(why), why or "enough is known of the time before the release"


def not_armed(case: Case) -> Answer:
    age = case.now - case.state.deploys.current_since
    watch = case.target.safety.watch_seconds
    if age > watch:
        return True, f"the release ran {seconds(age)}, longer than the watch of {seconds(watch)}"
    return False, f"within {seconds(watch)} after the release"


def not_since_release(case: Case) -> Answer:
    trust, since = trust_of(case.trigger, case.state, case.now)
    if trust is Trust.UNKNOWN:
        return False, "it is not known whether it was well before the release"
    if trust is not Trust.ILL and case.verdict.state is not TriggerState.BREACHED:
        return False, "nothing was wrong before the release came"
    if trust is not Trust.ILL:
        return False, "began after the release came"
    before = case.state.deploys.current_since - (since or 0.0)
    return True, f"was wrong {seconds(before)} before the release came, and not well since"


def vetoed(case: Case) -> Answer:
    why = veto_why(case.trigger, case.state, case.now)
    return bool(why), why or "nothing else is to blame"


def mass_failure(case: Case) -> Answer:
    if case.mass_failing:
        return True, "many targets broke at once: that is not one bad release"
    return False, "no mass failure"


def cooling_down(case: Case) -> Answer:
    until = case.state.rollbacks.cooldown_until(case.target.safety)
    if until is None or case.now >= until:
        return False, "no rollback ended lately"
    left, refused = seconds(until - case.now), case.state.rollbacks.refused_why
    if refused:
        return True, f"the last try was refused: {refused}; the next one in {left}"
    return True, f"the last rollback ended lately, {left} more"


def no_good_release(case: Case) -> Answer:
    if case.bad is None:
        return True, "no release is known yet"
    if case.goal is not None:
        return False, f"v{case.goal.release.version} is {case.goal.standing.value}"
    if known_good.quarantined_only(case.state.ledger, case.state.deploys.known, case.bad):
        return False, "there are earlier releases"
    return True, f"no earlier release than v{case.bad.version} is fit to go back to"


def quarantined_only(case: Case) -> Answer:
    known, ledger = case.state.deploys.known, case.state.ledger
    if case.bad is not None and known_good.quarantined_only(ledger, known, case.bad):
        return True, "every earlier release of other content is quarantined"
    return False, "not all earlier releases are quarantined"


def image_missing(case: Case) -> Answer:
    if case.goal is None:
        return False, "no release to look an image up for"
    release, missing = case.goal.release, case.state.missing_images
    names = {release.image, release.content, release.content.partition(CONFIG_MARK)[0]}
    if names & missing:
        return True, f"the image of v{release.version} is gone: {release.image}"
    return False, f"the image of v{release.version} is not known to be gone"


def schema_guard(_case: Case) -> Answer:
    return False, "asked of the database when a plan is made"


def budget_spent(case: Case) -> Answer:
    reach, safety = case.reach, case.target.safety
    if not reach.budget_spent:
        return False, "the budget is not spent"
    budget = some(safety.budget_rollbacks, "rollback")
    spent = f"the budget of {budget} in {seconds(safety.budget_per_seconds)} is spent"
    why = f"{spent}: the next one needs approval, and pages{reach.unanswered}"
    return reach.stopped_by_budget, why


def window(case: Case) -> Answer:
    reach = case.reach
    if reach.window is None:
        return False, "no time window is on"
    return (
        reach.stopped_by_window,
        f"the window {reach.window.name} allows {reach.window.mode.value} only",
    )


def observe_mode(case: Case) -> Answer:
    return case.reach.base is Mode.OBSERVE, case.reach.base_why


def awaiting_approval(case: Case) -> Answer:
    return case.reach.needs_approval, case.reach.approval_why


Gate: TypeAlias = Callable[[Case], Answer]

GATES: Final[tuple[tuple[HoldReason, Gate], ...]] = (
    (HoldReason.ROLLING_BACK, rolling_back),
    (HoldReason.DEPLOY_IN_PROGRESS, deploy_in_progress),
    (HoldReason.BLIND, blind),
    (HoldReason.PAUSED, paused),
    (HoldReason.LOCKED_OUT, locked_out),
    (HoldReason.RELEASE_IS_ROLLBACK, release_is_rollback),
    (HoldReason.ALREADY_ROLLED_BACK, already_rolled_back),
    (HoldReason.SETTLING, settling),
    (HoldReason.LEARNING, learning),
    (HoldReason.NOT_ARMED, not_armed),
    (HoldReason.NOT_SINCE_RELEASE, not_since_release),
    (HoldReason.VETOED, vetoed),
    (HoldReason.MASS_FAILURE, mass_failure),
    (HoldReason.COOLING_DOWN, cooling_down),
    (HoldReason.NO_GOOD_RELEASE, no_good_release),
    (HoldReason.QUARANTINED_ONLY, quarantined_only),
    (HoldReason.IMAGE_MISSING, image_missing),
    (HoldReason.SCHEMA_GUARD, schema_guard),
    (HoldReason.BUDGET_SPENT, budget_spent),
    (HoldReason.WINDOW, window),
    (HoldReason.OBSERVE_MODE, observe_mode),
    (HoldReason.AWAITING_APPROVAL, awaiting_approval),
)


def ask(case: Case) -> tuple[GateSays, ...]:
    """Every gate's answer, in order."""
    return tuple(_answers(case))


def first_held(case: Case) -> GateSays | None:
    """The first gate that holds; those after it are not asked."""
    return next((answer for answer in _answers(case) if answer.holds), None)


def _answers(case: Case) -> Iterator[GateSays]:
    for reason, gate in GATES:
        held, why = gate(case)
        yield GateSays(reason=reason, holds=held, why=why)
