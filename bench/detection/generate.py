"""One run: an hour or more of an app as it is, a deploy at 0, half an hour after it.

The same noise, kind and seed give the same run. Ticks are 10 s: a tick's counts, its health look
at its end, its latency over the usual bounds, and with a canary the share of the new machines.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from chance import between, binomial, heavy, poisson
from noise import Bursts, Noise, Shape, level_of
from regressions import KINDS, WATCH, Trouble

TICK = 10.0
BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, math.inf)
MEDIAN, SIGMA = 0.06, 0.75  # of latency, log-normal: p99 at 0.34 s
LOGS = tuple(math.log(b / MEDIAN) / SIGMA for b in BOUNDS[:-1])
DAY = 86400.0


class Seen(NamedTuple):
    """One tick. `buckets`: successes, cumulative over BOUNDS; `new`: (bad, total) of a canary."""

    end: float
    bad: int
    total: int
    buckets: tuple[int, ...]
    up: bool | None  # None: nobody looked
    seconds: float
    new: tuple[int, int] | None = None
    new_buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything a run is drawn from but the seed. `canary`: the new machines' share of traffic."""

    noise: Noise
    kind: str = "healthy"
    rps: float = 100.0
    history: float = 3600.0
    look_every: float = 10.0
    canary: float = 0.0
    counted: bool = True  # False: probe-only, nobody counts requests


@dataclass(frozen=True, slots=True)
class Run:
    setting: Setting
    before: list[Seen]
    after: list[Seen]


def generate(setting: Setting, seed: int) -> Run:
    # Drawn apart, so that the same seed has the same noise under every kind.
    rng = Random(f"{seed}:{setting.noise.name}")
    troubles = [*_noise(rng, setting), *_deploy(rng, setting)]
    troubles += KINDS[setting.kind](Random(f"{seed}:{setting.kind}"))
    seen = list(_ticks(rng, setting, troubles))
    first = round(setting.history / TICK)
    return Run(setting, seen[:first], seen[first:])


def _noise(rng: Random, setting: Setting) -> Iterator[Trouble]:
    for bursts in setting.noise.bursts:
        at = -setting.history + rng.expovariate(bursts.per_hour / 3600.0)
        while at < WATCH:
            yield from _burst(rng, bursts, at)
            at += rng.expovariate(bursts.per_hour / 3600.0)


def _burst(rng: Random, bursts: Bursts, at: float) -> Iterator[Trouble]:
    length, level = bursts.length(rng), level_of(rng, bursts)
    looks = level if rng.random() < bursts.looks else 0.0
    if bursts.shape is Shape.STEP:
        yield Trouble(at, at + length, errors=level, looks=looks)
        return
    parts = max(1, round(length / 5.0))
    for n in range(parts):  # down to a twentieth of its height
        left = math.exp(-3.0 * n / parts)
        yield Trouble(at + 5.0 * n, at + 5.0 * (n + 1), errors=level * left, looks=looks * left)


def _deploy(rng: Random, setting: Setting) -> Iterator[Trouble]:
    """What every deploy does: machines start anew, warm up, fill their caches."""
    noise, mine = setting.noise, not setting.canary
    gap = rng.uniform(*noise.gap)
    level = rng.uniform(*noise.gap_level)
    yield Trouble(0.0, gap, errors=level, looks=level, old_too=mine)
    warm = gap + rng.uniform(*noise.warm)
    yield Trouble(gap, warm, errors=between(rng, *noise.warm_level), old_too=mine)
    cold, factor = rng.uniform(*noise.cold), rng.uniform(*noise.cold_factor)
    for n in range(4):
        at = gap + cold * n / 4.0
        yield Trouble(at, at + cold / 4.0, slow=1.0 + (factor - 1.0) * (1 - n / 4.0), old_too=mine)


class _Wave:
    """AR(1) with variance 1 in the long run, new in every tick."""

    def __init__(self, rng: Random, keeps: float, degrees: int) -> None:
        self.rng, self.keeps, self.degrees = rng, keeps, degrees
        self.value = rng.gauss(0.0, 1.0)
        self.news = math.sqrt(1.0 - keeps * keeps)

    def step(self) -> float:
        self.value = self.keeps * self.value + self.news * heavy(self.rng, self.degrees)
        return self.value


