"""What outlives a process of one target's state, as JSON and back. It judges nothing.

Pauses, approvals, rollbacks and cool-downs are not here: those facts are kept one by one and are
told to the new state again. Restored is only what belongs to a probe or trigger that is still the
same; what does not look right is left out, and then it is as if it had never been seen. The time
nobody watched is a gap like any other.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rollbackd.core import readers
from rollbackd.core.carry import signals
from rollbackd.core.deploys import Deploys
from rollbackd.core.facts import ReleasesSeen, TargetFact
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import Json, JsonObject, Machine, ProbeName, Release
from rollbackd.core.observed import Place
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack
from rollbackd.core.readers import Odd, Reader, finite, flag, maybe, number, text, whole
from rollbackd.core.rules import Signal
from rollbackd.core.state import TargetState
from rollbackd.core.watch import SignalWatch, Trust

VERSION: Final = 1
HEARD_SECONDS: Final = 600.0  # a fact kept longer ago than this has been heard
AHEAD_SECONDS: Final = 5.0  # a state from further in the future was written by another clock


def _trust(raw: Json) -> Trust:
    if text(raw) not in set(Trust):
        raise Odd
    return Trust(str(raw))


STATE: Final[Mapping[str, Reader]] = {
    "created_at": finite,
    "platform_seen_at": finite,
    "control_ok": flag,
    "control_detail": text,
    "suppressed": whole,
}
WATCH: Final[Mapping[str, Reader]] = {
    "seen_at": finite,
    "sample_at": number,
    "counts_after": number,
    "blocked_until": number,
    "refused_at": maybe(finite),
    "missed": text,
    "asleep": flag,
    "before": _trust,
    "before_since": maybe(finite),
    "judged_at": maybe(finite),
    "well_since": maybe(finite),
    "bad_since": maybe(finite),
    "breached_at": maybe(finite),
    "covered_seconds": readers.count,
    "thin": flag,
    "known_well": flag,
    "_spotless": flag,
    "_gap_since_restart": flag,
    "_block_next": flag,
    "_whole": flag,
    "_well_until_bad": flag,
}
PROBE: Final[Mapping[str, Reader]] = {
    "at": number,
    "outcome": text,
    "detail": text,
    "looked_at": maybe(finite),
    "ok_at": maybe(finite),
    "seconds": maybe(finite),
    "value": maybe(finite),
    "failures_in_a_row": whole,
    "asleep": flag,
    "woke_at": maybe(finite),
}
DEPLOYS: Final[Mapping[str, Reader]] = {
    "foreign_leases": whole,
    "releases_at": number,
    "machines_at": number,
    "current_since": number,
    "settle_from": number,
    "settled": flag,
    "_effect": number,
    "_unswitched_at": number,
}


def mark(fact: TargetFact) -> str:
    """Tells a fact that is kept by itself from every other one of its target."""
    return f"{type(fact).__name__}/{fact.at!r}/{getattr(fact, 'rollback', '')}"


def as_json(state: TargetState, now: float, heard: Iterable[str] = ()) -> JsonObject:
    """Plain JSON but for infinities, a few kilobytes; `revive` reads it back.

    `heard`: the marks of the facts kept by themselves of the last ten minutes at least.
    """
    policy = state.policy
    return {
        "version": VERSION,
        "at": now,
        "heard": [*heard],
        "state": readers.taken(state, STATE),
        "deploys": _deploys(state.deploys),
        "probes": {
            name: {"mark": _probe_mark(policy, name), **_probe(track)}
            for name, track in state.probes.items()
        },
        "watches": [
            [*place, _signal_mark(policy, place, watch.signal), _watch(watch)]
            for place, watch in state.watches.items()
        ],
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
        deploys = _deploys_from(readers.member(kept, "deploys"), at)
        readers.put(state, STATE, readers.member(kept, "state"))
    except Odd:
        return False
    state.deploys = deploys
    _restore_probes(state, kept, at)
    _restore_watches(state, kept, at)
    return True


# Probes and signals -----------------------------------------------------------------------------


def _restore_probes(state: TargetState, kept: Json, at: float) -> None:
    for name, policy in state.policy.probes.items():
        track = ProbeTrack(policy)
        try:
            row = readers.member(_member(kept, "probes"), name)
            if readers.member(row, "mark") != _probe_mark(state.policy, name):
                continue
            readers.put(track, PROBE, row)
            track.recent.restore(readers.member(row, "recent"))
            _refuse_future(at, track.at, track.woke_at)
        except Odd:
            continue
        state.probes[name] = track


def _restore_watches(state: TargetState, kept: Json, at: float) -> None:
    rows = {tuple(row[:4]): row[4] for row in _rows(kept)}
    for place, signal in signals(state.policy):
        row = rows.get((*place, _signal_mark(state.policy, place, signal)))
        watch = _watch_from(state.watches[place], row, at)
        if watch is not None:
            watch.resumed = True
            state.watches[place] = watch
        elif not place.veto:
            state.watches[place].counts_after = state.deploys.current_since


def _restore_regressions(state: TargetState, raw: Json, now: float) -> None:
    at, version = _member(raw, "at"), _member(raw, "version")
    usable = isinstance(at, int | float) and at <= now + AHEAD_SECONDS and version == VERSION
    kept = _member(raw, "kept") if usable else None
    for fresh in state.regressions.restore(kept, state.policy):
        if state.current is not None:
            fresh.begin(max(now, state.deploys.current_since))


def _rows(kept: Json) -> list[Any]:
    found = _member(kept, "watches")
    rows = found if isinstance(found, list) else []
    width = len(Place._fields) + 2
    return [
        row
        for row in rows
        if isinstance(row, list)
        and len(row) == width
        and all(isinstance(each, str | int) for each in row[:-1])
    ]


def _probe(track: ProbeTrack) -> JsonObject:
    return {**readers.taken(track, PROBE), "recent": track.recent.as_json()}


def _watch(watch: SignalWatch) -> JsonObject:
    return {
        **readers.taken(watch, WATCH),
        "gauge": watch.gauge.as_json(),
        "tally": watch.tally.as_json(),
        "last_well": watch.last_well.as_json(),
    }


def _watch_from(fresh: SignalWatch, row: Json, at: float) -> SignalWatch | None:
    watch = SignalWatch(fresh.signal, at, delay_seconds=fresh.delay_seconds)
    try:
        readers.put(watch, WATCH, row)
        watch.gauge.restore(readers.member(row, "gauge"))
        watch.tally.restore(readers.member(row, "tally"))
        watch.last_well.restore(readers.member(row, "last_well"), at)
        _refuse_future(at, watch.seen_at, watch.sample_at, watch.judged_at, watch.refused_at)
        _refuse_unfounded(watch)
    except Odd:
        return None
    return watch


def _refuse_future(at: float, *times: float | None) -> None:
    if any(time is not None and time > at + AHEAD_SECONDS for time in times):
        raise Odd


def _refuse_unfounded(watch: SignalWatch) -> None:
    """A breach must stand on what it says it was made from."""
    times = (watch.bad_since, watch.breached_at, watch.well_since)
    if watch.judged_at is None:
        if any(time is not None for time in times):
            raise Odd
        return
    if any(time is not None and time > watch.judged_at for time in times):
        raise Odd
    if watch.breached_at is not None and not _founded(watch):
        raise Odd


def _founded(watch: SignalWatch) -> bool:
    signal = watch.signal
    if watch.bad_since is None:
        return False
    if signal.clear is not None:
        return True  # it holds on for as long as it is not clear, whatever the newest look says
    if signal.breaches is not None:
        return watch.tally.bad >= signal.breaches.at_least
    return watch.covered_seconds >= signal.for_seconds


def _probe_mark(policy: TargetPolicy, name: ProbeName) -> int:
    return _crc(policy.probes.get(name), policy.fingerprints.get(f"probe:{name}"))


def _signal_mark(policy: TargetPolicy, place: Place, signal: Signal) -> int:
    trigger = policy.fingerprints.get(f"trigger:{place.trigger}")
    return _crc(signal, trigger, _probe_mark(policy, signal.probe))


def _crc(*values: object) -> int:
    return zlib.crc32(repr(values).encode())


# Releases and machines --------------------------------------------------------------------------


def _deploys(deploys: Deploys) -> JsonObject:
    machines = deploys.machines
    return {
        **readers.taken(deploys, DEPLOYS),
        "known": [readers.flat(release) for release in deploys.known],
        "seen": [release.version for release in deploys.seen],
        "machines": None if machines is None else [readers.flat(each) for each in machines],
        "current": _flat(deploys.current),
        "put_back": _flat(deploys.put_back),
        **deploys.as_json(),
    }


def _deploys_from(kept: Json, at: float) -> Deploys:
    deploys = Deploys()
    readers.put(deploys, DEPLOYS, kept)
    rows = readers.items(readers.member(kept, "known"))
    deploys.known = tuple(readers.made(Release, row) for row in rows)
    by_version = {release.version: release for release in deploys.known}
    seen = [whole(version) for version in readers.items(readers.member(kept, "seen"))]
    deploys.seen = tuple(by_version[version] for version in seen if version in by_version)
    machines = readers.member(kept, "machines")
    if machines is not None:
        deploys.machines = tuple(readers.made(Machine, row) for row in readers.items(machines))
    put_back = readers.member(kept, "put_back")
    if put_back is not None:
        # The same object on purpose: that is how it is told from a release with a record.
        deploys.put_back = deploys.current = readers.made(Release, put_back)
    elif (current := readers.member(kept, "current")) is not None:
        deploys.current = readers.made(Release, current)
    deploys.restore(kept)
    _refuse_future(at, deploys.releases_at, deploys.machines_at)
    return deploys


def _flat(release: Release | None) -> Json:
    return None if release is None else readers.flat(release)


def _member(kept: Json, name: str) -> Json:
    return kept.get(name) if isinstance(kept, dict) else None
