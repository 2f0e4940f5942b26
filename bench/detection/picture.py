"""The figures as one picture, readable on light and on dark pages. SVG, no fonts of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

from figures import Figures

WIDTH, LEFT, RIGHT, ROW = 920, 250, 880, 34
FALSE = (
    "typical, 100 requests/s", "typical, 1 request/s", "nasty, 1 h of history", "spiky, 1 h",
    "outage that began before, 100/s",
)  # fmt: skip
FOUND = (
    "outage", "+20 points", "+5 points", "+1 point", "1 of 4 machines", "latency x2", "crash loop",
    "slow ramp",
)  # fmt: skip
RULES = {
    "rollbackd": "ours",
    "Argo, failureLimit 3": "argo",
    "Flagger, 5 of 10": "flagger",
    "CloudWatch, 3 of 5": "cloudwatch",
    "Prometheus, for 2m": "prometheus",
    "Kubernetes, 3 looks": "kubernetes",
}
LEAST, MOST = 0.1, 1000.0  # per 1,000, on a logarithmic scale
NEVER, LONGEST = 660.0, 600.0
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.h { font-weight: 600; font-size: 15px } .s { font-size: 11px; fill: #57606a }
.line { stroke: #d0d7de; stroke-width: 1 }
.ours { fill: #0969da; stroke: #0969da } .argo { stroke: #cf222e } .flagger { stroke: #1a7f37 }
.cloudwatch { stroke: #bc4c00 } .prometheus { stroke: #8250df } .kubernetes { stroke: #57606a }
.peer { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .s { fill: #9198a1 } .line { stroke: #3d444d }
  .ours { fill: #4493f8; stroke: #4493f8 } .argo { stroke: #ff7b72 } .flagger { stroke: #3fb950 }
  .cloudwatch { stroke: #ffa657 } .prometheus { stroke: #bc8cff } .kubernetes { stroke: #9198a1 }
}
"""


def picture(figures: Figures) -> str:
    below = 120 + ROW * len(FALSE)
    height = below + 90 + ROW * len(FOUND)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        ' aria-label="False rollbacks and time to detect, rollbackd beside its peers">',
        f"<style>{STYLE}</style>",
        *_legend(),
        _text(10, 72, "False rollbacks per 1,000 (left is better)", "h"),
        *_panel(figures, FALSE, top=92, times=False),
        _text(10, below + 20, "Seconds to detect, median (left is better)", "h"),
        *_panel(figures, FOUND, top=below + 40, times=True),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> Iterator[str]:
    at = 14.0
    for name, style in RULES.items():
        yield _mark(at, 24, style)
        yield _text(at + 11, 28, name)
        at += 30 + 7.0 * len(name)


def _panel(figures: Figures, cells: tuple[str, ...], *, top: int, times: bool) -> Iterator[str]:
    bottom = top + ROW * len(cells)
    scale = (0, 60, 120, 180, 240, 300, 420, 600) if times else (0.1, 1, 10, 100, 1000)
    for value in scale:
        x = _seconds(value) if times else _share(value)
        yield f'<path class="line" d="M{x:.0f} {top - 4}V{bottom}"/>'
        shown = "≤ 0.1" if value == LEAST else f"{value:g}"
        yield _text(x, bottom + 15, shown, "s", anchor="middle")
    if times:
        yield _text(_x(NEVER / NEVER), bottom + 15, "never", "s", anchor="middle")
    for row, cell in enumerate(cells):
        y = top + ROW * row + ROW / 2
        yield _text(10, y + 4, cell)
        seen: dict[int, int] = {}
        for name, style in RULES.items():
            found = figures.at(cell, name)
            if found is None:
                continue
            value = _seconds(found.median) if times else _share(found.per_1000)
            place = round(value / 8)  # those at the same place stand under each other
            seen[place] = seen.get(place, -1) + 1
            offset = (0, -10, 10, -5, 5, 14)[seen[place]]
            yield _mark(value, y + offset, style)


def _mark(x: float, y: float, style: str) -> str:
    if style == "ours":
        return f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
    return f'<circle class="peer {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def _seconds(value: float | None) -> float:
    return _x(1.0) if value is None else _x(min(value, LONGEST) / NEVER)


def _share(per_1000: float) -> float:
    shown = min(max(per_1000, LEAST), MOST)
    return _x(math.log10(shown / LEAST) / math.log10(MOST / LEAST))


def _x(share: float) -> float:
    return LEFT + share * (RIGHT - LEFT)


def _text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'
