"""All streams of one regression watch: which there are, and what is frozen of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from rollbackd.core import hard_down
from rollbackd.core.bounds import telling_bound
from rollbackd.core.carried import carried
from rollbackd.core.frozen import Baseline, Past, freeze, lately, tied
from rollbackd.core.hard_down import HardDown
from rollbackd.core.history import History
from rollbackd.core.kinds import ERRORS, HEALTH, HEALTH_ALONE, LATENCY, Kind
from rollbackd.core.model import ProbeName
from rollbackd.core.policy import ProbePolicy
from rollbackd.core.rules import Regression
from rollbackd.core.side_by_side import SideBySide
from rollbackd.core.stream import Stream
from rollbackd.core.wording import seconds

RECENT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What a release is compared with. `at`: frozen then; `mark`: its own time begins there.

    `need`: ticks in a row that must be down, None for never; `learning`: what is missing.
    """

    at: float
    mark: float
    baselines: Mapping[str, Baseline]
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
    alone = rule.errors is None
    wanted: list[tuple[Kind, ProbeName | None]] = [
        (ERRORS, rule.errors),
        (HEALTH_ALONE if alone else HEALTH, rule.health),
        (LATENCY, rule.health if alone and rule.latency is None else rule.latency),
    ]
    return {
        kind.name: Stream(kind, rule, probes[probe]) for kind, probe in wanted if probe is not None
    }


def freeze_all(watch: Watching, at: float, mark: float, *, until: float = math.inf) -> Frozen:
    """Freeze what every stream knows, from stretches that began before `until`."""
    rule = watch.rule
    recent_seconds = min(RECENT_SECONDS, rule.history_at_least_seconds)
    baselines = freeze(
        [_past(s, at, until, recent_seconds) for s in watch.streams.values()],
        at=at,
        tick_seconds=rule.tick_seconds,
        at_least_seconds=rule.history_at_least_seconds,
    )
    return Frozen(
        at=at,
        mark=mark,
        baselines=baselines,
        need=_need(watch, *watch.downs.ticks(0, until)),
        learning=_missing(rule, list(baselines.values())),
    )


def raise_recent(watch: Watching) -> None:
    """What was bad right before the first machine switched is tolerated, too."""
    assert watch.frozen is not None, "a release began"
    for stream in watch.streams.values():
        _look_again(stream, _rows(watch))
    rates = {name: _lately(watch, stream) for name, stream in watch.streams.items()}
    _raise(watch, rates, since=watch.frozen.at)
    down, votes = watch.downs.tail(0, _rows(watch))
    need, known = _need(watch, down, votes), watch.hard.need
    watch.hard.need = None if need is None or known is None else max(need, known)


def raise_again(watch: Watching) -> None:
    """What was tolerated, too, still is where more came to be known of the time before."""
    assert watch.frozen is not None, "a release began"
    _raise(watch, {name: s.raised for name, s in watch.streams.items()}, since=watch.frozen.at)


def raise_by(watch: Watching, sides: SideBySide, at: float) -> None:
    """What the old machines did in the end is tolerated of the new ones, too."""
    rates: dict[str, float] = {}
    for name, stream in watch.streams.items():
        comparison = sides.comparisons[name]
        if stream.baseline is None or comparison.evidence is None:
            rates[name] = _lately(watch, stream)  # told apart by no machine: by the whole app
        else:
            rates[name] = lately(
                comparison.old_lately,
                tick_seconds=watch.rule.tick_seconds,
                looks=stream.baseline.looks,
            )
    _raise(watch, rates, since=at)
    if max(rates.get("errors", 0.0), rates.get("health", 0.0)) > hard_down.OFTEN:
        watch.hard.need = None


def raise_carried(watch: Watching) -> None:
    """What turns out to have been there before the release is tolerated, too: it accuses nobody."""
    assert watch.frozen is not None, "something is accused"
    streams = watch.streams.values()
    tolerances = {stream: stream.tolerance for stream in streams}
    _raise(watch, {s.kind.name: _carried(s) for s in streams}, since=watch.frozen.at)
    for stream, tolerance in tolerances.items():
        if stream.tolerance > tolerance:
            stream.forget()


