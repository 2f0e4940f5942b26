"""Decides for several targets at one moment: many that break together are not one bad release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rollbackd.core.decide import decide
from rollbackd.core.mass import AT_LEAST, mass_failing
from rollbackd.core.model import Decision, TargetName, TriggerState, Verdict
from rollbackd.core.policy import Policy
from rollbackd.core.rules import Severity
from rollbackd.core.state import TargetState
from rollbackd.core.triggers import judge, onset_of

ILL: Final = frozenset({TriggerState.BREACHED, TriggerState.PENDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mass:
    """`onsets` of all targets with a critical trigger that is breached or pending; `failing`:
    those that broke together with too many others.
    """

    onsets: Mapping[TargetName, float]
    failing: frozenset[TargetName]


def mass_of(
    policy: Policy,
    states: Mapping[TargetName, TargetState],
    standing: Mapping[TargetName, Decision],
    due: Iterable[TargetName],
    now: float,
) -> Mass:
    """Whether many targets are broken, by what those that are due look like at this very moment
    and by what was decided last (`standing`) of the others.

    Three that break in one second must not all be rolled back in it.
    """
    if len(policy.targets) < AT_LEAST:
        return Mass(onsets={}, failing=frozenset())
    told: dict[TargetName, Sequence[Verdict]] = {n: d.verdicts for n, d in standing.items()}
    for name in due:
        state = states[name]
        told[name] = [judge(trigger, state, now) for trigger in state.policy.triggers]
    onsets = {}
    for name, verdicts in told.items():
        since = _onset(policy, name, verdicts)
        if since is not None:
            onsets[name] = since
    failing = frozenset(
        name
        for name, onset in onsets.items()
        if mass_failing(policy.mass, onset, onsets.values(), len(policy.targets))
    )
    return Mass(onsets=onsets, failing=failing)


def decide_all(
    policy: Policy,
    states: Mapping[TargetName, TargetState],
    due: Iterable[TargetName],
    now: float,
    mass: Mass,
) -> dict[TargetName, Decision]:
    """A decision for each target that is due."""
    return {
        name: decide(policy, states[name], now, mass_failing=name in mass.failing) for name in due
    }


def _onset(policy: Policy, name: TargetName, verdicts: Sequence[Verdict]) -> float | None:
    critical = {t.name for t in policy.targets[name].triggers if t.severity is Severity.CRITICAL}
    onsets = [
        verdict.since if onset_of(verdict) is None else float(onset_of(verdict) or 0)
        for verdict in verdicts
        if verdict.state in ILL and verdict.trigger in critical
    ]
    return min(onsets, default=None)
