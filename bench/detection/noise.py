"""What an app does by itself, release or no release: families of noise.

They are a judgement, not fitted to anybody's traffic. What matters is that a rule holds over all
of them, so they differ in kind: slow, fast, rare, heavy-tailed, all at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from chance import between


class Shape(StrEnum):
    """How a burst goes: all at once until it ends, or a fast rise and a slow decline."""

    STEP = "step"
    DECAY = "decay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Short times of many errors that pass by themselves.

    `seconds`: shortest, longest; with `mean` the length is exponential between them.
    `level`: the share of requests that fail, log-uniform. `looks`: how often health sees it, too.
    """

    per_hour: float
    seconds: tuple[float, float]
    level: tuple[float, float]
    mean: float | None = None
    shape: Shape = Shape.STEP
    looks: float = 0.3

    def length(self, rng: Random) -> float:
        low, high = self.seconds
        if self.mean is None:
            return rng.uniform(low, high)
        return min(high, low + rng.expovariate(1.0 / self.mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """One family. Rates 0..1, times in seconds; `sd` of the logarithm of the error rate."""

    name: str
    errors: float = 0.001
    sd: float = 0.35
    keeps: float = 0.9  # of the AR(1), from one 10-s tick to the next
    degrees: int = 0  # of freedom of its innovations; 0: normal
    white: float = 0.2  # overdispersion: what is new in every tick
    daily: float = 0.3  # how much traffic, errors and latency swing over 24 h
    drift: float = 0.0  # of the logarithm of the error rate, an hour
    slow_sd: float = 0.05  # of the logarithm of latency, AR(1), too
    look_fails: float = 0.0005  # isolated failures of a health look
    gap: tuple[float, float] = (2.0, 14.0)  # after a deploy: machines start anew
    gap_level: tuple[float, float] = (0.1, 0.7)
    warm: tuple[float, float] = (10.0, 45.0)  # then some errors more
    warm_level: tuple[float, float] = (0.002, 0.03)
    cold: tuple[float, float] = (20.0, 60.0)  # and a cold cache
    cold_factor: tuple[float, float] = (1.3, 3.0)
    bursts: tuple[Bursts, ...] = field(default=())


def _bursts(per_hour: float, seconds: tuple[float, float], *level: float) -> Bursts:
    return Bursts(per_hour=per_hour, seconds=seconds, level=(level[0], level[1]))


CALM = Noise(name="calm", sd=0.15, white=0.1, daily=0.15, slow_sd=0.02)
TYPICAL = Noise(name="typical", bursts=(_bursts(0.4, (5.0, 25.0), 0.01, 0.08),))
NASTY = Noise(
    name="nasty", errors=0.002, sd=0.7, keeps=0.92, degrees=3, white=0.4, slow_sd=0.12,
    look_fails=0.002, warm=(20.0, 70.0), warm_level=(0.005, 0.06),
    bursts=(
        Bursts(per_hour=1.5, seconds=(10.0, 60.0), level=(0.02, 0.3)),
        Bursts(per_hour=0.4, seconds=(10.0, 150.0), mean=40.0, level=(0.03, 0.5)),
    ),
)  # fmt: skip
SPIKY = Noise(name="spiky", bursts=(Bursts(per_hour=0.17, seconds=(20.0, 90.0), level=(0.1, 0.6)),))
DRIFTING = Noise(name="drifting", sd=0.5, keeps=0.98, daily=0.7, drift=0.5, slow_sd=0.1)
DECAYING = Noise(
    name="decaying", sd=0.4,
    bursts=(
        Bursts(per_hour=0.6, seconds=(30.0, 180.0), level=(0.05, 0.5), shape=Shape.DECAY),
    ),
)  # fmt: skip
WANDERING = Noise(
    name="wandering", errors=0.004, sd=0.9, keeps=0.95, degrees=4, white=0.6,
    bursts=(Bursts(per_hour=0.5, seconds=(10.0, 110.0), mean=25.0, level=(0.02, 0.2)),),
)  # fmt: skip
# Drawn up after the rule was settled and run on reporting seeds only.
CLUSTERED = Noise(
    name="clustered", sd=0.5, degrees=5, keeps=0.8,
    bursts=(
        Bursts(per_hour=0.3, seconds=(15.0, 75.0), level=(0.05, 0.4)),
        Bursts(per_hour=4.0, seconds=(2.0, 12.0), level=(0.02, 0.2)),
    ),
)  # fmt: skip
UNSEEN = (CLUSTERED,)
FAMILIES = {
    n.name: n for n in (CALM, TYPICAL, NASTY, SPIKY, DRIFTING, DECAYING, WANDERING, CLUSTERED)
}


def level_of(rng: Random, bursts: Bursts) -> float:
    return between(rng, *bursts.level)
