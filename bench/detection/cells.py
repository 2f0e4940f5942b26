"""What is measured: a cell is one setting, run with many seeds under every rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from generate import Setting
from noise import CALM, DECAYING, DRIFTING, NASTY, SPIKY, TYPICAL, UNSEEN, WANDERING

DAY, HOURS_6 = 86400.0, 21600.0
REPORTING_SEED = 2_000_000  # rules were chosen on seeds below 100,000, figures come from these


class Group(StrEnum):
    """Which table a cell stands in."""

    FALSE = "false"
    FOUND = "found"
    SIDE_BY_SIDE = "side by side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    name: str
    group: Group
    setting: Setting
    short: int
    long: int

    def runs(self, *, long: bool) -> int:
        return self.long if long else self.short


def cells() -> Iterator[Cell]:
    yield from _healthy()
    yield from _not_to_blame()
    yield from _found()
    yield from _side_by_side()


def _healthy() -> Iterator[Cell]:
    yield _false("nasty, 1 h of history", Setting(noise=NASTY), 4000)
    yield _false("spiky, 1 h", Setting(noise=SPIKY), 4000)
    yield _false("typical, 100 requests/s", Setting(noise=TYPICAL), 2000)
    yield _false("typical, 1 request/s", Setting(noise=TYPICAL, rps=1.0), 2000)
    probe_only = Setting(noise=TYPICAL, counted=False)
    yield _false("probe-only, every 10 s", probe_only, 2000)
    yield _false("probe-only, every 20 s", replace(probe_only, look_every=20.0), 500)
    yield _false("nasty, 1 request/s", Setting(noise=NASTY, rps=1.0), 500)
    yield _false("nasty, 6 h", Setting(noise=NASTY, history=HOURS_6), 200)
    yield _false("nasty, 24 h", Setting(noise=NASTY, history=DAY), 40)
    for noise in (CALM, DRIFTING, DECAYING, WANDERING, *UNSEEN):
        yield _false(f"{noise.name}, 1 h", Setting(noise=noise), 500)
    two = replace(TYPICAL, name="typical2", errors=0.02)
    yield _false("typical, 2 % errors as usual", Setting(noise=two), 300)


def _not_to_blame() -> Iterator[Cell]:
    kind = "dependency before"
    yield _false("outage that began before, 100/s", Setting(noise=TYPICAL, kind=kind), 1000)
    yield _false("outage that began before, 1/s", Setting(noise=TYPICAL, kind=kind, rps=1.0), 1000)
    kind = "dependency after"
    yield _false("outage that began after", Setting(noise=TYPICAL, kind=kind), 300)


def _found() -> Iterator[Cell]:
    for kind in (
        "outage", "+20 points", "+5 points", "+1 point", "+0.5 points", "1 of 4 machines",
        "latency x1.3", "latency x2", "latency x5", "crash loop", "slow ramp", "+5 points, late",
    ):  # fmt: skip
        yield _kind(kind, Setting(noise=TYPICAL, kind=kind))
    for noise in (NASTY, SPIKY):
        for kind in ("outage", "+20 points", "+5 points"):
            yield _kind(f"{kind}, {noise.name}", Setting(noise=noise, kind=kind))
    for kind in ("outage", "+20 points", "+5 points", "1 of 4 machines"):
        yield _kind(f"{kind}, 1 request/s", Setting(noise=TYPICAL, kind=kind, rps=1.0))
    for kind in ("outage", "1 of 4 machines"):
        setting = Setting(noise=TYPICAL, kind=kind, counted=False)
        yield _kind(f"{kind}, probe-only", setting)


def _side_by_side() -> Iterator[Cell]:
    for kind in ("healthy", "dependency after", "+20 points", "+5 points", "+1 point"):
        for noise in (TYPICAL, NASTY):
            setting = Setting(noise=noise, kind=kind, canary=0.25)
            name = f"canary: {kind}, {noise.name}"
            yield Cell(name=name, group=Group.SIDE_BY_SIDE, setting=setting, short=30, long=300)


def _false(name: str, setting: Setting, runs: int) -> Cell:
    return Cell(name=name, group=Group.FALSE, setting=setting, short=max(4, runs // 20), long=runs)


def _kind(name: str, setting: Setting) -> Cell:
    return Cell(name=name, group=Group.FOUND, setting=setting, short=30, long=300)
