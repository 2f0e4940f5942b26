"""A file says when what it tells of happened, not when a source that lags told it. Pure."""

from __future__ import annotations

from dataclasses import replace

from rollbackd.core.policy import Policy


def undelayed(policy: Policy) -> Policy:
    """The same policy for facts whose `at` is the end of the time they tell of."""
    return replace(
        policy,
        targets={
            name: replace(
                target,
                probes={
                    probe: replace(known, delay_seconds=0.0)
                    for probe, known in target.probes.items()
                },
            )
            for name, target in policy.targets.items()
        },
    )
