"""The peers' rules as their sources have them, each with the settings a careful person would pick.

All judge the same run: more than 1 % of a minute's requests failed, or its p95 above 500 ms (p99
for Flagger, whose built-in metric it is). Each returns the seconds after the deploy at which it
would act, or None. Kubernetes acts on nothing; its probe rule stands here because people copy it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from generate import BOUNDS, TICK, Run, Seen, Setting

LIMIT = 0.01
SLOW = 0.5
MINUTE = 60.0
Rule: TypeAlias = Callable[[Run], "float | None"]


class Minute(NamedTuple):
    end: float
    bad: bool | None  # None: no data


def argo(run: Run, *, failure_limit: int = 3, count: int = 30) -> float | None:
    """AnalysisRun, `interval: 60s`, `count: 30`, `failureLimit: 3`.

    `failed` is cumulative for the life of the run and never decays; it fails when
    failed > failureLimit. Argo Rollouts, analysis/analysis.go (assessMetricStatus), and
    docs/features/analysis.md. A minute without data is a measurement error, not a failure.
    """
    failed = 0
    for minute in list(_minutes(run))[:count]:
        failed += minute.bad is True
        if failed > failure_limit:
            return minute.end
    return None


def flagger(run: Run, *, threshold: int = 5, iterations: int = 10) -> float | None:
    """Canary analysis, `interval: 1m`, `iterations: 10`, `threshold: 5`.

    FailedChecks is cumulative until the revision changes; no values count as a failed check; the
    limit is looked at when the next interval starts, so it acts one interval later. After the last
    iteration the release is promoted. Flagger, pkg/controller/scheduler.go, docs how-it-works.md.
    """
    failed = 0
    for minute in list(_minutes(run, slowest=0.99))[:iterations]:
        failed += minute.bad is not False
        if failed >= threshold:
            return minute.end + MINUTE
    return None


def cloudwatch(run: Run, *, of: int = 5, breaching: int = 3) -> float | None:
    """Alarm with period 60 s, `DatapointsToAlarm: 3`, `EvaluationPeriods: 5`, missing data ignored.

    Amazon CloudWatch user guide, "Evaluating an alarm" (M out of N).
    """
    window: deque[bool] = deque(maxlen=of)
    for minute in _minutes(run):
        if minute.bad is not None:
            window.append(minute.bad)
        if sum(window) >= breaching:
            return minute.end
    return None


def prometheus(run: Run, *, hold: float = 120.0) -> float | None:
    """`expr: ratio over [1m] > 0.01`, `for: 2m`, evaluated every tick.

    Pending while the expression holds, firing when it held for `for`; one evaluation that does not
    hold starts anew. Prometheus documentation, "Alerting rules".
    """
    since: float | None = None
    for end, seen in _sliding(run, MINUTE):
        if not _is_bad(seen):
            since = None
            continue
        since = end if since is None else since
        if end - since >= hold:
            return end
    return None


def burn_rate(run: Run, *, slo: float = 0.999, factor: float = 14.4) -> float | None:
    """Errors over 14.4 times the budget of a 99.9 % objective, over 1 h and over 5 min.

    Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts". Its windows reach
    back before the deploy, as they do in life. It does not look at latency.
    """
    limit = factor * (1.0 - slo)
    ticks = [*run.before, *run.after]
    long, short = _Sum(round(3600.0 / TICK)), _Sum(round(300.0 / TICK))
    for seen in ticks:
        if min(long.add(seen), short.add(seen)) > limit and seen.end > 0.0:
            return seen.end
    return None


def kubernetes(run: Run, *, failure_threshold: int = 3) -> float | None:
    """`periodSeconds: 10`, `failureThreshold: 3` consecutive failed looks.

    Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes".
    """
    streak = 0
    for seen in run.after:
        if seen.up is not None:
            streak = 0 if seen.up else streak + 1
            if streak >= failure_threshold:
                return seen.end
    return None


def waiting(rule: Rule) -> Rule:
    """The same rule with an initial delay of 60 s, as Argo's `initialDelay` has it."""

    def later(run: Run) -> float | None:
        skipped = round(MINUTE / TICK)
        return rule(Run(run.setting, [*run.before, *run.after[:skipped]], run.after[skipped:]))

    return later


LOOKS = "Kubernetes, 3 looks"
PEERS: dict[str, Rule] = {
    "Argo, failureLimit 3": argo,
    "Flagger, 5 of 10": flagger,
    "CloudWatch, 3 of 5": cloudwatch,
    "Prometheus, for 2m": prometheus,
    "burn rate 14.4x": burn_rate,
    LOOKS: kubernetes,
    "Argo, 60 s delay": waiting(argo),
    "Flagger, 60 s delay": waiting(flagger),
    "CloudWatch, 60 s delay": waiting(cloudwatch),
}


def peers_of(setting: Setting) -> dict[str, Rule]:
    """Those that can judge such runs: none knows two arms, and most need counted requests."""
    if setting.canary:
        return {}
    return PEERS if setting.counted else {LOOKS: kubernetes}


class _Sum:
    """The failing share of the newest `size` ticks."""

    def __init__(self, size: int) -> None:
        self.kept: deque[Seen] = deque()
        self.size = size
        self.bad = self.total = 0

    def add(self, seen: Seen) -> float:
        self.kept.append(seen)
        self.bad += seen.bad
        self.total += seen.total
        if len(self.kept) > self.size:
            gone = self.kept.popleft()
            self.bad -= gone.bad
            self.total -= gone.total
        return self.bad / self.total if self.total else 0.0


def _minutes(run: Run, slowest: float = 0.95) -> Iterator[Minute]:
    size = round(MINUTE / TICK)
    for at in range(0, len(run.after) - size + 1, size):
        ticks = run.after[at : at + size]
        total = sum(seen.total for seen in ticks)
        yield Minute(ticks[-1].end, _is_bad(ticks, slowest) if total else None)


def _sliding(run: Run, seconds: float) -> Iterator[tuple[float, Sequence[Seen]]]:
    size = round(seconds / TICK)
    ticks = [*run.before[-size:], *run.after]
    for at in range(size + 1, len(ticks) + 1):
        yield ticks[at - 1].end, ticks[at - size : at]


def _is_bad(ticks: Sequence[Seen], slowest: float = 0.95) -> bool:
    bad, total = sum(seen.bad for seen in ticks), sum(seen.total for seen in ticks)
    if total and bad / total > LIMIT:
        return True
    return quantile(slowest, [seen.buckets for seen in ticks if seen.buckets]) > SLOW


def quantile(share: float, cumulative: Sequence[tuple[int, ...]]) -> float:
    """As Prometheus does it: a straight line inside a bucket, the last bound for what is above."""
    sums = [sum(column) for column in zip(*cumulative, strict=True)]
    if not sums or not sums[-1]:
        return 0.0
    rank, low, below = share * sums[-1], 0.0, 0
    for bound, count in zip(BOUNDS, sums, strict=True):
        if count >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / max(1, count - below)
        low, below = bound, count
    return low
