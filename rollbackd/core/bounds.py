"""Which of a histogram's bounds slow requests are counted by. Fixed before the release. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rollbackd.core.baseline import TOLERANCE_AT_MOST, Slack

WANTED_EXCEEDANCE, LEAST_EXCEEDANCE, MOST_EXCEEDANCE = 0.05, 0.005, 0.20
LEAST_TELLING: Final = 0.001  # exceeded so rarely, it may still tell the most
SLOWER: Final = 2.0  # times: the release that is to be found


def telling_bound(
    bounds: Sequence[float], slower: Sequence[float], total: float, *, slack: Slack
) -> int:
    """The bound by which requests twice as slow would show most.
    docs/adr/0012-bounds-that-tell.md says why.

    `bounds`: the finite ones in seconds, rising; `slower`: per bound, how many took longer;
    `slack`: how much more is tolerated.
    """
    picked = pick_bound(slower, total)
    if total <= 0 or not slower:
        return picked
    shares = [count / total for count in slower]
    fit = [i for i, q in enumerate(shares) if LEAST_TELLING <= q <= MOST_EXCEEDANCE]
    if fit:
        return max(fit, key=lambda i: (_shows(bounds, shares, i, slack), i == picked))
    if slack.over(shares[picked]) <= TOLERANCE_AT_MOST:
        return picked
    return next((i for i, q in enumerate(shares) if q <= MOST_EXCEEDANCE), picked)


def pick_bound(slower: Sequence[float], total: float) -> int:
    """Which bound to count by: exceeded by the share nearest to 5 %, from 0.5 % to 20 % if any.

    `slower`: per finite bound, how many took longer.
    """
    if total <= 0 or not slower:
        return 0
    shares = [count / total for count in slower]
    fit = [i for i, q in enumerate(shares) if LEAST_EXCEEDANCE <= q <= MOST_EXCEEDANCE]
    among = fit or range(len(shares))
    return min(among, key=lambda i: abs(math.log(max(shares[i], 1e-9) / WANTED_EXCEEDANCE)))


def _shows(bounds: Sequence[float], shares: Sequence[float], at: int, slack: Slack) -> float:
    """How many times what is tolerated would be over it if all took `SLOWER` times as long."""
    return _slower_than(bounds, shares, bounds[at] / SLOWER) / slack.over(shares[at])


def _slower_than(bounds: Sequence[float], shares: Sequence[float], seconds: float) -> float:
    """The share slower than any time: straight lines between the bounds, over both logarithms."""
    above = next((i for i, bound in enumerate(bounds) if bound >= seconds), len(bounds) - 1)
    low, high = bounds[max(above - 1, 0)], bounds[above]
    if above == 0 or low <= 0 or seconds <= 0:
        return shares[above]
    part = math.log(seconds / low) / math.log(high / low)
    return float(shares[above - 1] * (shares[above] / shares[above - 1]) ** part)
