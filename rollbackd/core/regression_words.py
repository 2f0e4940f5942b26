"""What a regression watch says: the numbers first. It only words, it never judges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollbackd.core.model import Json
from rollbackd.core.stream import Stream
from rollbackd.core.wording import count, percent, seconds

if TYPE_CHECKING:
    from rollbackd.core.judged import Judged

NOUNS = {"errors": "errors", "health": "failed looks", "latency": "slow"}


def why(watch: Judged, now: float) -> str:
    if not watch.fresh(now):
        return _unseen(watch, now)
    if watch.hard.fired:
        return _down(watch)
    if watch.compares:
        return _sides(watch)
    if watch.frozen is None:
        return "no release was seen to begin"
    if not any(s.judges for s in watch.streams.values()):
        return _disabled(watch)
    told = [s for s in watch.streams.values() if s.judges and s.shown()[1] > 0]
    worst = max(told, key=lambda s: s.weight * s.odds, default=None)
    if worst is None:
        return "nothing was counted since the release yet"
    return f"{_stream(worst)}; evidence {odds(watch.odds)}{_again(watch)}"


def evidence(watch: Judged) -> dict[str, Json]:
    found: dict[str, Json] = {"odds": watch.odds}
    if watch.onset is not None:
        found["onset_at"] = watch.onset
    signals: dict[str, Json] = {}
    for name, stream in watch.streams.items():
        baseline = stream.baseline
        if baseline is None:
            continue
        bad, total = stream.shown()
        signals[name] = {
            "bad": bad,
            "total": total,
            "rate": bad / total if total > 0 else None,
            "before": baseline.rate,
            "tolerated": baseline.tolerance if baseline.tolerance < math.inf else None,
            "odds": stream.odds,
        }
    found["signals"] = signals
    if watch.hard.fired:
        hard = watch.hard
        found["fast_path"] = {"ticks": hard.streak, "needed": hard.need, "looks": hard.looks,
                              "bad": hard.streak_bad, "total": hard.streak_total}  # fmt: skip
    if watch.hard.loops:
        found["crash_loop"] = {"ticks": watch.hard.newest, "down": watch.hard.newest_down}
    if watch.compares:
        found["side_by_side"] = watch.sides.evidence()
    return found


def odds(number: float) -> str:
    """4,611 : 1; a number nobody can read is said to be one."""
    if number >= 1e12:  # noqa: PLR2004 — a trillion
        return f"10^{math.floor(math.log10(number))} : 1"
    return f"{number:,.0f} : 1" if number >= 10 else f"{number:.2g} : 1"  # noqa: PLR2004


def _stream(stream: Stream) -> str:
    bad, total = stream.shown()
    assert stream.baseline is not None, "it judges"
    noun = NOUNS[stream.kind.name]
    if stream.slow:
        noun = f"slower than {seconds(stream.baseline.bounds[stream.baseline.bound])}"
    return (
        f"{noun} {percent(bad / total)} ({count(bad)} of {count(total)}), "
        f"before {percent(stream.baseline.rate)}, tolerated {percent(stream.tolerance)}"
    )


def _down(watch: Judged) -> str:
    hard = watch.hard
    said = []
    if hard.looks:
        said.append(f"{count(hard.looks)} of {count(hard.looks)} looks failed")
    if hard.streak_total:
        said.append(f"{count(hard.streak_bad)} of {count(hard.streak_total)} requests")
    return f"down for {seconds(hard.streak * watch.rule.tick_seconds)}: {' and '.join(said)}"


def _again(watch: Judged) -> str:
    if not watch.hard.loops:
        return ""
    return f"; down in {watch.hard.newest_down} of {watch.hard.newest} ticks, with answers between"


def _sides(watch: Judged) -> str:
    told = [c for c in watch.sides.comparisons.values() if c.evidence is not None]
    worst = max(told, key=lambda c: c.weight * c.odds, default=None)
    if worst is None or not worst.sums[1] or not worst.sums[3]:
        return "machines of both releases serve, they are about to be compared"
    bad_new, new, bad_old, old = worst.sums
    return (
        f"{NOUNS[worst.stream.kind.name]} {percent(bad_new / new)} on the new machines "
        f"({count(bad_new)} of {count(new)}), {percent(bad_old / old)} on the old ones "
        f"({count(bad_old)} of {count(old)}); evidence {odds(watch.odds)}"
    )


def _disabled(watch: Judged) -> str:
    rates = [s.baseline.ill_rate for s in watch.streams.values()
             if s.baseline is not None and s.baseline.ill_since is not None]  # fmt: skip
    if not rates:
        return "nothing to compare with: the time before the release was not seen"
    failing = percent(max(rates))
    return f"the app was failing {failing} before the release already: it cannot be accused"


def _unseen(watch: Judged, now: float) -> str:
    seen_at = max(s.seen_at for s in watch.streams.values())
    if seen_at == -math.inf:
        return "nothing was seen yet"
    return f"no sample for {seconds(max(0.0, now - seen_at))}"
