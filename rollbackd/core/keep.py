"""What outlives a process of one target's state, as JSON and back. It judges nothing.

Pauses, approvals, rollbacks and cool-downs are not here: those facts are kept one by one and are
told to the new state again. Restored is only what belongs to a probe or trigger that is still the
same; what does not look right is left out, and then it is as if it had never been seen. The time
nobody watched is a gap like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from rollbackd.core import deploys_kept, readers, watches_kept
from rollbackd.core.facts import ReleasesSeen, TargetFact
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.readers import AHEAD_SECONDS, Odd, Reader, finite, flag, number, text, whole
from rollbackd.core.state import TargetState

VERSION: Final = 1
HEARD_SECONDS: Final = 600.0  # a fact kept longer ago than this has been heard

STATE: Final[Mapping[str, Reader]] = {
    "created_at": finite,
    "platform_seen_at": finite,
    "control_ok": flag,
    "control_detail": text,
    "suppressed": whole,
}


def mark(fact: TargetFact) -> str:
    """Tells a fact that is kept by itself from every other one of its target."""
    return f"{type(fact).__name__}/{fact.at!r}/{getattr(fact, 'rollback', '')}"


def as_json(state: TargetState, now: float, heard: Iterable[str] = ()) -> JsonObject:
    """Plain JSON but for infinities, a few kilobytes; `revive` reads it back.

    `heard`: the marks of the facts kept by themselves of the last ten minutes at least.
    """
    return {
        "version": VERSION,
        "at": now,
        "heard": [*heard],
        "state": readers.taken(state, STATE),
        "deploys": deploys_kept.as_json(state.deploys),
        "probes": watches_kept.probes_json(state),
        "watches": watches_kept.watches_json(state),
    }


def regressions_as_json(state: TargetState, now: float) -> JsonObject:
    """What is kept apart because it is large; `revive` takes it as `regressions`."""
    return {"version": VERSION, "at": now, "kept": state.regressions.as_json(state.policy)}


def revive(
    state: TargetState,
    kept: Json,
    *,
    regressions: Json = None,
    ledger: JsonObject,
    facts: Iterable[TargetFact],
    now: float,
    apply: Callable[[TargetFact], None],
) -> None:
    """Go on where an earlier process stopped, with a state that heard nothing yet.

    `facts` are those kept by themselves, in their order. What they taught the earlier process is
    in `kept`; only those it had not heard when it wrote that are told again on top. The same goes
    for the ledger, which is written at every tick.
    """
    told = list(facts)
    news = _news(kept, told)
    if news is None:
        state.ledger.restore(ledger)
        for fact in told:
            apply(fact)
        return
    for index, fact in enumerate(told):
        if index not in news:
            apply(fact)
    if restore(state, kept, now):
        state.ledger = Ledger()
        _restore_regressions(state, regressions, now)
    state.ledger.restore(ledger)
    for index in news:
        apply(told[index])


def _news(kept: Json, facts: Sequence[TargetFact]) -> list[int] | None:
    """Which facts came after `kept` was written; None where it cannot be told."""
    try:
        at = finite(readers.member(kept, "at"))
        heard = {text(each) for each in readers.items(readers.member(kept, "heard"))}
        looked_at = number(readers.member(readers.member(kept, "deploys"), "releases_at"))
    except Odd:
        return None
    return [
        index
        for index, fact in enumerate(facts)
        if (
            fact.at > looked_at
            if isinstance(fact, ReleasesSeen)
            else fact.at >= at - HEARD_SECONDS and mark(fact) not in heard
        )
    ]


def restore(state: TargetState, kept: Json, now: float) -> bool:
    """Overlay a state that heard the facts kept by themselves; whether anything was usable.

    Raises nothing, whatever `kept` is.
    """
    try:
        at = finite(readers.member(kept, "at"))
        if readers.member(kept, "version") != VERSION or at > now + AHEAD_SECONDS:
            return False
        deploys = deploys_kept.restored(readers.member(kept, "deploys"), at)
        readers.put(state, STATE, readers.member(kept, "state"))
    except Odd:
        return False
    state.deploys = deploys
    watches_kept.restore_probes(state, _member(kept, "probes"), at)
    watches_kept.restore_watches(state, _member(kept, "watches"), at)
    return True


def _restore_regressions(state: TargetState, raw: Json, now: float) -> None:
    at, version = _member(raw, "at"), _member(raw, "version")
    usable = isinstance(at, int | float) and at <= now + AHEAD_SECONDS and version == VERSION
    kept = _member(raw, "kept") if usable else None
    fresh, deploys = state.regressions.restore(kept, state.policy), state.deploys
    if deploys.current is None:
        return
    for watch in state.regressions.watches.values():
        if watch in fresh:
            watch.begin(max(now, deploys.current_since))
        elif deploys.current.version not in deploys.ours and watch.judges_before(
            deploys.current_since
        ):
            # Else it would be judged by the age and the baseline of the release before.
            watch.begin(deploys.current_since, machines_seen=deploys.machines is not None)


def _member(kept: Json, name: str) -> Json:
    return kept.get(name) if isinstance(kept, dict) else None
