"""All streams of one regression watch: which there are, and what is frozen of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollbackd.core import hard_down
from rollbackd.core.frozen import Baseline, freeze, lately, tied
from rollbackd.core.hard_down import HardDown
from rollbackd.core.history import History, Ticks
from rollbackd.core.model import ProbeName
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rules import Regression
from rollbackd.core.side_by_side import SideBySide
from rollbackd.core.stream import ERRORS, HEALTH, HEALTH_ALONE, LATENCY, Kind, Stream
from rollbackd.core.wording import seconds

RECENT_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What a release is compared with. `at`: frozen then; `mark`: its own time begins there.

    `need`: ticks in a row that must be down, None for never; `learning`: what is missing.
    """

    at: float
    mark: float
    baselines: dict[str, Baseline]
    need: int | None
    learning: str


class Watching(Protocol):
    """What of a regression watch is frozen."""

    rule: Regression
    streams: dict[str, Stream]
    downs: History
    hard: HardDown
    frozen: Frozen | None


def streams_of(rule: Regression, probes: Mapping[ProbeName, ProbePolicy]) -> dict[str, Stream]:
    """Where errors are not counted, looks stand for them, and their seconds for the latency."""
    wanted: list[tuple[Kind, ProbeName | None]] = [
        (ERRORS, rule.errors),
        (HEALTH if rule.errors is not None else HEALTH_ALONE, rule.health),
        (LATENCY, rule.latency or (None if rule.errors is not None else rule.health)),
    ]
    return {
        kind.name: Stream(kind, rule, probes[probe]) for kind, probe in wanted if probe is not None
    }


def freeze_all(watch: Watching, at: float, mark: float, *, until: float = math.inf) -> Frozen:
    """Freeze what every stream knows, from stretches that began before `until`."""
    rule = watch.rule
    recent_seconds = min(RECENT_SECONDS, rule.history_at_least_seconds)
    pasts = [s.past(at, until, recent_seconds) for s in watch.streams.values()]
    baselines = freeze(
        pasts,
        at=at,
        tick_seconds=rule.tick_seconds,
        at_least_seconds=rule.history_at_least_seconds,
    )
    down, votes = watch.downs.ticks(0, until)
    return Frozen(
        at=at,
        mark=mark,
        baselines=baselines,
        need=_need(watch, down, votes),
        learning=_missing(rule, list(baselines.values())),
    )


def raise_recent(watch: Watching) -> None:
    """What was bad right before the first machine switched is tolerated, too."""
    assert watch.frozen is not None, "a release began"
    rows = round(RECENT_SECONDS / watch.rule.tick_seconds)
    rates = {
        name: lately(
            stream.history.tail(stream.baseline.bound, rows),
            tick_seconds=watch.rule.tick_seconds,
            looks=stream.baseline.looks,
        )
        for name, stream in watch.streams.items()
        if stream.baseline is not None and stream.history.bounds == stream.baseline.bounds
    }
    _raise(watch, rates, since=watch.frozen.at)
    down, votes = watch.downs.tail(0, rows)
    need = _need(watch, down, votes)
    known = watch.hard.need
    watch.hard.need = None if need is None or known is None else max(need, known)


def raise_by(watch: Watching, sides: SideBySide, at: float) -> None:
    """What the old machines did in the end is tolerated of the new ones, too."""
    rates: dict[str, float] = {}
    for name, stream in watch.streams.items():
        if stream.baseline is None:
            continue
        comparison = sides.comparisons[name]
        ticks = comparison.old_lately
        if comparison.evidence is None:  # told apart by no machine: then by the whole app
            rows = round(RECENT_SECONDS / watch.rule.tick_seconds)
            ticks = stream.history.tail(stream.baseline.bound, rows)
        rates[name] = lately(
            ticks, tick_seconds=watch.rule.tick_seconds, looks=stream.baseline.looks
        )
    _raise(watch, rates, since=at)
    if max((rates.get(name, 0.0) for name in ("errors", "health")), default=0.0) > hard_down.OFTEN:
        watch.hard.need = None


def _raise(watch: Watching, rates: Mapping[str, float], *, since: float) -> None:
    baselines = {
        name: stream.baseline
        if not rates.get(name)
        else stream.baseline.raised(rates[name], stream.kind.slack, since=since)
        for name, stream in watch.streams.items()
        if stream.baseline is not None
    }
    for name, baseline in tied(baselines).items():
        watch.streams[name].baseline = baseline


def _need(watch: Watching, down: Sequence[float], votes: Sequence[float]) -> int | None:
    sources = [s for s in watch.streams.values() if not s.counts_by_bound]
    if not sources:
        return None
    return hard_down.needed(
        down,
        votes,
        least=hard_down.at_least(min(s.pace_seconds for s in sources)),
        recent_ticks=round(hard_down.RECENT_SECONDS / watch.rule.tick_seconds),
    )


def _missing(rule: Regression, baselines: list[Baseline]) -> str:
    spare = 2 * rule.tick_seconds
    enough = [b for b in baselines if b.covered_seconds >= rule.history_at_least_seconds - spare]
    if not enough:
        most = max((b.covered_seconds for b in baselines), default=0.0)
        wanted = seconds(rule.history_at_least_seconds)
        return f"{seconds(round(most))} were seen before the release, {wanted} are needed"
    if not any(b.unbroken for b in enough):
        return "nothing was seen for a while in the 5 min before the release"
    return ""


def pair(ticks: Ticks) -> tuple[float, float]:
    """Bad and total of all ticks."""
    return math.fsum(ticks[0]), math.fsum(ticks[1])
