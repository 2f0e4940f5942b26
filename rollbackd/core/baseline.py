"""What was usual before the release, and what is tolerated after it. Pure arithmetic.

All series are per tick, oldest first; a tick without data has total 0. Formulas and sources:
docs/detection.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MISSED_BASELINE: Final = 5e-4  # chance that the upper bounds of all streams together are too low
HALVINGS: Final = 60
PHI_AT_MOST: Final = 50.0
BLOCK_SECONDS, ORDINARY_SECONDS = 60.0, 300.0
ORDINARY_QUANTILE, ORDINARY_TIMES, ORDINARY_BAD = 0.95, 1.25, 5.0
RECENT_BAD, RECENT_BAD_LOOKS = 5.0, 2.0
TOLERANCE_AT_MOST: Final = 0.60  # above this it was broken already and can accuse nobody
RUN_BAD: Final = 2.0
PRONE_PHI, PRONE_TIMES = 3.0, 1.5  # more varied than this: prone to bursts
BURSTS_PHI: Final = 10.0  # more varied than this: it had some
LATE_TIMES, LATE_AT_MOST_TIMES = 2.5, 4


@dataclass(frozen=True, slots=True)
class Slack:
    """How much worse than a rate is still tolerated: the larger of `times` it and `plus` it."""

    times: float
    plus: float

    def over(self, rate: float) -> float:
        return max(self.times * rate, rate + self.plus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """One stream before the release. Rates 0..1; `tolerance` is inf where it can accuse nobody.

    `longest`: most ticks in a row over the tolerance. `persistence`: the ticks that are needed
    at least before the stream alone can be enough.
    """

    rate: float
    phi: float
    upper: float
    tolerance: float
    longest: int
    persistence: int


def learn(
    bad: Sequence[float],
    total: Sequence[float],
    *,
    slack: Slack,
    beta: float,
    tick_seconds: float,
    at_least: int,
    looks: float = 1.0,
) -> Learned:
    """`beta`: chance that the upper bound is too low; `at_least`: lower clip of the persistence;
    `looks`: up to this many events a tick it is a look, not traffic, and two bad ones are many.
    """
    all_bad, everything = math.fsum(bad), math.fsum(total)
    if everything <= 0:
        return Learned(
            rate=0.0, phi=1.0, upper=1.0, tolerance=math.inf, longest=0, persistence=at_least
        )
    rate = all_bad / everything
    phi = overdispersion(bad, total, round(BLOCK_SECONDS / tick_seconds))
    upper = kl_upper_bound(all_bad / phi, everything / phi, beta)
    many = RECENT_BAD_LOOKS if everything <= looks * len(total) else RECENT_BAD
    tolerance = max(
        slack.over(upper),
        ordinary(bad, total, round(ORDINARY_SECONDS / tick_seconds)),
        recent(bad, total, slack=slack, tick_seconds=tick_seconds, many=many),
    )
    longest = longest_run(bad, total, tolerance)
    return Learned(
        rate=rate,
        phi=phi,
        upper=upper,
        tolerance=tolerance if tolerance <= TOLERANCE_AT_MOST else math.inf,
        longest=longest,
        persistence=persistence(longest, at_least=at_least),
    )


def persistence(longest: int, *, at_least: int) -> int:
    """How many bad ticks it takes at least, from how long the app was bad while it was healthy."""
    wanted = math.ceil(1.5 * longest) + 2 if longest > 0 else 0
    return min(max(wanted, at_least), 3 * at_least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many bad ticks it takes at least: where they began with the release, and later."""

    early: int
    late: int


