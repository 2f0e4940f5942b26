"""The probes and signals of a target as JSON and back. It judges nothing.

Restored is only what belongs to a probe or trigger that is still the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from rollbackd.core import readers
from rollbackd.core.carry import signals
from rollbackd.core.model import Json, JsonObject, ProbeName
from rollbackd.core.observed import Place
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.probe_track import ProbeTrack
from rollbackd.core.readers import (
    Odd,
    Reader,
    finite,
    flag,
    maybe,
    number,
    refuse_future,
    text,
    whole,
)
from rollbackd.core.rules import Signal
from rollbackd.core.state import TargetState
from rollbackd.core.watch import SignalWatch, Trust


def _trust(raw: Json) -> Trust:
    if text(raw) not in set(Trust):
        raise Odd
    return Trust(str(raw))


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


def probes_json(state: TargetState) -> JsonObject:
    """`restore_probes` reads it back."""
    return {
        name: {"mark": _probe_mark(state.policy, name), **_probe(track)}
        for name, track in state.probes.items()
    }


def watches_json(state: TargetState) -> list[Json]:
    """`restore_watches` reads it back."""
    return [
        [*place, _signal_mark(state.policy, place, watch.signal), _watch(watch)]
        for place, watch in state.watches.items()
    ]


def restore_probes(state: TargetState, kept: Json, at: float) -> None:
    """`kept` is from `at`. Raises nothing, whatever it is."""
    for name, policy in state.policy.probes.items():
        track = ProbeTrack(policy)
        try:
            row = readers.member(kept, name)
            if readers.member(row, "mark") != _probe_mark(state.policy, name):
                continue
            readers.put(track, PROBE, row)
            track.recent.restore(readers.member(row, "recent"))
            refuse_future(at, track.at, track.woke_at)
        except Odd:
            continue
        state.probes[name] = track


def restore_watches(state: TargetState, kept: Json, at: float) -> None:
    """`kept` is from `at`. Raises nothing, whatever it is."""
    rows = {tuple(row[:4]): row[4] for row in _rows(kept)}
    for place, signal in signals(state.policy):
        row = rows.get((*place, _signal_mark(state.policy, place, signal)))
        watch = _watch_from(state.watches[place], row, at)
        if watch is not None:
            watch.resumed = True
            state.watches[place] = watch
        elif not place.veto:
            state.watches[place].counts_after = state.deploys.current_since


def _rows(kept: Json) -> list[Any]:
    rows = kept if isinstance(kept, list) else []
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
        refuse_future(at, watch.seen_at, watch.sample_at, watch.judged_at, watch.refused_at)
        _refuse_unfounded(watch)
    except Odd:
        return None
    return watch


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
