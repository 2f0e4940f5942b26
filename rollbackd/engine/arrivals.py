"""Says of every release that came whose it is: a deploy, a rollback of ours, or a person's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import structlog

from rollbackd.core.facts import ReleasesSeen
from rollbackd.core.known_good import returns_to
from rollbackd.core.marks import same_content
from rollbackd.core.model import Release
from rollbackd.core.state import TargetState
from rollbackd.telemetry import events
from rollbackd.telemetry.metrics import Metrics

log = structlog.get_logger()


def meet(
    state: TargetState,
    fact: ReleasesSeen,
    metrics: Metrics,
    apply: Callable[[ReleasesSeen], None],
) -> None:
    """Say whose the new releases are, and which brings back what was rolled back from."""
    for version, kind in arrivals(state, fact):
        metrics.releases_observed(fact.target, kind)
        log.info(events.RELEASE_SEEN, target=fact.target, version=version, kind=kind)
    before = {*state.ledger.relapsed}
    apply(fact)
    for version, why in relapses(state, before):
        metrics.quarantined_deploy(state.name)
        log.warning(events.RELEASE_RELAPSED, target=state.name, version=version, why=why)


def arrivals(state: TargetState, fact: ReleasesSeen) -> Iterator[tuple[int, str]]:
    """(version, kind) of what this look shows for the first time, oldest first.

    What was there before we first looked did not arrive.
    """
    newest = state.deploys.newest
    if newest is None:
        return
    for release in sorted(fact.releases, key=lambda one: one.version):
        if release.version > newest.version:
            yield release.version, _kind(state, fact, release)


def relapses(state: TargetState, before: Collection[int]) -> Iterator[tuple[int, str]]:
    """(version, why) of the releases that came with what was quarantined, and are not in `before`.

    It may be known only some looks after the release itself, with its content or its commit.
    """
    for version, why in state.ledger.relapsed.items():
        if version not in before:
            yield version, why


def _kind(state: TargetState, fact: ReleasesSeen, release: Release) -> str:
    running = state.rollbacks.running
    ours = running is not None and same_content(release.content, running.good.content)
    if ours or release.version in state.deploys.ours:
        return "rollback"
    return "deploy" if returns_to(fact.releases, release) is None else "external"