def _past(stream: Stream, at: float, until: float, recent_seconds: float) -> Past:
    """What is known of the time before `at`, from stretches that began before `until`."""
    history, kind = stream.history, stream.kind
    sums = history.sums(until)
    bound = telling_bound(history.bounds, sums[1:], sums[0], slack=kind.slack) if stream.slow else 0
    bad, total = history.ticks(bound, until)
    now = until == math.inf
    if now and stream.row is not None:
        bad.append(stream.row[1 + bound])
        total.append(stream.row[0])
    silent = now and at - stream.seen_at > stream.max_age_seconds
    return Past(
        name=kind.name,
        weight=kind.weight,
        slack=kind.slack,
        ticks=(bad, total),
        bounds=history.bounds,
        bound=bound,
        covered_seconds=history.covered(until),
        unbroken=not silent and stream.gap_ended_at <= at - recent_seconds,
        fresh=not silent,
        pace_seconds=stream.pace_seconds,
        looks=stream.looks_per_tick,
    )


def _look_again(stream: Stream, rows: int) -> None:
    """Some ticks more were before the release than when it was first seen."""
    baseline = stream.baseline
    if baseline is not None and baseline.bounds == stream.history.bounds:
        stream.baseline = replace(baseline, before=stream.history.tail(baseline.bound, rows))


def _carried(stream: Stream) -> float:
    """The rate of what is bad now, if it was there before the release; or 0."""
    baseline, run = stream.baseline, stream.run
    if baseline is None or stream.odds <= 1 or run.since is None:
        return 0.0
    rate = run.bad / run.total
    old = carried(baseline.before, rate, usual=baseline.rate, slack=stream.kind.slack)
    return rate if old else 0.0


def _lately(watch: Watching, stream: Stream) -> float:
    if stream.baseline is None or stream.history.bounds != stream.baseline.bounds:
        return 0.0
    return lately(
        stream.history.tail(stream.baseline.bound, _rows(watch)),
        tick_seconds=watch.rule.tick_seconds,
        looks=stream.baseline.looks,
    )


def _rows(watch: Watching) -> int:
    return round(RECENT_SECONDS / watch.rule.tick_seconds)


def _raise(watch: Watching, rates: Mapping[str, float], *, since: float) -> None:
    baselines = {
        name: stream.baseline.raised(rates[name], stream.kind.slack, since=since)
        for name, stream in watch.streams.items()
        if stream.baseline is not None
    }
    for name, rate in rates.items():
        watch.streams[name].raised = max(watch.streams[name].raised, rate)
    for name, baseline in tied(baselines).items():
        watch.streams[name].tolerate(baseline)


def _need(watch: Watching, down: Sequence[float], votes: Sequence[float]) -> int | None:
    paces = [s.pace_seconds for s in watch.streams.values() if not s.slow]
    if not paces or _down_already(down, votes):
        return None
    return hard_down.needed(
        down, votes, least=hard_down.at_least(min(paces)), recent_ticks=_rows(watch)
    )


def _down_already(down: Sequence[float], votes: Sequence[float]) -> bool:
    """Whether the newest tick that says anything was down: then no release did that."""
    newest = next((k for k, n in zip(reversed(down), reversed(votes), strict=True) if n > 0), 0.0)
    return newest > 0


def _missing(rule: Regression, baselines: Sequence[Baseline]) -> str:
    enough = [b for b in baselines if b.enough]
    if not enough:
        most = max((b.covered_seconds for b in baselines), default=0.0)
        wanted = seconds(rule.history_at_least_seconds)
        return f"{seconds(round(most))} were seen before the release, {wanted} are needed"
    if not any(b.unbroken for b in enough):
        return "nothing was seen for a while in the 5 min before the release"
    return ""
