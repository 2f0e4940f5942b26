"""A regression watch as JSON and back. What waits for the next tick is not kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollbackd.core.frozen import baseline_of
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.stream import Stream
from rollbackd.core.streams import Frozen

if TYPE_CHECKING:
    from rollbackd.core.judged import Judged

TIMES = ("first_at", "seen_at", "taken_at", "gap_ended_at")


def as_json(watch: Judged) -> JsonObject:
    return {
        "streams": {name: _stream_json(stream) for name, stream in watch.streams.items()},
        "hard": watch.hard.as_json(),
        "downs": watch.downs.as_json(),
        "sides": watch.sides.as_json(),
        "clock": watch.clock.as_json(),
        "frozen": _frozen_json(watch.frozen),
        "foreseen": _frozen_json(watch.foreseen),
        "begun_at": watch.begun_at,
        "innocent_until": _kept(watch.innocent_until),
        "at_once": watch.at_once,
        "crossed": watch.crossed,
        "held_odds": watch.held_odds,
        "excused": watch.excused,
    }


def restore(watch: Judged, kept: JsonObject) -> None:
    begun = kept["begun_at"]
    watch.begun_at = float(begun) if isinstance(begun, int | float) else None
    watch.innocent_until = _number(kept["innocent_until"], -math.inf)
    watch.at_once, watch.crossed = bool(kept["at_once"]), bool(kept["crossed"])
    watch.excused, watch.held_odds = bool(kept["excused"]), _number(kept["held_odds"], 0.0)
    watch.frozen, watch.foreseen = _frozen_of(kept["frozen"]), _frozen_of(kept["foreseen"])
    for name, row in _object(kept["streams"]).items():
        _restore_stream(watch.streams[name], _object(row))
    watch.hard.restore(_object(kept["hard"]))
    watch.downs.restore(_object(kept["downs"]))
    watch.sides.restore(_object(kept["sides"]))
    watch.clock.restore(_object(kept["clock"]))


def _stream_json(stream: Stream) -> JsonObject:
    times: JsonObject = {name: _kept(getattr(stream, name)) for name in TIMES}
    recent: list[Json] = [[bad, total, float(over)] for bad, total, over in stream.recent]
    latest: list[Json] = [[bad, total] for bad, total in stream.latest]
    return {
        **times,
        "history": stream.history.as_json(),
        "baseline": None if stream.baseline is None else stream.baseline.as_json(),
        "evidence": None if stream.evidence is None else stream.evidence.as_json(),
        "run": stream.run.as_json(),
        "recent": recent,
        "latest": latest,
        "ticks": stream.ticks,
        "waited": stream.waited,
        "raised": stream.raised,
        "missed": stream.missed,
        "gap": stream.gap,
        "row": None if stream.row is None else [*stream.row],
        "late_row": None if stream.late_row is None else [*stream.late_row],
    }


def _restore_stream(stream: Stream, kept: JsonObject) -> None:
    baseline, evidence = kept["baseline"], kept["evidence"]
    if isinstance(baseline, dict):
        stream.begin(baseline_of(baseline))
    if isinstance(evidence, dict) and stream.evidence is not None:
        stream.evidence.restore(evidence)
    for name in TIMES:
        setattr(stream, name, _number(kept[name], math.inf if name == "first_at" else -math.inf))
    stream.history.restore(_object(kept["history"]))
    stream.run.restore(_object(kept["run"]))
    stream.recent.extend((bad, total, over > 0) for bad, total, over in _rows(kept["recent"]))
    stream.latest.extend((bad, total) for bad, total in _rows(kept["latest"]))
    stream.ticks, stream.waited = int(_number(kept["ticks"], 0)), int(_number(kept["waited"], 0))
    stream.raised = _number(kept["raised"], 0.0)
    stream.missed, stream.gap = bool(kept["missed"]), bool(kept["gap"])
    stream.row, stream.late_row = _row(kept["row"]), _row(kept["late_row"])


def _frozen_json(frozen: Frozen | None) -> JsonObject | None:
    if frozen is None:
        return None
    return {
        "at": frozen.at,
        "mark": frozen.mark,
        "baselines": {name: b.as_json() for name, b in frozen.baselines.items()},
        "need": frozen.need,
        "learning": frozen.learning,
    }


def _frozen_of(kept: Json) -> Frozen | None:
    if not isinstance(kept, dict):
        return None
    need = kept["need"]
    return Frozen(
        at=_number(kept["at"], 0.0),
        mark=_number(kept["mark"], 0.0),
        baselines={n: baseline_of(_object(b)) for n, b in _object(kept["baselines"]).items()},
        need=need if isinstance(need, int) else None,
        learning=str(kept["learning"]),
    )


def _kept(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _number(kept: Json, otherwise: float) -> float:
    return float(kept) if isinstance(kept, int | float) else otherwise


def _object(kept: Json) -> JsonObject:
    assert isinstance(kept, dict), "written by as_json"
    return kept


def _row(kept: Json) -> list[float] | None:
    if not isinstance(kept, list):
        return None
    return [float(value) for value in kept if isinstance(value, int | float)]


def _rows(kept: Json) -> list[list[float]]:
    assert isinstance(kept, list), "written by as_json"
    return [row for row in map(_row, kept) if row is not None]
