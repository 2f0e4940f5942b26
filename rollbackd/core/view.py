"""The parts of what people see of a target, made from values. It judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollbackd.core.deploys import Deploys
from rollbackd.core.facts import RollbackStarted
from rollbackd.core.known_good import Ledger, Standing, goal
from rollbackd.core.model import Release, ReleaseStatus, TriggerName, TriggerState, Verdict
from rollbackd.core.rules import Severity, Trigger
from rollbackd.core.snapshot import ReleaseView, RollbackView


def healthy(verdicts: Sequence[Verdict], triggers: Mapping[TriggerName, Trigger]) -> bool | None:
    """None while nothing is known; a warning makes nobody ill."""
    states = {v.state for v in verdicts if triggers[v.trigger].severity is Severity.CRITICAL}
    if TriggerState.BREACHED in states:
        return False
    return True if states & {TriggerState.OK, TriggerState.PENDING} else None


def rollback_view(
    started: RollbackStarted | None, switched_at: float | None
) -> RollbackView | None:
    if started is None:
        return None
    return RollbackView(
        rollback=started.rollback,
        bad_version=started.bad.version,
        good_version=started.good.version,
        started_at=started.at,
        switched_at=switched_at,
    )


def release_views(ledger: Ledger, deploys: Deploys) -> tuple[ReleaseView, ...]:
    current = deploys.current
    back_to = None if current is None else goal(ledger, deploys.known, current)
    return tuple(
        ReleaseView(
            release=release,
            standing=_standing(ledger, release, current).value,
            current=current is not None and release.version == current.version,
            goal=back_to is not None and release.version == back_to.release.version,
        )
        for release in deploys.known
    )


def _standing(ledger: Ledger, release: Release, current: Release | None) -> Standing:
    standing = ledger.standing(release)
    seen_well = release.status is ReleaseStatus.COMPLETE and release in ledger.cleared
    if standing is Standing.UNKNOWN and release is current and seen_well:
        return Standing.GOOD  # as far as can be said before a successor comes
    return standing
