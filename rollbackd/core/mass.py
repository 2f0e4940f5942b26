"""Many targets broken together are not one bad release. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rollbackd.core.policy import MassSafety

AT_LEAST = 2  # one target alone is always 100 % of one target


def mass_failing(policy: MassSafety, onset: float, onsets: Iterable[float], targets: int) -> bool:
    """Whether what began at `onset` in one target began in enough of all `targets` at about then.

    `onsets`: of each target that is broken or about to be, this one too. They are compared with
    each other and not with the clock: how long a trigger takes to be sure differs between them.
    """
    together = sum(abs(each - onset) <= policy.within_seconds for each in onsets)
    if together < AT_LEAST:
        return False
    return together >= policy.targets or together >= policy.share * targets
