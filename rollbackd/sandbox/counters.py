"""The platform's time series: counted now, kept as points at every scrape. It evaluates nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
POINTS_KEPT = 7200

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Point = tuple[float, float]
Series = tuple[dict[str, str], list[Point]]


def labels_of(**labels: str) -> Labels:
    return tuple(sorted(labels.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The past of some names, which does not change any more."""

    known: Mapping[str, Sequence[Series]]
    started_at: float | None

    def series(self, name: str) -> Sequence[Series]:
        return self.known.get(name, ())


class Counters:
    """Counters and gauges by name and labels; every series also has a bounded past."""

    def __init__(self) -> None:
        self.values: dict[Key, float] = {}
        self.points: dict[Key, deque[Point]] = {}
        self.started_at: float | None = None

    def add(self, name: str, labels: Labels, amount: float = 1.0) -> None:
        self.values[name, labels] = self.values.get((name, labels), 0.0) + amount

    def set(self, name: str, labels: Labels, value: float) -> None:
        self.values[name, labels] = value

    def drop(self, name: str) -> None:
        """Forget the present of a gauge, so that what is gone goes stale instead of frozen."""
        for key in [key for key in self.values if key[0] == name]:
            del self.values[key]

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """One observation of a histogram, in cumulative buckets."""
        for bound in (*BUCKETS, float("inf")):
            text = "+Inf" if bound == float("inf") else f"{bound:g}"
            bucket = tuple(sorted((*labels, ("le", text))))
            self.add(f"{name}_bucket", bucket, 1.0 if value <= bound else 0.0)
        self.add(f"{name}_sum", labels, value)
        self.add(f"{name}_count", labels)

    def scrape(self, at: float) -> None:
        """Keep the present as one point of each series."""
        if self.started_at is None:
            self.started_at = at
        for key, value in self.values.items():
            self.points.setdefault(key, deque(maxlen=POINTS_KEPT)).append((at, value))

    def series(self, name: str) -> Sequence[Series]:
        return [
            (dict(labels), list(points))
            for (series_name, labels), points in self.points.items()
            if series_name == name
        ]

    def kept(self, names: Iterable[str]) -> Kept:
        """Their past as of now, to be read while counting goes on."""
        known = {name: self.series(name) for name in names}
        return Kept(known=known, started_at=self.started_at)

    def render(self) -> str:
        """The exposition format, for a real Prometheus to scrape."""
        lines: list[str] = []
        typed: set[str] = set()
        for (name, labels), value in sorted(self.values.items()):
            family, kind = _family(name)
            if family not in typed:
                typed.add(family)
                lines.append(f"# TYPE {family} {kind}")
            shown = ",".join(f'{key}="{text}"' for key, text in labels)
            lines.append(f"{name}{{{shown}}} {value:.15g}")
        return "\n".join([*lines, ""])


def _family(name: str) -> tuple[str, str]:
    for end in ("_bucket", "_sum"):
        if name.endswith(end):
            return name.removesuffix(end), "histogram"
    if name.endswith("_seconds_count"):
        return name.removesuffix("_count"), "histogram"
    return name, "counter" if name.endswith("_count") else "gauge"