def _ticks(rng: Random, setting: Setting, troubles: list[Trouble]) -> Iterator[Seen]:
    noise = setting.noise
    phase = rng.random()
    errors, slow = _Wave(rng, noise.keeps, noise.degrees), _Wave(rng, 0.95, 0)
    plan = _Plan(troubles)
    count = round((setting.history + WATCH) / TICK)
    for n in range(count):
        start = -setting.history + n * TICK
        swing = noise.daily * math.sin(2.0 * math.pi * (start / DAY + phase))
        log_rate = noise.sd * errors.step() + noise.white * rng.gauss(0.0, 1.0)
        log_rate += 0.5 * swing + noise.drift * start / 3600.0
        rate = min(0.3, noise.errors * math.exp(log_rate))
        log_slow = noise.slow_sd * slow.step() + 0.15 * swing
        now = plan.at(start)
        yield _tick(rng, setting, start, rate=rate, log_slow=log_slow, swing=swing, now=now)


def _tick(
    rng: Random, setting: Setting, start: float, *, rate: float, log_slow: float, swing: float,
    now: list[Trouble],
) -> Seen:  # fmt: skip
    end = start + TICK
    failing = _failing(now, start, end, rate)
    share, factor = _slow(now, start, end)
    up, seconds = _look(rng, setting, now, end, log_slow)
    if not setting.counted:
        return Seen(end, 0, 0, (), up, seconds)
    total = poisson(rng, setting.rps * TICK * (1.0 + 0.6 * swing))
    if not setting.canary:
        bad = binomial(rng, total, failing)
        return Seen(
            end, bad, total, _buckets(rng, total - bad, log_slow, share, factor), up, seconds
        )
    new = binomial(rng, total, setting.canary) if start >= 0.0 else 0
    shared = [t for t in now if t.old_too]
    old_bad = binomial(rng, total - new, _failing(shared, start, end, rate))
    new_bad = binomial(rng, new, failing)
    old_buckets = _buckets(rng, total - new - old_bad, log_slow, *_slow(shared, start, end))
    new_buckets = _buckets(rng, new - new_bad, log_slow, share, factor)
    whole = tuple(a + b for a, b in zip(old_buckets, new_buckets, strict=True))
    return Seen(end, old_bad + new_bad, total, whole, up, seconds, (new_bad, new), new_buckets)


def _failing(now: list[Trouble], start: float, end: float, rate: float) -> float:
    well = 1.0 - rate
    for trouble in now:
        overlap = min(end, trouble.end) - max(start, trouble.start)
        well *= 1.0 - trouble.errors * overlap / TICK
    return 1.0 - well


def _slow(now: list[Trouble], start: float, end: float) -> tuple[float, float]:
    """The share of the tick that is slowed, and the factor."""
    share, factor = 0.0, 1.0
    for trouble in now:
        if trouble.slow > 1.0:
            share += (min(end, trouble.end) - max(start, trouble.start)) / TICK
            factor = max(factor, trouble.slow)
    return min(1.0, share), factor


def _look(
    rng: Random, setting: Setting, now: list[Trouble], end: float, log_slow: float
) -> tuple[bool | None, float]:
    if round(end / TICK) % round(setting.look_every / TICK):
        return None, 0.0
    failing, factor = setting.noise.look_fails, 1.0
    for trouble in now:
        if trouble.start < end <= trouble.end:
            failing = 1.0 - (1.0 - failing) * (1.0 - trouble.looks)
            factor = max(factor, trouble.slow)
    # A health route does little: an eighth of the work, the same swings.
    seconds = MEDIAN / 4.0 * math.exp(0.3 * rng.gauss(0.0, 1.0) + log_slow) * factor
    return rng.random() >= failing, seconds


def _buckets(
    rng: Random, total: int, log_slow: float, share: float, factor: float
) -> tuple[int, ...]:
    shift, further = log_slow / SIGMA, math.log(factor) / SIGMA
    found, counted, before = [], 0, 0.0
    for place in LOGS:
        chance = _normal(place - shift)
        if share > 0.0:
            chance += share * (_normal(place - shift - further) - chance)
        left = total - counted
        if left > 0 and chance > before:
            counted += binomial(rng, left, (chance - before) / (1.0 - before))
        before = max(before, min(chance, 1.0 - 1e-12))
        found.append(counted)
    return (*found, total)


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


class _Plan:
    """Which troubles a tick meets, asked in the order of time."""

    def __init__(self, troubles: list[Trouble]) -> None:
        self.coming = sorted(troubles, key=lambda t: t.start)
        self.starts = [t.start for t in self.coming]
        self.taken = 0
        self.under_way: list[Trouble] = []

    def at(self, start: float) -> list[Trouble]:
        until = bisect_right(self.starts, start + TICK - 1e-9)
        self.under_way += self.coming[self.taken : until]
        self.taken = until
        self.under_way = [t for t in self.under_way if t.end > start]
        return self.under_way
