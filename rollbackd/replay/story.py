"""A replay as people read it: a line a release, a picture where it mattered, a last line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rollbackd.core.model import Hold, TargetName
from rollbackd.core.wording import seconds
from rollbackd.replay.chart import chart
from rollbackd.replay.releases import Fate, failed

EPOCHAL: Final = 1e9  # below it, `at` counts from a beginning of its own
INDENT: Final = "    "


class Line(NamedTuple):
    """`style` is for a terminal: alarm, asked, picture, or nothing."""

    text: str
    style: str = ""


def story(
    fates: Mapping[TargetName, Sequence[Fate]], *, width: int, plain: bool = False
) -> Iterator[Line]:
    """Everything of every target that had a release."""
    if not fates:
        yield Line("0 releases were told: nothing can have been to blame")
    for target, told in fates.items():
        yield Line(f"{target}")
        for fate in told:
            yield from _release(fate, width=width, plain=plain)
        yield Line(summary(told))


def outcome(fate: Fate) -> str:
    """What would have become of it: "left alone 26 h"."""
    decided = fate.decided
    if fate.put_back_by:
        return f"put back by {fate.put_back_by}{_content(fate)}"
    if decided is not None and (fate.acts or fate.asks):
        back = f"to v{decided.good.version} " if decided.good is not None else ""
        after = seconds(max(0.0, decided.at - fate.came_at))
        word = "would have gone back" if fate.acts else "would have asked to go back"
        return f"{word} {back}after {after}: {decided.why}{_in_truth(fate)}"
    text = f"left alone {seconds(max(0.0, fate.until - fate.came_at))}"
    if isinstance(decided, Hold):
        text += f"; held ({decided.reason.value}): {decided.why}"
    return text


def summary(fates: Sequence[Fate]) -> str:
    """`11 releases: 10 left alone, v41 would have gone back after 110 s; it took 26 min`."""
    fates = [fate for fate in fates if not fate.put_back_by]
    if not fates:
        return "0 releases came while this was watched"
    alone = sum(not (fate.acts or fate.asks) for fate in fates)
    parts = [f"{alone} left alone"] if alone else []
    for fate in fates:
        if fate.decided is None or not (fate.acts or fate.asks):
            continue
        word = "would have gone back" if fate.acts else "would have asked"
        after = seconds(max(0.0, fate.decided.at - fate.came_at))
        parts.append(f"v{fate.release.version} {word} after {after}{_took(fate)}")
    count = "1 release" if len(fates) == 1 else f"{len(fates)} releases"
    return f"{count}: {', '.join(parts)}"


def moment(at: float) -> str:
    """UTC to the second, or seconds where `at` does not count from 1970."""
    if at < EPOCHAL:
        return f"{at:,.10g} s"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _release(fate: Fate, *, width: int, plain: bool) -> Iterator[Line]:
    style = "alarm" if fate.acts else "asked" if fate.asks else ""
    yield Line(f"  v{fate.release.version}  {moment(fate.came_at)}  {outcome(fate)}", style)
    if fate.brings_back is not None and not fate.put_back_by:
        yield Line(f"{INDENT}brings back v{fate.brings_back}")
    if failed(fate.release):
        yield Line(f"{INDENT}its deploy {fate.release.status.value}")
    if fate.decided is None or not style:
        return
    marks = [(fate.came_at, f"v{fate.release.version}"), (fate.decided.at, "decided")]
    room = width - len(INDENT) - len("  up to 100 %")
    for drawn in chart(fate.counted, marks, width=min(room, 72), plain=plain):
        yield Line(INDENT + drawn, "picture")


def _in_truth(fate: Fate) -> str:
    if fate.successor is None:
        return ""
    took, by = seconds(fate.until - fate.came_at), fate.successor.put_back_by
    if by:
        return f"; {by} went back after {took}"
    return f"; v{fate.successor.release.version} came after {took}"


def _took(fate: Fate) -> str:
    if fate.successor is None:
        return ""
    took, by = seconds(fate.until - fate.came_at), fate.successor.put_back_by
    return f"; {by} did after {took}" if by else f"; it took {took}"


def _content(fate: Fate) -> str:
    return "" if fate.brings_back is None else f": the content of v{fate.brings_back}"
