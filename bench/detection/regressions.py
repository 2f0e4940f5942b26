"""What a bad release does, and what others do to it: troubles laid over the noise.

A trouble is an interval with a share of failing requests, of failing looks and a factor of latency.
Times in seconds after the deploy; before it, negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple, TypeAlias

WATCH = 1800.0  # seconds after a deploy


class Trouble(NamedTuple):
    start: float
    end: float
    errors: float = 0.0
    looks: float = 0.0
    slow: float = 1.0
    old_too: bool = True  # a machine of the release before suffers it as well


Kind: TypeAlias = Callable[[Random], list[Trouble]]


def healthy(_rng: Random) -> list[Trouble]:
    return []


def points(share: float) -> Kind:
    """So many of 100 requests more fail; a health route that looks at nothing does not see it."""
    return lambda _rng: [Trouble(0.0, WATCH, errors=share, old_too=False)]


def outage(_rng: Random) -> list[Trouble]:
    return [Trouble(0.0, WATCH, errors=1.0, looks=1.0, old_too=False)]


def one_of_four(_rng: Random) -> list[Trouble]:
    """One of four machines fails whatever it is asked, health as well."""
    return [Trouble(0.0, WATCH, errors=0.25, looks=0.25, old_too=False)]


def slower(factor: float) -> Kind:
    return lambda _rng: [Trouble(0.0, WATCH, slow=factor, old_too=False)]


def crash_loop(rng: Random) -> list[Trouble]:
    """Up for some seconds, then down; each restart waits longer, up to half a minute."""
    found: list[Trouble] = []
    at, wait = rng.uniform(0.0, 8.0), rng.uniform(5.0, 10.0)
    while at < WATCH:
        found.append(Trouble(at, at + wait, errors=1.0, looks=1.0, old_too=False))
        at += wait + rng.uniform(8.0, 16.0)
        wait = min(30.0, wait * 1.5)
    return found


def slow_ramp(rng: Random) -> list[Trouble]:
    """From nothing to 20 points in 20 minutes, beginning 1 to 5 minutes after the deploy."""
    begin = rng.uniform(60.0, 300.0)
    return [*_ramp(begin, 1200.0, 0.2), Trouble(begin + 1200.0, WATCH, errors=0.2, old_too=False)]


def _ramp(begin: float, seconds: float, top: float) -> Iterator[Trouble]:
    steps = int(seconds / 10.0)
    for step in range(steps):
        share = top * (step + 0.5) / steps
        at = begin + step * 10.0
        yield Trouble(at, at + 10.0, errors=share, old_too=False)


def late(share: float) -> Kind:
    """A regression that shows between 3 and 10 minutes after the deploy."""
    return lambda rng: [Trouble(rng.uniform(180.0, 600.0), WATCH, errors=share, old_too=False)]


def dependency_before(rng: Random) -> list[Trouble]:
    """Somebody else's outage, there 40 s to 25 min before the release."""
    looks = rng.choice((0.0, 0.2))
    return [Trouble(-rng.uniform(40.0, 1500.0), WATCH, errors=0.2, looks=looks)]


def dependency_after(rng: Random) -> list[Trouble]:
    return [Trouble(rng.uniform(60.0, 900.0), WATCH, errors=0.2, looks=rng.choice((0.0, 0.2)))]


KINDS: dict[str, Kind] = {
    "healthy": healthy,
    "outage": outage,
    "+20 points": points(0.20),
    "+5 points": points(0.05),
    "+1 point": points(0.01),
    "+0.5 points": points(0.005),
    "1 of 4 machines": one_of_four,
    "latency x1.3": slower(1.3),
    "latency x2": slower(2.0),
    "latency x5": slower(5.0),
    "crash loop": crash_loop,
    "slow ramp": slow_ramp,
    "+5 points, late": late(0.05),
    "dependency before": dependency_before,
    "dependency after": dependency_after,
}
NOT_TO_BLAME = ("healthy", "dependency before", "dependency after")
