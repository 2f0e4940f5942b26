"""Which samples count while a start may take its time. It knows what answered, not what is ill."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from rollbackd.core.deploys import Deploys
from rollbackd.core.facts import Check, CheckOutcome, MeasureKind, Ratio, Sample
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack, is_down


class Settling(enum.StrEnum):
    """What a sample says about a release that just came."""

    OVER = "over"  # it had its time before: the sample counts
    ENDS = "ends"  # this is its first success: the sample counts, what was before does not
    EXPIRES = "expires"  # it had its time just now: from its end on, samples count
    GOES_ON = "goes_on"  # the sample does not count


def outcome_of(sample: Sample, others: Iterable[ProbeTrack]) -> CheckOutcome:
    """What a look says; a refusal is a failure only where another probe agrees."""
    if not isinstance(sample.measure, Check):
        return CheckOutcome.OK
    outcome = sample.measure.outcome
    if outcome is CheckOutcome.REFUSED and any(o.says_down(sample.at) for o in others):
        return CheckOutcome.FAILED
    return outcome


def settling(
    policy: TargetPolicy, deploys: Deploys, sample: Sample, outcome: CheckOutcome
) -> Settling:
    if deploys.settled:
        return Settling.OVER
    if sample.at > deploys.settle_until(policy.safety):
        return Settling.EXPIRES
    return Settling.ENDS if _succeeds(policy, deploys, sample, outcome) else Settling.GOES_ON


def waking(
    policy: TargetPolicy, deploys: Deploys, track: ProbeTrack, sample: Sample, outcome: CheckOutcome
) -> bool:
    """Whether a sleeping app was woken so lately that it may still boot."""
    if track.woke_at is None or outcome is CheckOutcome.OK:
        return False
    return sample.at <= track.woke_at + deploys.allowance(policy.safety)


def _succeeds(
    policy: TargetPolicy, deploys: Deploys, sample: Sample, outcome: CheckOutcome
) -> bool:
    if not policy.safety.settle_until_first_success or not deploys.can_answer():
        return False
    if sample.at <= deploys.settle_from or policy.probes[sample.probe].dependency:
        return False
    if isinstance(sample.measure, Check):
        return outcome is CheckOutcome.OK
    own = (p for p in policy.probes.values() if not p.dependency)
    if any(p.measure is MeasureKind.CHECK for p in own):
        return False  # only a check can say that the app is up
    return not (isinstance(sample.measure, Ratio) and is_down(sample.measure))
