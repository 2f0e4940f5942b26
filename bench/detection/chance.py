"""Chance, seeded: counts drawn fast enough for thousands of runs. Standard library only."""

from __future__ import annotations

import math
from random import Random

FEW = 12.0  # below this mean the normal curve is no likeness of a count


def poisson(rng: Random, mean: float) -> int:
    if mean <= 0.0:
        return 0
    if mean < FEW:
        return _by_inversion(rng, mean)
    return max(0, round(rng.gauss(mean, math.sqrt(mean))))


def binomial(rng: Random, n: int, p: float) -> int:
    """How many of `n` with chance `p` each: exact for few, a rounded normal for many."""
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - binomial(rng, n, 1.0 - p)
    if n <= 16:
        return sum(rng.random() < p for _ in range(n))
    mean = n * p
    if mean < FEW:
        return _rare(rng, n, p)
    return min(n, max(0, round(rng.gauss(mean, math.sqrt(mean * (1.0 - p))))))


def _by_inversion(rng: Random, mean: float) -> int:
    left, part, found = rng.random(), math.exp(-mean), 0
    while left > part and found < 200:
        left -= part
        found += 1
        part *= mean / found
    return found


def _rare(rng: Random, n: int, p: float) -> int:
    left, odds, found = rng.random(), p / (1.0 - p), 0
    part = (1.0 - p) ** n
    while left > part and found < n:
        left -= part
        found += 1
        part *= odds * (n - found + 1) / found
    return found


def heavy(rng: Random, degrees: int) -> float:
    """Student's t scaled to variance 1; `degrees` 0 is the normal curve."""
    if not degrees:
        return rng.gauss(0.0, 1.0)
    chi = sum(rng.gauss(0.0, 1.0) ** 2 for _ in range(degrees))
    scale = math.sqrt((degrees - 2) / degrees) if degrees > 2 else 0.5
    return scale * rng.gauss(0.0, 1.0) / math.sqrt(max(chi, 1e-9) / degrees)


def between(rng: Random, low: float, high: float) -> float:
    """Log-uniform: as often between 1 and 2 as between 2 and 4."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
