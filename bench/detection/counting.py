"""How sure one may be of a count of rare things. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable


def clopper_pearson(found: int, runs: int, *, level: float = 0.95) -> tuple[float, float]:
    """The two-sided exact interval of a share (Clopper and Pearson 1934), by bisection."""
    tail = (1.0 - level) / 2.0
    low = 0.0 if found == 0 else _where(lambda p: 1.0 - _at_most(found - 1, runs, p), tail)
    high = 1.0 if found == runs else 1.0 - _where(lambda p: _at_most(found, runs, 1.0 - p), tail)
    return low, high


def _where(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return low


def _at_most(found: int, runs: int, p: float) -> float:
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return float(found >= runs)
    logs = (
        math.lgamma(runs + 1) - math.lgamma(k + 1) - math.lgamma(runs - k + 1)
        + k * math.log(p) + (runs - k) * math.log1p(-p)
        for k in range(found + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(math.exp(each) for each in logs))


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
