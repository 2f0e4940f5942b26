"""Tells the demo as it happens: lines that stay, and below them what is seen right now."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

Shape = dict[str, Any]

_MARKS = {
    "scene": ("▸", "bold"),
    "hurt": ("✗", "bold red"),
    "verdict": ("◔", "yellow"),
    "decided": ("●", "bold magenta"),
    "held": ("■", "bold cyan"),
    "step": ("·", "dim"),
    "proof": ("✓", "bold green"),
    "note": (" ", "dim"),
}
_STATES = {
    "ok": "green",
    "pending": "yellow",
    "breached": "bold red",
    "no_data": "dim",
    "error": "magenta",
}
_BARS = " ▁▂▃▄▅▆▇█"
_SPARK = 48


class Teller:
    """Prints lines with the seconds since the bad deploy; live panel only on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._failing: deque[float] = deque([0.0] * _SPARK, maxlen=_SPARK)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, kind: str, text: str, seconds: float | None = None) -> None:
        """One line that stays. `seconds` count from the bad deploy; negative before it."""
        mark, style = _MARKS[kind]
        when = "        " if seconds is None else f"{seconds:+7.1f}s"
        if not self._console.is_terminal:
            self._console.print(f"{when} {mark} {text}", soft_wrap=True, markup=False)
            return
        line = Table.grid(padding=(0, 1, 0, 0))  # so that a long text folds under itself
        line.add_row(Text(when, style="dim"), Text(mark, style=style), Text(text, style=style))
        self._console.print(line)

    def show(self, target: Shape | None, failing: float) -> None:
        """What is seen right now. `failing` is the share of users' requests failing, 0..1."""
        self._failing.append(failing)
        if self._live is not None and target is not None:
            self._live.update(_panel(target, self._failing))


def _panel(target: Shape, failing: Sequence[float]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for probe in target["probes"]:
        table.add_row(
            Text(f"  probe {probe['name']}", style="dim"),
            Text(probe["outcome"] or "…", style=_outcome_style(probe["outcome"])),
            Text(_probe_text(probe), style="dim"),
        )
    for trigger in target["triggers"]:
        state = trigger["state"]
        table.add_row(
            Text(f"  trigger {trigger['name']}", style="dim"),
            Text(state, style=_STATES.get(state, "")),
            Text(trigger["why"], style="dim", overflow="ellipsis", no_wrap=True),
        )
    spark = Text.assemble(
        ("  users hurt ", "dim"), ("".join(_bar(f) for f in failing), "red"),
        (f" {100 * failing[-1]:.0f} %", "red" if failing[-1] else "dim"),
    )  # fmt: skip
    return Group(Text(""), table, spark)


def _outcome_style(outcome: str) -> str:
    return {"ok": "green", "failed": "bold red", "refused": "magenta"}.get(outcome, "dim")


def _probe_text(probe: Shape) -> str:
    parts = []
    if probe.get("seconds") is not None:
        parts.append(f"{1000 * probe['seconds']:.0f} ms")
    if probe.get("detail"):
        parts.append(str(probe["detail"]))
    return " ".join(parts)


def _bar(share: float) -> str:
    return _BARS[min(len(_BARS) - 1, round(share * (len(_BARS) - 1)))] if share > 0 else "▁"
