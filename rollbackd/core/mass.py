"""Many targets broken together are not one bad release. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollbackd.core.model import Decision, TriggerState
from rollbackd.core.policy import MassSafety

AT_LEAST = 2  # one target alone is always 100 % of one target


def mass_failing(policy: MassSafety, onsets: Sequence[float], targets: int, now: float) -> bool:
    """Whether enough of all `targets` broke within the last `within_seconds`.

    `onsets`: for each target with a breached critical trigger, when that breach began.
    """
    recent = sum(1 for onset in onsets if onset >= now - policy.within_seconds)
    if recent < AT_LEAST:
        return False
    return recent >= policy.targets or recent >= policy.share * targets


def onsets(decisions: Iterable[Decision]) -> list[float]:
    """When what is breached began, once per target."""
    found = []
    for decision in decisions:
        since = [v.since for v in decision.verdicts if v.state is TriggerState.BREACHED]
        if since:
            found.append(min(since))
    return found