def patience(learned: int, *, phi: float, at_least: int, strays: bool = False) -> Patience:
    """A burst is as likely in any minute, a bad release mostly bad in its first: what comes later
    has to last longer, and what the history teaches about bursts counts for less in the first.

    `learned`: the persistence; `phi`: above 3, the app is prone to bursts though the history may
    show no long one, above 10 so much that one may come right after a release; `at_least`: its
    lower clip; `strays`: it goes up and down for minutes in every app. Measured in
    docs/adr/0007-bursts-and-little-history.md.
    """
    prone = math.ceil(PRONE_TIMES * at_least)
    early_floor = prone if phi > BURSTS_PHI else at_least
    late_floor = prone if phi > PRONE_PHI else at_least
    longest = LATE_AT_MOST_TIMES * at_least
    return Patience(
        early=min(max(learned, early_floor), math.ceil(at_least * 5 / 3)),
        late=longest if strays else min(math.ceil(LATE_TIMES * max(learned, late_floor)), longest),
    )


def kl_upper_bound(bad: float, total: float, beta: float) -> float:
    """The largest rate that `bad` of `total` do not speak against at level `beta`.

    Chernoff's bound, as in KL-UCB (Garivier and Cappé 2011): total x kl(rate || q) <= ln(1/beta).
    """
    if total <= 0:
        return 1.0
    rate = min(bad / total, 1.0)
    allowed = math.log(1 / beta) / total
    low, high = rate, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if divergence(rate, middle) <= allowed:
            low = middle
        else:
            high = middle
    return low


def divergence(a: float, b: float) -> float:
    """How far a coin that falls with b is from one that falls with a, in nats."""
    b = min(max(b, 1e-15), 1 - 1e-15)
    left = a * math.log(a / b) if a > 0 else 0.0
    right = (1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0
    return left + right


def overdispersion(bad: Sequence[float], total: Sequence[float], per_block: int) -> float:
    """How much more the blocks vary than coin flips would (Pearson), 1 to 50."""
    bads, totals = _blocks(bad, per_block), _blocks(total, per_block)
    everything = math.fsum(totals)
    if len(totals) < 2 or everything <= 0:  # noqa: PLR2004 — one block does not vary
        return 1.0
    rate = math.fsum(bads) / everything
    if rate <= 0:
        summed = float(len(totals))
    else:
        summed = math.fsum(
            (k - n * rate) ** 2 / max(n * rate * (1 - rate), 1e-12) if n > 0 else 1.0
            for k, n in zip(bads, totals, strict=True)
        )
    return min(max(summed / (len(totals) - 1), 1.0), PHI_AT_MOST)


def ordinary(bad: Sequence[float], total: Sequence[float], per_block: int) -> float:
    """A little over what 95 % of the five-minute blocks kept to."""
    rates = sorted(
        k / n if k >= ORDINARY_BAD and n > 0 else 0.0
        for k, n in zip(_blocks(bad, per_block), _blocks(total, per_block), strict=True)
    )
    if not rates:
        return 0.0
    return ORDINARY_TIMES * rates[math.ceil(ORDINARY_QUANTILE * (len(rates) - 1))]


def recent(
    bad: Sequence[float],
    total: Sequence[float],
    *,
    slack: Slack,
    tick_seconds: float,
    many: float,
    windows: Sequence[float] = (BLOCK_SECONDS, ORDINARY_SECONDS),
) -> float:
    """What the last minute and the last five alone make tolerable: trouble that was there first.

    `windows`: seconds back that are looked at; `many`: fewer bad ones in one of them are chance.
    """
    found = 0.0
    for window in windows:
        ticks = max(1, round(window / tick_seconds))
        k, n = math.fsum(bad[-ticks:]), math.fsum(total[-ticks:])
        if n > 0 and k >= many:
            found = max(found, slack.over(k / n))
    return found


def longest_run(bad: Sequence[float], total: Sequence[float], tolerance: float) -> int:
    """Most ticks in a row over the tolerance; a tick without data neither extends nor breaks."""
    longest = run = 0
    for k, n in zip(bad, total, strict=True):
        if n <= 0:
            continue
        run = run + 1 if k >= RUN_BAD and k > tolerance * n else 0
        longest = max(longest, run)
    return longest


def _blocks(series: Sequence[float], per_block: int) -> list[float]:
    """Sums over whole blocks, counted back from the newest; all in one where there is none."""
    size = max(1, per_block)
    skip = len(series) % size if len(series) >= size else 0
    return [math.fsum(series[i : i + size]) for i in range(skip, len(series), size)]
