"""How answers look: plain columns, colour on a terminal only, no stray control characters."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rollbackd.clock import SystemClock
from rollbackd.core.model import Json, JsonObject
from rollbackd.core.wording import figure

if TYPE_CHECKING:
    from rich.console import Console

_WORDS = {
    "healthy": "green", "ok": "green", "good": "green", "recovered": "green", "done": "green",
    "succeeded": "green", "auto": "green",
    "pending": "yellow", "no_data": "yellow", "running": "yellow", "started": "yellow",
    "paused": "yellow", "holding": "yellow", "miss": "yellow", "refused": "yellow",
    "recovered_unproven": "yellow", "holds": "yellow",
    "breached": "bold red", "error": "bold red", "failed": "bold red", "unhealthy": "bold red",
    "bad": "red", "quarantined": "red", "not_recovered": "bold red",
}  # fmt: skip
_GAP = 2  # between two columns
_WHOLE = 22  # a word of this length is not folded while any other column can give way
_CUT_TO = 6  # as far as a column is cut short: enough of a digest, or of a name
_PIPED_WIDTH = 2000
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415 -- not for --json, not for `version`

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = _PIPED_WIDTH  # nobody to fold for: `grep` wants whole words
    return made


def as_json(answer: JsonObject) -> None:
    """One object on stdout, for scripts."""
    json.dump(answer, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[Json]], *, cut: Sequence[str] = ()) -> None:
    """Columns without a frame. Sentences fold at spaces, words stay whole while there is room; the
    columns `cut` are cut short first. Into a pipe a row is a line, however long.
    """
    from rich.table import Table  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    out = console()
    told = [[word(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *told, strict=True)]
    over = sum(widths) + _GAP * (len(heads) - 1) - out.width
    for head in cut:
        at = heads.index(head)
        least = min(widths[at], max(len(head), _CUT_TO))
        gone = max(0, min(over, widths[at] - least))
        widths[at], over = widths[at] - gone, over - gone
    gives = sum(width - _WHOLE for width in widths if width > _WHOLE)
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for head, width in zip(heads, widths, strict=True):
        whole = width <= _WHOLE and over <= gives
        drawn.add_column(head.upper(), overflow="fold", no_wrap=whole)
    for row in told:
        cells = (
            _cut(cell, width) if head in cut else cell
            for head, cell, width in zip(heads, row, widths, strict=True)
        )
        drawn.add_row(*(Text(cell, style=_WORDS.get(cell, "")) for cell in cells))
    if out.is_terminal:
        out.print(drawn)
        return
    with out.capture() as captured:
        out.print(drawn)
    for each in captured.get().splitlines():
        print(each.rstrip())  # what pads a column is nothing to whoever reads the pipe


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 2]}.."


def line(text: str, *, style: str = "") -> None:
    """One line, folded at the width of the terminal only."""
    console().print(clean(text), style=style or None, soft_wrap=True)


def note(text: str) -> None:
    """A line beside the answer: on stderr, so that a pipe gets the answer alone."""
    console(stderr=True).print(clean(text), style="dim", soft_wrap=True)


def word(value: Json) -> str:
    """One value as a cell: unknown is a dash, a flag is yes or no."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return figure(value)
        case _:
            return clean(str(value))


def clean(text: str) -> str:
    """Without control characters: a probe's detail must not drive the reader's terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def ago(at: Json) -> str:
    """How long ago, or how long until, in two units at most."""
    if isinstance(at, bool) or not isinstance(at, int | float):
        return "-"
    seconds = SystemClock().now() - at
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(duration: float) -> str:
    seconds = round(duration)  # first, or 9 min 59.7 s become 9m60s
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f}m{seconds % _MINUTE:02.0f}s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f}h{seconds % _HOUR // _MINUTE:02.0f}m"
    return f"{seconds // _DAY:.0f}d{seconds % _DAY // _HOUR:02.0f}h"


def clock_time(at: Json) -> str:
    """UTC, to the second."""
    if isinstance(at, bool) or not isinstance(at, int | float):
        return "-"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
