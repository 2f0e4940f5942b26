"""Was it there before the release? The last minutes before it, asked once it is known how bad it
is. Pure.

What is tolerated is made of what was seen to be bad before. Of little traffic that is a guess: at
one request a second a minute of 20 % shows 7 to 17 bad ones. Only what comes after tells how bad
it is. So the newest ticks before the release are asked again before it is accused.
"""

from __future__ import annotations

import math
from typing import Final

from rollbackd.core.baseline import Slack, divergence
from rollbackd.core.rows import Ticks

KEPT_SECONDS: Final = 300.0  # of the time before the release
SPEAKS: Final = 2.5  # nats: the ticks are 12 times as likely if it was so already
OVER: Final = 7.0  # nats against it: whatever was before these ticks had ended
UNLIKELY: Final = 3.0  # nats: ticks as far from a rate as they are come of it once in twenty


def carried(before: Ticks, rate: float, *, usual: float, slack: Slack) -> bool:
    """Whether the newest ticks `before`, however many of them, say that it was bad already, and
    could be so bad that the release is no worse than `slack` allows.

    `rate`: the share that is bad since; `usual`: the share that was, as a rule. Both in nats: the
    likelihood of the ticks by `rate` against that by `usual`; Chernoff's bound for the other.
    """
    usual, rate = max(usual, slack.plus), min(rate, 1.0 - 1e-9)
    if rate <= usual:
        return False
    least = min(rate / slack.times, rate - slack.plus)  # not worse than allowed, from here on
    weighs_bad, weighs_well = math.log(rate / usual), math.log((1.0 - rate) / (1.0 - usual))
    bad = total = 0.0
    for k, n in zip(reversed(before[0]), reversed(before[1]), strict=True):
        bad, total = bad + k, total + n
        said = bad * weighs_bad + (total - bad) * weighs_well
        if said < -OVER:
            return False
        if said < SPEAKS:
            continue
        if bad >= least * total or total * divergence(bad / total, least) <= UNLIKELY:
            return True
    return False
